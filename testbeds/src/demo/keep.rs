//! Leaves everything up, with names, and says how to look around.

use std::process::{Command, Stdio};

use super::cast::{self, ALL, PORT, REMOTE, VETH_A, VETH_B};
use super::screen::Screen;
use super::stop::Stop;
use super::{Error, Mesh};
use crate::mesh::{self, AgentProcess};
use crate::publish::Published;

/// The operator's commands, as far as `weir` has them; most need a pod.
const COMMANDS: [(&str, &str); 4] = [("status", ""), ("status", VETH_A), ("verify", ""), ("trace", "")];

/// Keeps the mesh until a signal or Enter comes.
pub(super) fn until_told(mesh: &Mesh, screen: &Screen, stop: &Stop) -> Result<(), Error> {
    let _names = publish(mesh)?;
    screen.line("up until you press Enter or Ctrl-C. Look around from another terminal, as root:\n")?;
    for command in commands(mesh)? {
        screen.line(&format!("  {command}"))?;
    }
    screen.line("")?;
    stop.wait();
    screen.line("taking everything down")
}

fn publish(mesh: &Mesh) -> Result<Vec<Published>, Error> {
    ALL.iter()
        .map(|&name| {
            let published = cast::netns(&mesh.world, name).publish(&netns_name(name));
            published.map_err(|source| Error::Publish { name, source })
        })
        .collect()
}

/// With the process's number, so that two demos do not meet.
fn netns_name(name: &str) -> String {
    format!("weir-demo-{}-{name}", std::process::id())
}

fn commands(mesh: &Mesh) -> Result<Vec<String>, Error> {
    let mut all = vec!["# all pods and hosts".to_owned(), "ip netns list".to_owned()];
    all.push("\n  # the server says whom it sees".to_owned());
    for to in [VETH_B, REMOTE] {
        for address in cast::addresses(&mesh.world, to).iter() {
            let greet = format!("bash -c 'head -1 </dev/tcp/{address}/{PORT}'");
            all.push(inside(VETH_A, &greet));
        }
    }
    all.push("\n  # what a pod in the mesh has that others have not".to_owned());
    all.push(inside(VETH_A, "ip rule"));
    all.push(inside(VETH_A, &format!("ip route show table {}", 0x5745_4952)));
    all.push(inside(VETH_A, "ss -ltn"));
    all.push("\n  # what is in the kernel, and what the agent says".to_owned());
    all.push(format!("ls -R {}", mesh.agent.pin_root().display()));
    for (subcommand, argument) in COMMANDS {
        if exists(subcommand)? {
            all.push(typed(&mesh.agent, subcommand, argument)?);
        }
    }
    Ok(all)
}

fn inside(name: &str, command: &str) -> String {
    format!("ip netns exec {} {command}", netns_name(name))
}

fn exists(subcommand: &str) -> Result<bool, Error> {
    let status = mesh::program("weir")?
        .args([subcommand, "--help"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status
        .map(|status| status.success())
        .map_err(|source| Error::Run {
            program: "weir",
            source,
        })
}

fn typed(agent: &AgentProcess, subcommand: &str, argument: &str) -> Result<String, Error> {
    let mut command: Command = agent.command(subcommand)?;
    if !argument.is_empty() {
        command.arg(argument);
    }
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    Ok(words.join(" "))
}
