//! The manifest, and what the chart makes of values.

use std::path::{Path, PathBuf};

use crate::trial::{Trial, parse};

/// All manifests that there are: those for `kubectl apply`, and what `./x test kube` rendered for each platform.
fn manifests() -> Vec<PathBuf> {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let mut paths = vec![
        deploy.join("all-in-one.yaml"),
        deploy.join("all-in-one-before-1.30.yaml"),
    ];
    if let Some(rendered) = std::env::var_os("WEIR_RENDERED") {
        let entries = std::fs::read_dir(rendered).unwrap();
        paths.extend(entries.map(|entry| entry.unwrap().path()));
    } else {
        println!("only the manifest is tried: ./x test kube renders the platforms' too");
    }
    paths
}

#[test]
fn kube_every_object_of_every_platform_is_accepted() {
    let crds = ["podmonitors", "prometheusrules", "securitycontextconstraints"];
    let mut trial = Trial::new("manifest", &crds);
    for manifest in manifests() {
        let text = std::fs::read_to_string(&manifest).unwrap();
        let about = text.lines().next().unwrap_or_default();
        let objects = parse(&text);
        assert!(
            objects.iter().any(|object| object["kind"] == "DaemonSet"),
            "{about}"
        );
        for object in objects {
            trial.accepts(about, &object);
        }
    }
    let rendered = std::env::var_os("WEIR_RENDERED").is_some();
    for kind in ["PodMonitor", "PrometheusRule", "SecurityContextConstraints"] {
        assert!(trial.kinds.contains(kind) || !rendered, "no values make a {kind}");
    }
}
