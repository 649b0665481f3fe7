//! The stand-in's command line and files.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use weir_standin::mesh::Peer;

use super::scratch::Scratch;
use super::spec::{Contract, Dns, Member, ProxySpec};

/// The mesh file of the stand-in.
pub(super) fn mesh(contract: &Contract, members: &[Member]) -> BTreeMap<IpAddr, Peer> {
    let peer = |member: &Member| match (contract, member.enrolled, member.local) {
        (_, false, _) => Peer::Tcp,
        // In the pods' namespaces even the neighbour is reached at its port 15008.
        (Contract::InPod { .. }, true, _) | (Contract::Node { .. }, true, false) => Peer::Hbone,
        (Contract::Node { .. }, true, true) => Peer::Local,
    };
    members
        .iter()
        .flat_map(|member| {
            member
                .addresses
                .iter()
                .map(move |address| (*address, peer(member)))
        })
        .collect()
}

/// The command that starts it.
pub(super) fn command(program: &Path, spec: &ProxySpec, scratch: &Scratch) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    match &spec.contract {
        Contract::InPod { zds } => {
            command.arg("in-pod").arg("--zds").arg(zds);
            command.args(dns(&spec.dns));
        }
        Contract::Node { hairpin, .. } => {
            command.arg("node").args(hairpin.then_some("--hairpin"));
        }
    }
    command.arg("--mesh-file").arg(scratch.mesh());
    command.arg("--die-with-parent");
    if spec.record {
        command.arg("--record").arg(scratch.records());
    }
    command.args((!spec.original_source).then_some("--no-orig-src"));
    command.args(spec.threads.map(|threads| format!("--threads={threads}")));
    command
}

fn dns(dns: &Dns) -> Vec<String> {
    match dns {
        Dns::Off => vec!["--no-dns".to_owned()],
        Dns::Answers(answers) => answers.iter().map(answer).collect(),
        Dns::Upstream(server) => vec![format!("--dns-upstream={server}")],
    }
}

fn answer((name, address): &(Option<String>, IpAddr)) -> String {
    match name {
        Some(name) => format!("--dns-answer={name}={address}"),
        None => format!("--dns-answer={address}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_is_a_tunnel_away_or_local_as_the_contract_has_it() {
        let address = |text: &str| -> IpAddr { text.parse().unwrap() };
        let members = [
            Member::local("a", [address("10.0.0.1"), address("fd00::1")]),
            Member::remote("b", [address("10.0.0.2")]),
            Member::local("c", [address("10.0.0.3")]).plain(),
        ];
        let peers = |contract| mesh(&contract, &members).into_values().collect::<Vec<_>>();
        let in_pod = Contract::InPod { zds: "/zds".into() };
        assert_eq!(peers(in_pod), [Peer::Hbone, Peer::Hbone, Peer::Tcp, Peer::Hbone]);
        let node = Contract::Node {
            address: address("10.0.0.9"),
            hairpin: false,
        };
        assert_eq!(peers(node), [Peer::Local, Peer::Hbone, Peer::Tcp, Peer::Local]);
    }
}
