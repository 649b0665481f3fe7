//! The guard on real interfaces: who gets out of an enrolled pod past ztunnel, and who hears of it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod enrolled;
#[path = "support/frame.rs"]
mod frame;
mod own_datapath;

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::time::Duration;

use enrolled::{DEADLINE, Pod, connect};
use own_datapath::OwnDatapath;
use socket2::{Domain, Protocol, Socket, Type};
use weir_agent::datapath::Hook;
use weir_agent::enroll::filters::Filters;
use weir_agent::enroll::interfaces::{self, Wanted};
use weir_agent::enroll::{netlink, routing};
use weir_common::filter::{EXCLUDE, OUTBOUND};
use weir_common::mark;
use weir_common::node::NodeSettings;
use weir_common::reason::Reason;
use weir_testbeds::capture::{Capture, Frame};
use weir_testbeds::deadline::eventually;
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netlink::Netlink;
use weir_testbeds::netns::Netns;
use weir_testbeds::packet::Packet;

const AUDIT: u32 = NodeSettings::TRUST_MARK_ALONE;
const ENFORCE: u32 = AUDIT | NodeSettings::GUARD_ENFORCES;
/// Long enough for a handshake on a busy machine, and for a SYN to be sent once more.
const REFUSED_AFTER: Duration = Duration::from_millis(1500);

fn guarded() -> Wanted {
    Wanted {
        guard: true,
        virtual_interfaces: Vec::new(),
    }
}

fn enrolled_pod(label: &str, flags: u32, filters: &Filters) -> (OwnDatapath, Pod) {
    let (own, pod) = (OwnDatapath::new(label), Pod::new());
    own.set_flags(flags);
    pod.enroll(&own, filters);
    pod.ensure(&own, &guarded());
    (own, pod)
}

/// Connects out of the pod with a socket that no hook sees: this process is not in the programs' cgroup.
fn unseen_connect(pod: &Pod, to: SocketAddr, mark: u32) -> io::Result<()> {
    pod.netns.run(|| {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_mark(mark)?;
        socket.connect_timeout(&to.into(), REFUSED_AFTER)
    })
}

/// Sends a SYN from a raw socket, which has no connection at all.
fn send_raw_syn(pod: &Pod, from_port: u16, mark: u32) {
    let to: SocketAddr = "10.66.0.1:7777".parse().unwrap();
    let packet = Packet::syn(SocketAddr::new("10.66.0.2".parse().unwrap(), from_port), to).without_ethernet();
    pod.netns.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).unwrap();
        socket.set_mark(mark).unwrap();
        socket
            .send_to(&packet.build(), &SocketAddr::new(to.ip(), 0).into())
            .ok();
    });
}

/// Everything of TCP that reaches a namespace.
struct Observer(Socket);

impl Observer {
    fn new(netns: &Netns) -> Self {
        let socket = netns.run(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP)).unwrap());
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(socket)
    }

    /// The source ports that came, up to and with this one.
    fn ports_until(&self, last: u16) -> Vec<u16> {
        let mut ports = Vec::new();
        while ports.last() != Some(&last) {
            let mut bytes = [0; 2048];
            let length = (&self.0).read(&mut bytes).unwrap();
            assert!(length >= 40, "a whole TCP packet");
            ports.push(u16::from_be_bytes([bytes[20], bytes[21]]));
        }
        ports
    }
}

#[test]
fn what_was_loaded_before_there_was_a_pod_serves_the_pod_that_gets_it() {
    let own = OwnDatapath::new("ready");
    own.set_flags(AUDIT);
    own.datapath.restock(true, 2).unwrap();
    let pods = [Pod::new(), Pod::new()];
    for pod in &pods {
        pod.enroll(&own, &Filters::default());
        pod.ensure(&own, &guarded());
    }
    let [idle, busy] = &pods;
    let (_listener, outside) = busy.serve("10.66.0.1:0");
    unseen_connect(busy, outside, 0).unwrap();
    busy.wait_for(&own, Reason::Leaked, 1);
    let inside: SocketAddr = "10.66.0.2:80".parse().unwrap();
    let refused = busy.world.run(|| {
        Socket::new(Domain::IPV4, Type::STREAM, None)?.connect_timeout(&inside.into(), REFUSED_AFTER)
    });
    refused.unwrap_err();
    busy.wait_for(&own, Reason::NoListener, 1);
    for reason in [Reason::Leaked, Reason::NoListener] {
        assert_eq!(own.count(idle.cookie, reason), 0, "{}", reason.name());
    }
}

#[test]
fn an_agent_that_ends_makes_nothing_ready_any_more() {
    let own = OwnDatapath::new("ending");
    own.datapath.restock(false, 1).unwrap();
    assert_eq!(own.datapath.instances_ready(), 1);
    own.datapath.end_restocking();
    own.datapath.restock(false, 2).unwrap();
    assert_eq!(own.datapath.instances_ready(), 1);
}

#[test]
fn auditing_counts_a_raw_socket_and_lets_it_go() {
    let (own, pod) = enrolled_pod("raw_audit", AUDIT, &Filters::default());
    let world = Observer::new(&pod.world);
    send_raw_syn(&pod, 4001, 0);
    assert_eq!(world.ports_until(4001), [4001]);
    pod.wait_for(&own, Reason::Leaked, 1);
}

#[test]
fn enforcing_drops_a_raw_socket_but_not_ztunnel() {
    let (own, pod) = enrolled_pod("raw_enforce", ENFORCE, &Filters::default());
    let world = Observer::new(&pod.world);
    send_raw_syn(&pod, 4001, 0);
    send_raw_syn(&pod, 4002, mark::ZTUNNEL);
    assert_eq!(world.ports_until(4002), [4002]);
    assert_eq!(own.count(pod.cookie, Reason::Leaked), 1);
}

/// Sends a SYN from a packet socket, which goes past the whole stack; the kernel tells the sender of a drop.
fn send_framed_syn(pod: &Pod, from: SocketAddr, to: SocketAddr) -> io::Result<()> {
    let near = async |netlink: Netlink| netlink.interface("eth0").await;
    let far = async |netlink: Netlink| netlink.interface("pod0").await;
    let (near, far) = (pod.netns.netlink(near).unwrap(), pod.world.netlink(far).unwrap());
    let packet = Packet::syn(from, to).ethernet(near.mac.unwrap(), far.mac.unwrap());
    let neighbour = "10.66.0.1:7777".parse().unwrap();
    pod.netns
        .run(|| frame::send(near.index, neighbour, &packet.build()))
}

#[test]
fn a_packet_socket_is_counted_and_stopped_where_that_is_asked_for() {
    for (label, flags, passes) in [("packet_audit", AUDIT, true), ("packet_enforce", ENFORCE, false)] {
        let (own, pod) = enrolled_pod(label, flags, &Filters::default());
        let arriving = Capture::start(&pod.world, "pod0").unwrap();
        let from = ["10.66.0.2:4001", "[fd66::2]:4001"].map(|end| end.parse().unwrap());
        let to = ["10.66.0.1:7777", "[fd66::1]:7777"].map(|end| end.parse().unwrap());
        for (from, to) in from.into_iter().zip(to) {
            assert_eq!(send_framed_syn(&pod, from, to).is_ok(), passes, "{label}");
        }
        // What is sent later arrives later.
        send_raw_syn(&pod, 4002, mark::ZTUNNEL);
        let last = |frames: &[Frame]| frames.iter().any(|frame| port(frame) == Some(4002));
        let frames = arriving.settle(DEADLINE, last).unwrap();
        let sources: Vec<SocketAddr> = frames
            .iter()
            .filter_map(|frame| Some(frame.tcp?.source))
            .collect();
        let passed: Vec<_> = sources
            .into_iter()
            .filter(|source| source.port() == 4001)
            .collect();
        assert_eq!(passed, if passes { from.to_vec() } else { Vec::new() }, "{label}");
        assert_eq!(own.count(pod.cookie, Reason::Leaked), 2, "{label}");
    }
}

/// The port that a frame's TCP segment comes from.
fn port(frame: &Frame) -> Option<u16> {
    Some(frame.tcp?.source.port())
}

#[test]
fn sockets_that_no_hook_sees_are_stopped() {
    let (own, pod) = enrolled_pod("unseen", ENFORCE, &Filters::default());
    for address in ["10.66.0.1:0", "[fd66::1]:0"] {
        let (_listener, address) = pod.serve(address);
        let before = own.count(pod.cookie, Reason::Leaked);
        let error = unseen_connect(&pod, address, 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        assert!(own.count(pod.cookie, Reason::Leaked) > before, "{address}");
        unseen_connect(&pod, address, mark::ZTUNNEL).unwrap();
    }
    own.set_flags(AUDIT);
    let (_listener, address) = pod.serve("10.66.0.1:0");
    unseen_connect(&pod, address, 0).unwrap();
}

#[test]
fn what_annotations_exclude_is_not_a_leak() {
    let filters = Filters {
        flags: 0,
        ports: BTreeMap::from([((OUTBOUND, 3306), EXCLUDE)]),
        ranges: BTreeMap::from([("fd66::1/128".parse().unwrap(), EXCLUDE)]),
        ..Filters::default()
    };
    let (own, pod) = enrolled_pod("excluded", ENFORCE, &filters);
    for address in ["10.66.0.1:3306", "[fd66::1]:0"] {
        let (_listener, address) = pod.serve(address);
        unseen_connect(&pod, address, 0).unwrap();
    }
    assert_eq!(own.count(pod.cookie, Reason::Leaked), 0);
    let (_listener, address) = pod.serve("10.66.0.1:0");
    unseen_connect(&pod, address, 0).unwrap_err();
}

#[test]
fn captured_packets_never_leave_when_their_rule_is_gone() {
    let (own, pod) = enrolled_pod("unrouted", AUDIT, &Filters::default());
    let world = Observer::new(&pod.world);
    netlink::run(pod.netns.as_fd(), async |handle| routing::remove(handle).await).unwrap();
    send_raw_syn(&pod, 4001, mark::OUTBOUND);
    send_raw_syn(&pod, 4002, mark::ZTUNNEL);
    assert_eq!(world.ports_until(4002), [4002]);
    assert_eq!(own.count(pod.cookie, Reason::Unrouted), 1);
}

#[test]
fn an_interface_that_comes_later_is_guarded_after_the_next_look() {
    let (own, pod) = enrolled_pod("later", ENFORCE, &Filters::default());
    let annex = Netns::new().unwrap();
    connect(
        &pod.netns,
        ("net1.5", &["10.67.0.2/24"]),
        &annex,
        ("pod1", &["10.67.0.1/24"]),
    );
    let listener = annex.run(|| std::net::TcpListener::bind("10.67.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    unseen_connect(&pod, address, 0).unwrap();
    pod.ensure(&own, &guarded());
    unseen_connect(&pod, address, 0).unwrap_err();
    assert!(own.count(pod.cookie, Reason::Leaked) > 0);
    // An interface of the same name is another one.
    pod.netns
        .netlink(async |link| link.delete_link("net1.5").await)
        .unwrap();
    connect(
        &pod.netns,
        ("net1.5", &["10.67.0.2/24"]),
        &annex,
        ("pod1", &["10.67.0.1/24"]),
    );
    let listener = annex.run(|| std::net::TcpListener::bind("10.67.0.1:0")).unwrap();
    pod.ensure(&own, &guarded());
    unseen_connect(&pod, listener.local_addr().unwrap(), 0).unwrap_err();
}

/// Before Linux 6.6 programs of two Weirs would be one filter: there the second takes the first one's place.
fn has_room_for_two() -> bool {
    Hook::of_this_kernel() == Hook::Tcx
}

/// Counts of both datapaths grow with the connection, or do not; how much depends on how often the kernel asks.
fn grown(pod: &Pod, paths: [&OwnDatapath; 2], to: SocketAddr) -> [bool; 2] {
    let before = paths.map(|path| path.count(pod.cookie, Reason::Leaked));
    unseen_connect(pod, to, 0).unwrap();
    let after = paths.map(|path| path.count(pod.cookie, Reason::Leaked));
    [after[0] > before[0], after[1] > before[1]]
}

#[test]
fn other_peoples_programs_run_before_and_after() {
    if !has_room_for_two() {
        return;
    }
    let (foreign, pod) = enrolled_pod("foreign", AUDIT, &Filters::default());
    let own = OwnDatapath::new("beside");
    own.set_flags(AUDIT);
    pod.enroll(&own, &Filters::default());
    pod.ensure(&own, &guarded());
    let (_listener, address) = pod.serve("10.66.0.1:0");
    assert_eq!(grown(&pod, [&own, &foreign], address), [true, true]);
    interfaces::remove(&own.datapath, pod.netns.as_fd(), pod.cookie).unwrap();
    assert_eq!(grown(&pod, [&own, &foreign], address), [false, true]);
}

#[test]
fn kernels_without_links_get_a_filter_that_comes_and_goes_alone() {
    if !has_room_for_two() {
        return;
    }
    let (links, pod) = enrolled_pod("links", AUDIT, &Filters::default());
    let own = OwnDatapath::with_hook("clsact", Hook::Clsact);
    own.set_flags(AUDIT);
    pod.enroll(&own, &Filters::default());
    let all = netlink::ask(pod.netns.as_fd(), interfaces::list).unwrap();
    let place = |interfaces| {
        own.datapath
            .attach_guard(pod.netns.as_fd(), pod.cookie, interfaces)
            .unwrap_or_else(|error| panic!("{error}"));
    };
    let (_listener, address) = pod.serve("10.66.0.1:0");
    for interfaces in [&all[..], &all[..], &[], &[]] {
        place(interfaces);
        assert_eq!(
            grown(&pod, [&own, &links], address),
            [!interfaces.is_empty(), true]
        );
    }
}

/// There the kernel would run the filter on what arrives, without a word.
#[test]
fn a_qdisc_without_a_place_for_what_leaves_is_told_of() {
    let (own, pod) = (OwnDatapath::with_hook("ingress", Hook::Clsact), Pod::new());
    tc(&pod.netns, &["qdisc", "add", "dev", "eth0", "ingress"]);
    let all = netlink::ask(pod.netns.as_fd(), interfaces::list).unwrap();
    let attach = || own.datapath.attach_guard(pod.netns.as_fd(), pod.cookie, &all);
    let error = attach().unwrap_err().to_string();
    assert!(error.contains("interface eth0: its qdisc `ingress`"), "{error}");
    tc(&pod.netns, &["qdisc", "del", "dev", "eth0", "ingress"]);
    attach().unwrap();
    attach().unwrap();
}

/// The kernel keeps one kind of filters, for one protocol, at each priority.
#[test]
fn a_filter_of_another_kind_in_the_place_of_ours_is_told_of() {
    let (own, pod) = (OwnDatapath::with_hook("occupied", Hook::Clsact), Pod::new());
    tc(&pod.netns, &["qdisc", "add", "dev", "eth0", "clsact"]);
    let all = netlink::ask(pod.netns.as_fd(), interfaces::list).unwrap();
    let attach = || own.datapath.attach_guard(pod.netns.as_fd(), pod.cookie, &all);
    let u32 = ["u32", "match", "u32", "0", "0", "flowid", "1:1"].as_slice();
    let bpf = ["bpf", "bytecode", "1,6 0 0 4294967295,", "flowid", "1:1"].as_slice();
    for (protocol, kind, told) in [
        ("all", u32, "a filter `u32` (protocol 0x0003)"),
        ("ip", u32, "a filter `u32` (protocol 0x0800)"),
        ("ipv6", bpf, "a filter `bpf` (protocol 0x86dd)"),
    ] {
        let filter = |verb, pref, rest: &[&str]| {
            let place = ["filter", verb, "dev", "eth0", "egress", "pref", pref];
            tc(&pod.netns, &[&place, rest].concat());
        };
        let add = |pref| filter("add", pref, &[&["protocol", protocol], kind].concat());
        let remove = |pref| filter("del", pref, &[]);
        add("1");
        let error = attach().unwrap_err().to_string();
        assert!(
            error.contains("at interface eth0: ") && error.contains(told),
            "{error}"
        );
        remove("1");
        add("2");
        attach().unwrap();
        own.datapath
            .attach_guard(pod.netns.as_fd(), pod.cookie, &[])
            .unwrap();
        remove("2");
    }
}

#[test]
fn a_filter_is_replaced_and_not_doubled() {
    let (own, pod) = (OwnDatapath::with_hook("replaced", Hook::Clsact), Pod::new());
    own.set_flags(AUDIT);
    pod.enroll(&own, &Filters::default());
    let all = netlink::ask(pod.netns.as_fd(), interfaces::list).unwrap();
    for _ in 0..2 {
        let netns = pod.netns.as_fd();
        own.datapath.attach_guard(netns, pod.cookie, &all).unwrap();
    }
    // A packet of its own, which nobody sends again.
    send_raw_syn(&pod, 4001, 0);
    pod.wait_for(&own, Reason::Leaked, 1);
    assert_eq!(own.count(pod.cookie, Reason::Leaked), 1);
}

/// What stands in its way is a qdisc of somebody else's. A count of nothing would be believed.
#[test]
fn a_guard_that_cannot_stand_is_told_of_once_and_comes_when_it_can() {
    const TOLD: &str = "what leaves the pod past ztunnel is not counted: ";
    let mut mesh = Mesh::builder("no-guard")
        .outside("pod")
        .flag("--interface-hook=clsact")
        .start()
        .unwrap();
    let netns = mesh.pod("pod").netns.clone();
    tc(&netns, &["qdisc", "add", "dev", "eth0", "ingress"]);
    mesh.relabel("pod", true).unwrap();
    let is_told = |mesh: &Mesh| {
        let status = mesh.agent.run("status", &["pod"]).unwrap();
        String::from_utf8(status.stdout).unwrap().contains(TOLD)
    };
    eventually(DEADLINE, || is_told(&mesh).then_some(())).unwrap();
    tc(&netns, &["qdisc", "del", "dev", "eth0", "ingress"]);
    eventually(DEADLINE, || (!is_told(&mesh)).then_some(())).unwrap();
    assert_eq!(mesh.agent.output().matches(TOLD).count(), 1);
}

fn tc(netns: &Netns, words: &[&str]) {
    let status = netns.run(|| Command::new("tc").args(words).status().unwrap());
    assert!(status.success(), "tc {words:?}");
}
