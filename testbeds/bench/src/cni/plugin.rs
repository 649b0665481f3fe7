//! The plugin, as a runtime calls it.

use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use weir_testbeds::publish::Published;

use super::cpu_time::CpuTime;
use super::name;

/// An answer that is handed on.
const PREVIOUS: &str = r#"{"cniVersion":"1.0.0","interfaces":[],"ips":[],"dns":{}}"#;

pub struct Plugin {
    program: PathBuf,
    empty: PathBuf,
    config: String,
    agent: u32,
}

impl Plugin {
    pub fn new(socket: &Path, agent: u32) -> Result<Self> {
        let config = json!({
            "cniVersion": "1.0.0",
            "name": "bench",
            "type": "weir-cni",
            "socket": socket,
            "exempt": {"namespaces": ["kube-system"]},
        });
        let config = config.to_string();
        Ok(Self {
            program: shipped("weir-cni")?,
            empty: shipped("nothing")?,
            // As text, because a value would not keep its shape.
            config: format!(
                "{},\"prevResult\":{PREVIOUS}}}",
                config.strip_suffix('}').unwrap_or_default()
            ),
            agent,
        })
    }

    /// Starts pods at the same time.
    pub fn add(
        &self,
        namespace: &str,
        numbers: Range<usize>,
        pods: &[Published],
    ) -> Result<(Vec<Duration>, CpuTime)> {
        self.all(numbers.len(), |index| {
            let number = numbers.start + index;
            let name = name(number);
            let command = called(&self.program, namespace, &name, pods[number].path());
            self.run(command, PREVIOUS).with_context(|| format!("pod {name}"))
        })
    }

    /// Starts so many empty programs at the same time, each with what any plugin is told.
    pub fn empty(&self, count: usize) -> Result<(Vec<Duration>, CpuTime)> {
        self.all(count, |index| {
            let command = called(
                &self.empty,
                "default",
                &name(index),
                Path::new("/proc/self/ns/net"),
            );
            self.run(command, "")
        })
    }

    fn all(
        &self,
        count: usize,
        run: impl Fn(usize) -> Result<()> + Sync,
    ) -> Result<(Vec<Duration>, CpuTime)> {
        let (ready, begun) = (Barrier::new(count + 1), OnceLock::new());
        let before = CpuTime::read(self.agent)?;
        let times: Result<Vec<Duration>> = thread::scope(|scope| {
            let start = |index| {
                let (ready, begun, run) = (&ready, &begun, &run);
                scope.spawn(move || {
                    ready.wait();
                    let begun = begun.get().context("it has not begun")?;
                    run(index).map(|()| Instant::elapsed(begun))
                })
            };
            let started: Vec<_> = (0..count).map(start).collect();
            // All are asked for at this moment: whoever gets a CPU late has waited for it.
            begun.get_or_init(Instant::now);
            ready.wait();
            let times = started.into_iter().map(|thread| match thread.join() {
                Ok(time) => time,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            times.collect()
        });
        Ok((times?, CpuTime::read(self.agent)?.since(before)))
    }

    fn run(&self, mut command: Command, answer: &str) -> Result<()> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let written = child
            .stdin
            .take()
            .context("no stdin")?
            .write_all(self.config.as_bytes());
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success() && said == answer,
            "the program failed: {said}"
        );
        // Who reads nothing may have gone by then.
        if !answer.is_empty() {
            written?;
        }
        Ok(())
    }
}

/// A plugin as a runtime calls it.
fn called(program: &Path, namespace: &str, name: &str, netns: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("CNI_COMMAND", "ADD")
        .env("CNI_CONTAINERID", name)
        .env("CNI_NETNS", netns)
        .env("CNI_IFNAME", "eth0")
        .env(
            "CNI_ARGS",
            format!("K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_UID={name}"),
        );
    command
}

/// A static program as `./x bench` builds them, beside the directory of this one.
fn shipped(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let target = here.ancestors().nth(2).context("this program is nowhere")?;
    let path = target.join("static").join(name);
    ensure!(
        path.is_file(),
        "{} is missing: ./x bench builds it",
        path.display()
    );
    Ok(path)
}
