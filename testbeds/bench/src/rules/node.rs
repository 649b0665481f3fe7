//! Policy routing on the node and TPROXY in the proxy's namespace: how a proxy that has one of its own is fed without
//! programs; IPv4.
//!
//! Addresses stay as they are on every hop, and both ends see each other's.

use std::fmt::Write as _;
use std::net::IpAddr;

use anyhow::{Context as _, Result};
use weir_testbeds::mesh::ZTUNNEL;
use weir_testbeds::route::Route;
use weir_testbeds::rule::Rule;
use weir_testbeds::world::{Pod, World};

use super::restore;

/// A packet that the node sends to the proxy.
const TO_PROXY: u32 = 0x100;
/// A packet that the proxy's namespace delivers locally.
const DELIVER: u32 = 0x400;
const MASK: u32 = 0xfff;
const PREFERENCE: u32 = 100;
const NODE_TABLE: u32 = 101;
const PROXY_TABLE: u32 = 100;

/// A pod, and the node's interface that leads to it.
#[derive(Clone, Debug)]
struct Peer {
    address: IpAddr,
    interface: String,
}

impl Peer {
    fn of(pod: &Pod) -> Result<Self> {
        let interface = pod
            .host_interface()
            .with_context(|| format!("pod {} has no interface on the node to route by", pod.name))?;
        Ok(Self {
            address: pod.address(),
            interface: interface.to_owned(),
        })
    }
}

/// Redirects the traffic of all pods of the world but the proxy's own; rules go with the namespaces.
pub fn apply(world: &World) -> Result<()> {
    let proxy = Peer::of(world.pod(ZTUNNEL))?;
    let pods: Vec<Peer> = world
        .pods()
        .iter()
        .filter(|pod| pod.name != ZTUNNEL)
        .map(Peer::of)
        .collect::<Result<_>>()?;
    let inside = &world.pod(ZTUNNEL).netns;
    inside.run(|| restore(&rules_of_proxy(&proxy, &pods)))?;
    inside.netlink(async |netlink| {
        let everything = Route::local_everything(proxy.address).table(PROXY_TABLE);
        netlink.add_route(&everything).await?;
        let rule = Rule::v4(PREFERENCE, PROXY_TABLE).mark(DELIVER, MASK);
        netlink.add_rule(&rule).await
    })?;
    let node = &world.node.netns;
    node.run(|| restore(&rules_of_node(&proxy, &pods)))?;
    let interface = &proxy.interface;
    let sysctl = |interface: &str, key: &str, value| {
        node.sysctl_set(&format!("net.ipv4.conf.{interface}.{key}"), value)
    };
    // The proxy speaks from pods' addresses, which even the loose check refuses on an interface without an address. The
    // stricter of "all" and the interface's own is in force.
    for pod in &pods {
        sysctl(&pod.interface, "rp_filter", "1")?;
    }
    sysctl("all", "rp_filter", "0")?;
    // The proxy also speaks to itself, by way of the node.
    for of in ["all", interface] {
        sysctl(of, "send_redirects", "0")?;
    }
    node.netlink(async |netlink| {
        let to_proxy = Route::default_via(proxy.address)
            .dev(interface)
            .onlink()
            .table(NODE_TABLE);
        netlink.add_route(&to_proxy).await?;
        let rule = Rule::v4(PREFERENCE, NODE_TABLE).mark(TO_PROXY, MASK);
        netlink.add_rule(&rule).await
    })?;
    Ok(())
}

/// What pods send and what is sent to them is marked for the proxy. What the proxy sends is not, unless it is a tunnel
/// between two pods, both ends of which are the proxy's; answers to it are known by their connection.
fn rules_of_node(proxy: &Peer, pods: &[Peer]) -> String {
    let from = &proxy.interface;
    let mut text = format!(
        "*mangle
:BY_PROXY - [0:0]
:TUNNEL - [0:0]
:BY_OTHERS - [0:0]
-A PREROUTING -i {from} -p tcp -j BY_PROXY
-A PREROUTING ! -i {from} -p tcp -j BY_OTHERS
-A BY_PROXY -p tcp -m tcp --dport 15008 -j TUNNEL
-A BY_PROXY -p tcp -m tcp --sport 15008 -j TUNNEL
-A BY_PROXY -j CONNMARK --set-xmark 0x210/0xfff
-A BY_OTHERS -m connmark --mark 0x210/0xfff -j MARK --set-xmark {TO_PROXY:#x}/{MASK:#x}
-A BY_OTHERS -m mark --mark {TO_PROXY:#x}/{MASK:#x} -j RETURN
"
    );
    for Peer { address, interface } in pods {
        text += &format!(
            "-A TUNNEL -d {address} -j MARK --set-xmark {TO_PROXY:#x}/{MASK:#x}
-A BY_OTHERS -i {interface} -s {address} -j MARK --set-xmark {TO_PROXY:#x}/{MASK:#x}
-A BY_OTHERS -d {address} -j MARK --set-xmark {TO_PROXY:#x}/{MASK:#x}
"
        );
    }
    text + "COMMIT\n"
}

/// A packet of a connection that the proxy has is delivered to it. Others begin one: tunnels are for port 15008, what
/// pods of this node open is for port 15001, and what others open for port 15006.
fn rules_of_proxy(proxy: &Peer, pods: &[Peer]) -> String {
    let mark = format!("--tproxy-mark {DELIVER:#x}/{MASK:#x}");
    let mut text = format!(
        "*mangle
:DELIVER - [0:0]
-A DELIVER -j MARK --set-xmark {DELIVER:#x}/{MASK:#x}
-A DELIVER -j ACCEPT
-A PREROUTING -d {} -j RETURN
-A PREROUTING -p tcp -m socket --transparent -j DELIVER
-A PREROUTING -p tcp -m tcp --dport 15008 -j TPROXY --on-port 15008 {mark}
",
        proxy.address
    );
    for pod in pods {
        // Writing to a string cannot fail.
        _ = writeln!(
            text,
            "-A PREROUTING -s {} -p tcp -j TPROXY --on-port 15001 {mark}",
            pod.address
        );
    }
    text + &format!("-A PREROUTING -i eth0 -p tcp -j TPROXY --on-port 15006 {mark}\nCOMMIT\n")
}

#[cfg(test)]
mod tests {
    use super::{Peer, rules_of_node, rules_of_proxy};

    fn peer(address: &str, interface: &str) -> Peer {
        Peer {
            address: address.parse().unwrap(),
            interface: interface.to_owned(),
        }
    }

    /// The numbers of the lines that contain these words, in the words' order.
    fn lines(rules: &str, words: &[&str]) -> Vec<usize> {
        let line = |word: &&str| rules.lines().position(|line| line.contains(*word));
        words.iter().filter_map(line).collect()
    }

    #[test]
    fn packets_of_the_proxy_itself_are_told_apart_before_pods_are_looked_at() {
        let rules = rules_of_node(
            &peer("10.0.0.9", "zt"),
            &[peer("10.0.0.1", "a"), peer("10.0.0.2", "b")],
        );
        for word in [
            "-A PREROUTING -i zt -p tcp -j BY_PROXY",
            "-A TUNNEL -d 10.0.0.2 ",
            "-A BY_OTHERS -i b -s 10.0.0.2 ",
            "-A BY_OTHERS -d 10.0.0.1 ",
        ] {
            assert!(rules.contains(word), "{word} is not in\n{rules}");
        }
        assert!(!rules.contains("-s 10.0.0.9"), "the proxy is no pod:\n{rules}");
    }

    #[test]
    fn a_connection_that_the_proxy_has_is_found_before_a_listener_is() {
        let rules = rules_of_proxy(&peer("10.0.0.9", "zt"), &[peer("10.0.0.1", "a")]);
        let order = lines(
            &rules,
            &["-m socket", "--on-port 15008", "-s 10.0.0.1 ", "--on-port 15006"],
        );
        assert_eq!(order.len(), 4, "{rules}");
        assert!(order.is_sorted(), "{rules}");
    }
}
