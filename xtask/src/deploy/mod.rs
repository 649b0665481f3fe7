//! The Helm chart, and the manifest that is made from it.

mod cases;
mod document;
mod helm;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace;
use document::join;
pub(crate) use helm::Helm;

/// The chart with its own values, for those who do not use Helm.
const MANIFEST: &str = "deploy/all-in-one.yaml";
const HEADER: &str = "# Weir with the chart's own values, for `kubectl apply`. Made by `./x deploy write` from deploy/helm/weir: \
                      edit that.\n# The objects go to istio-system, which Istio makes.\n";
/// Helm's name on objects that Helm does not manage would be a lie.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by: Helm";

/// The chart with these values.
pub(crate) fn render(helm: &Helm, values: &str) -> Result<String> {
    Ok(join(&helm.render(values)?))
}

fn manifest(helm: &Helm) -> Result<String> {
    let rendered = render(helm, "")?;
    let unmanaged: Vec<&str> = rendered
        .lines()
        .filter(|line| line.trim() != MANAGED_BY)
        .collect();
    Ok(format!("{HEADER}{}\n", unmanaged.join("\n")))
}

/// Writes the manifest anew.
pub(crate) fn write(helm: &Helm) -> Result<()> {
    fs::write(workspace::root()?.join(MANIFEST), manifest(helm)?).context(MANIFEST)
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

/// Whether the manifest is in step, the chart renders with all that it should take, and refuses the rest.
pub(crate) fn check(helm: &Helm) -> Result<()> {
    let written = fs::read_to_string(workspace::root()?.join(MANIFEST)).context(MANIFEST)?;
    ensure!(
        manifest(helm)? == written,
        "{MANIFEST} is not what the chart says: run `./x deploy write`"
    );
    for values in cases::TAKEN {
        helm.render(values)
            .with_context(|| format!("the chart with {values}"))?;
    }
    for (values, named) in cases::REFUSED {
        match helm.render(values) {
            Ok(_) => bail!("the chart takes {values}, which is wrong"),
            Err(complaint) => ensure!(
                complaint.to_string().contains(named),
                "the complaint about {values} does not name {named}: {complaint}"
            ),
        }
    }
    Ok(())
}
