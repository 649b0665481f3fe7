//! The Helm chart, and the manifests that are made from it.

mod cases;
mod document;
mod helm;
mod monitor;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace;
use document::join;
pub(crate) use helm::Helm;
use helm::NEWEST_KUBERNETES;

/// The chart with its own values, for those who do not use Helm.
struct Manifest {
    path: &'static str,
    /// Whose Kubernetes it is for.
    readers: &'static str,
    kubernetes: &'static str,
}

/// AppArmor takes two: `kubectl` refuses the field that newer servers want where the server does not know it.
const MANIFESTS: [Manifest; 2] = [
    Manifest {
        path: "deploy/all-in-one.yaml",
        readers: "Kubernetes 1.30 or newer",
        kubernetes: NEWEST_KUBERNETES,
    },
    Manifest {
        path: "deploy/all-in-one-before-1.30.yaml",
        readers: "Kubernetes before 1.30",
        kubernetes: "1.29.0",
    },
];
/// Helm's name on objects that Helm does not manage would be a lie.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by: Helm";

/// The chart with these values, for the newest Kubernetes.
pub(crate) fn render(helm: &Helm, values: &str) -> Result<String> {
    Ok(join(&helm.render(values, NEWEST_KUBERNETES)?))
}

impl Manifest {
    fn text(&self, helm: &Helm) -> Result<String> {
        let rendered = join(&helm.render("", self.kubernetes)?);
        let unmanaged: Vec<&str> = rendered
            .lines()
            .filter(|line| line.trim() != MANAGED_BY)
            .collect();
        Ok(format!(
            "# Weir with the chart's own values, for `kubectl apply` to {}. Made by `./x deploy write` from\n\
             # deploy/helm/weir: edit that. The objects go to istio-system, which Istio makes.\n{}\n",
            self.readers,
            unmanaged.join("\n")
        ))
    }
}

/// Writes the manifests anew.
pub(crate) fn write(helm: &Helm) -> Result<()> {
    for manifest in &MANIFESTS {
        fs::write(workspace::root()?.join(manifest.path), manifest.text(helm)?).context(manifest.path)?;
    }
    Ok(())
}

/// Writes what the chart makes of each set of values that it takes into a directory of the build, and says which.
pub(crate) fn render_all(helm: &Helm) -> Result<PathBuf> {
    let directory = workspace::target_dir()?.join("rendered");
    fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    for (number, values) in cases::TAKEN.iter().enumerate() {
        let rendered = render(helm, values).with_context(|| format!("the chart with {values}"))?;
        let path = directory.join(format!("{number}.yaml"));
        fs::write(&path, format!("# {values}\n{rendered}\n")).with_context(|| path.display().to_string())?;
    }
    Ok(directory)
}

/// Whether the manifests are in step, the chart renders with all that it should take, and refuses the rest.
pub(crate) fn check(helm: &Helm) -> Result<()> {
    for manifest in &MANIFESTS {
        let path = manifest.path;
        let written = fs::read_to_string(workspace::root()?.join(path)).context(path)?;
        ensure!(
            manifest.text(helm)? == written,
            "{path} is not what the chart says: run `./x deploy write`"
        );
    }
    for values in cases::TAKEN {
        render(helm, values).with_context(|| format!("the chart with {values}"))?;
    }
    for (values, named) in cases::REFUSED {
        match render(helm, values) {
            Ok(_) => bail!("the chart takes {values}, which is wrong"),
            Err(complaint) => ensure!(
                complaint.to_string().contains(named),
                "the complaint about {values} does not name {named}: {complaint}"
            ),
        }
    }
    check_rendered(helm)?;
    monitor::check(helm)
}

/// Whether each version of Kubernetes, and each choice, gets what it is to have.
fn check_rendered(helm: &Helm) -> Result<()> {
    for (kubernetes, values, wanted, unwanted) in cases::RENDERED {
        let rendered = join(&helm.render(values, kubernetes)?);
        let about = format!("the chart for Kubernetes {kubernetes} with {values:?}");
        ensure!(rendered.contains(wanted), "{about} has no {wanted}");
        ensure!(!rendered.contains(unwanted), "{about} has {unwanted}");
    }
    Ok(())
}
