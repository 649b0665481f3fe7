//! One boot of a kernel in QEMU, without the help of the processor.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::kernel::Kernel;
use crate::{process, workspace};

const MEMORY: &str = "2048";
/// How much of the kernel's log tells why a guest ended early.
const LOG_LINES: usize = 40;

/// What a guest's clock goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// The host's, which is quick, with two processors. Emulated work takes some ten times as long as deadlines expect.
    Host,
    /// Instructions, one a nanosecond, and while there are none the host's: to the guest its one processor is an ordinary
    /// one, so deadlines mean what they mean elsewhere.
    Instructions,
}

/// Boots the kernel on this machine's files, which stay as they are, and returns the script's exit code.
pub(super) fn run(kernel: &Kernel, script: &str, clock: Clock) -> Result<u8> {
    let shared = Shared::make(script)?;
    let initramfs = shared.path("initramfs");
    process::run(
        Command::new(workspace::root()?.join("testbeds/vm/initramfs.sh"))
            .arg(&kernel.directory)
            .arg(&kernel.release)
            .arg(&initramfs),
    )?;
    process::run(&mut qemu(kernel, &shared, &initramfs, clock))?;
    shared.status()
}

fn qemu(kernel: &Kernel, shared: &Shared, initramfs: &Path, clock: Clock) -> Command {
    let image = kernel.directory.join(format!("boot/vmlinuz-{}", kernel.release));
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.stdin(Stdio::null());
    qemu.args([
        "-M",
        "q35",
        "-cpu",
        "max",
        "-m",
        MEMORY,
        "-device",
        "virtio-rng-pci",
    ]);
    qemu.args(match clock {
        Clock::Host => ["-accel", "tcg,thread=multi", "-smp", "2"].as_slice(),
        // With a second processor the guest waits for ever while it starts.
        Clock::Instructions => &[
            "-accel",
            "tcg,thread=single",
            "-smp",
            "1",
            "-icount",
            "shift=0,sleep=on",
        ],
    });
    qemu.args(["-nodefaults", "-no-user-config", "-nographic", "-no-reboot"]);
    // The first line takes the kernel's log, the second the output of the script.
    qemu.arg("-serial")
        .arg(format!("file:{}", shared.path("log").display()));
    qemu.args(["-serial", "stdio"]);
    share(&mut qemu, "root", Path::new("/"), true);
    share(&mut qemu, "modules", &kernel.directory.join("lib/modules"), true);
    share(&mut qemu, "run", &shared.0, false);
    qemu.arg("-kernel").arg(image).arg("-initrd").arg(initramfs);
    qemu.args(["-append", "console=ttyS0 panic=-1 mitigations=off no_timer_check"]);
    qemu
}

/// Gives the guest a directory under a name.
fn share(qemu: &mut Command, name: &str, directory: &Path, is_read_only: bool) {
    let read_only = if is_read_only { "on" } else { "off" };
    // In QEMU's options a comma is written twice.
    let path = directory.display().to_string().replace(',', ",,");
    qemu.arg("-fsdev").arg(format!(
        "local,id={name},path={path},security_model=none,readonly={read_only},multidevs=remap"
    ));
    qemu.arg("-device")
        .arg(format!("virtio-9p-pci,fsdev={name},mount_tag={name}"));
}

/// The directory that guest and host both write to; gone when dropped.
struct Shared(PathBuf);

impl Shared {
    fn make(script: &str) -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("weir-vm-{}", std::process::id()));
        fs::create_dir(&directory).with_context(|| format!("making {}", directory.display()))?;
        let shared = Self(directory);
        fs::write(shared.path("command"), script)
            .with_context(|| format!("writing {}", shared.path("command").display()))?;
        Ok(shared)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The exit code that the guest left; without one it died, and the log says how.
    fn status(&self) -> Result<u8> {
        let status = match fs::read_to_string(self.path("status")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            status => status.context("reading the guest's exit code")?,
        };
        let log = fs::read(self.path("log")).unwrap_or_default();
        ensure!(
            !status.is_empty(),
            "the guest ended before the command did; the end of its log:\n{}",
            end(&String::from_utf8_lossy(&log))
        );
        status
            .trim()
            .parse()
            .with_context(|| format!("the guest's exit code is {status:?}"))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn end(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::Shared;
    use std::fs;

    #[test]
    fn a_guest_without_an_exit_code_died_and_its_log_is_shown() {
        let shared = Shared::make("true\n").unwrap();
        fs::write(shared.path("log"), "first\nKernel panic\n").unwrap();
        let error = shared.status().unwrap_err().to_string();
        assert!(error.ends_with("\nfirst\nKernel panic"), "{error}");
        fs::write(shared.path("status"), "3\n").unwrap();
        assert_eq!(shared.status().unwrap(), 3);
    }
}
