//! Leaves everything up, with names, and says how to look around.

use std::process::{Command, Stdio};

use weir_common::mark::TABLE;

use super::cast::{self, PORT, REMOTE, VETH_A, VETH_B};
use super::screen::Screen;
use super::stop::Stop;
use super::{ContractName, Error, Mesh};
use crate::mesh::{self, AgentProcess, ZTUNNEL};
use crate::publish::Published;

/// The operator's commands, as far as `weir` has them; most need a pod.
const COMMANDS: [(&str, &str); 4] = [("status", ""), ("status", VETH_A), ("verify", ""), ("trace", "")];

/// Keeps the mesh until a signal or Enter comes.
pub(super) fn until_told(
    mesh: &Mesh,
    contract: ContractName,
    screen: &Screen,
    stop: &Stop,
) -> Result<(), Error> {
    let _names = publish(mesh, cast::all(contract))?;
    screen.line("up until you press Enter or Ctrl-C. Look around from another terminal, as root:\n")?;
    for (title, commands) in sections(mesh, contract)? {
        screen.line(&format!("  # {title}"))?;
        for command in commands {
            screen.line(&format!("  {command}"))?;
        }
        screen.line("")?;
    }
    stop.wait();
    screen.line("taking everything down")
}

fn publish(mesh: &Mesh, all: &[&'static str]) -> Result<Vec<Published>, Error> {
    all.iter()
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

fn sections(mesh: &Mesh, contract: ContractName) -> Result<[(&'static str, Vec<String>); 3], Error> {
    Ok([
        ("each server says whom it sees", greetings(mesh)),
        where_sockets_are(contract),
        (
            "what the kernel holds, and what the agent says",
            operators(&mesh.agent)?,
        ),
    ])
}

fn greetings(mesh: &Mesh) -> Vec<String> {
    let servers = [VETH_B, REMOTE].into_iter();
    let addresses = servers.flat_map(|name| cast::addresses(&mesh.world, name).iter());
    addresses
        .map(|address| inside(VETH_A, &format!("bash -c 'head -1 </dev/tcp/{address}/{PORT}'")))
        .collect()
}

fn where_sockets_are(contract: ContractName) -> (&'static str, Vec<String>) {
    let (title, name) = match contract {
        ContractName::InPod => ("what a pod in the mesh has that others have not", VETH_A),
        ContractName::Node => ("what ztunnel's pod has that others have not", ZTUNNEL),
    };
    let routes = format!("ip route show table {TABLE}");
    let commands = ["ip rule", &routes, "ss -ltn"].map(|command| inside(name, command));
    (title, commands.to_vec())
}

fn operators(agent: &AgentProcess) -> Result<Vec<String>, Error> {
    let mut commands = vec![format!("ls -R {}", agent.pin_root().display())];
    for (subcommand, argument) in COMMANDS {
        if exists(subcommand)? {
            commands.push(typed(agent, subcommand, argument)?);
        }
    }
    Ok(commands)
}

fn inside(name: &str, command: &str) -> String {
    format!("ip netns exec {} {command}", netns_name(name))
}

fn exists(subcommand: &str) -> Result<bool, Error> {
    let status = Command::new(mesh::program("weir")?)
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
