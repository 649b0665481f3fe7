//! Helm: the program if there is one, else its engine as Python's package index has it.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::document::{self, Document};
use crate::{process, workspace};

/// The chart, relative to the root.
const CHART: &str = "deploy/helm/weir";
const RELEASE: &str = "weir";
/// Where Istio's own control plane and ztunnel are, and Weir too.
const NAMESPACE: &str = "istio-system";
/// What Helm 4's engine takes the cluster for when there is none.
pub(super) const NEWEST_KUBERNETES: &str = "1.36.0";
/// Helm 4's engine, with its version.
const ENGINE: (&str, &str) = ("helm-python-sdk", "0.2.2");
const ENGINE_SCRIPT: &str = include_str!("render.py");

/// One way to run Helm.
#[derive(Debug)]
pub(crate) enum Helm {
    /// `helm` itself.
    Program,
    /// Its engine, in this directory.
    Engine(PathBuf),
}

impl Helm {
    /// What this machine has; installs the engine if there is neither.
    pub(crate) fn find() -> Result<Self> {
        if process::is_on_path("helm") {
            return Ok(Self::Program);
        }
        let (package, version) = ENGINE;
        let directory = weir_ebpf_build::tools_dir().join(format!("{package}-{version}"));
        if !directory.join("helm_python").is_dir() {
            install(&directory)?;
        }
        Ok(Self::Engine(directory))
    }

    /// The chart with these values for this version of Kubernetes, or Helm's complaint about them.
    pub(super) fn render(&self, values: &str, kubernetes: &str) -> Result<Vec<Document>> {
        let mut helm = self
            .command(kubernetes)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting helm")?;
        // Dropped at once: helm reads to the end.
        helm.stdin
            .take()
            .context("helm has no standard input")?
            .write_all(values.as_bytes())?;
        let output = helm.wait_with_output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let text = String::from_utf8(output.stdout).context("what helm prints is no UTF-8")?;
        document::split(&text)
    }

    fn command(&self, kubernetes: &str) -> Result<Command> {
        let mut command = match self {
            Self::Program => {
                let mut helm = Command::new("helm");
                helm.args(["template", RELEASE, CHART, "--namespace", NAMESPACE])
                    .args(["--kube-version", kubernetes, "--values", "-"]);
                helm
            }
            Self::Engine(directory) => {
                let mut python = Command::new("python3");
                python.env("PYTHONPATH", directory).args([
                    "-c",
                    ENGINE_SCRIPT,
                    CHART,
                    RELEASE,
                    NAMESPACE,
                    kubernetes,
                ]);
                python
            }
        };
        command.current_dir(workspace::root()?);
        Ok(command)
    }
}

fn install(directory: &PathBuf) -> Result<()> {
    let (package, version) = ENGINE;
    eprintln!(
        "x: there is no helm here; installing its engine ({package} {version}) into {}",
        directory.display()
    );
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--root-user-action=ignore",
    ])
    .arg("--target")
    .arg(directory)
    .arg(format!("{package}=={version}"));
    process::run(&mut pip).context("install helm, or Python 3 with pip")
}
