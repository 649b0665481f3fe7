//! `weir cleanup` leaves nothing behind and touches nothing that is not Weir's.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "support/state.rs"]
mod state;

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use state::{ip, state};
use weir_agent::datapath::Pins;
use weir_agent::datapath::sys::{self, MapSpec, MapType, RawMap};
use weir_agent::enroll::loopback;
use weir_agent::inside;
use weir_common::names::{LAYOUT_VERSION, map};
use weir_common::{mark, ports};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netns::Netns;
use weir_testbeds::process::Process;
use weir_testbeds::traffic::{Client, ClientSpec, Exchange, Server, ServerSpec};
use weir_testbeds::world::{Family, Wiring};

const PORT: u16 = 8080;

#[test]
fn everything_of_ours_goes_and_nothing_else() {
    let mut mesh = Mesh::builder("cleanup")
        .wiring(Wiring::Bridge)
        .family(Family::Dual)
        .outside("client")
        .start()
        .unwrap();
    let netns = mesh.pod("client").netns.clone();
    let _process = idle_in(&netns);
    // Somebody else's, next to ours.
    ip(&netns, "rule add pref 14 from 10.255.0.1 table 99");
    let before = state(&netns);
    mesh.relabel("client", true).unwrap();
    let enrolled = state(&netns);
    assert_ne!(enrolled, before);

    let refused = mesh.agent.run("cleanup", &[]).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("--force"),
        "{refused:?}"
    );
    assert_eq!(state(&netns), enrolled);

    let socket = mesh.agent.zds_socket().with_file_name("admin.sock");
    let hidden = socket.with_extension("hidden");
    fs::rename(&socket, &hidden).unwrap();
    let refused = mesh.agent.run("cleanup", &[]).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("another weir agent keeps its programs here"),
        "{refused:?}"
    );
    assert_eq!(state(&netns), enrolled, "an agent that does not answer runs too");
    fs::rename(&hidden, &socket).unwrap();

    mesh.agent.kill();
    let down = mesh.agent.run("status", &["-o", "json"]).unwrap();
    assert_eq!(down.status.code(), Some(3), "{down:?}");
    let told: serde_json::Value = serde_json::from_slice(&down.stdout).unwrap();
    assert_eq!(told["pinned"].as_array().unwrap().len(), 1, "{told:#}");
    assert_eq!(told["pinned"][0]["kernel"]["lookup_attached"], true, "{told:#}");
    assert_eq!(state(&netns), enrolled, "a crash changes nothing");

    let cleaned = mesh.agent.run("cleanup", &[]).unwrap();
    assert_eq!(cleaned.status.code(), Some(0), "{cleaned:?}");
    assert!(!mesh.agent.pin_root().exists());
    assert_eq!(state(&netns), before);

    let again = mesh.agent.run("cleanup", &[]).unwrap();
    assert_eq!(
        (again.status.code(), again.stdout.as_slice()),
        (Some(0), &b"nothing to remove\n"[..])
    );
}

/// A process is what leads to a namespace that has no name.
fn idle_in(netns: &Netns) -> Process {
    let mut idle = Command::new("sleep");
    idle.arg("60");
    netns.spawn(idle).unwrap()
}

fn mesh_of_client(name: &str, flags: &[&str]) -> (Mesh, Process) {
    let builder = Mesh::builder(name)
        .wiring(Wiring::Bridge)
        .family(Family::Dual)
        .enrolled("client");
    let mesh = flags
        .iter()
        .fold(builder, |builder, flag| builder.flag(flag))
        .start()
        .unwrap();
    let process = idle_in(&mesh.pod("client").netns);
    (mesh, process)
}

/// What istio-cni would do next: rules that redirect to the ztunnel that runs.
fn assert_next_redirection_reaches_ztunnel(mesh: &Mesh) {
    let (client, remote) = (&mesh.pod("client").netns, &mesh.world.remote);
    let rules = "table inet next { chain out { type nat hook output priority -100; \
                 meta mark & 0xfff != 0x539 tcp dport 8080 redirect to :15001; }; }";
    let mut nft = Command::new("nft");
    let done = client.run(|| nft.arg(rules).status()).unwrap();
    assert!(done.success(), "nft refused the rules");
    for address in remote.addresses.iter() {
        let to = SocketAddr::new(address, PORT);
        let _server = Server::start(&remote.netns, &ServerSpec::new("remote", to)).unwrap();
        let seen = Client::exchange(client, &ClientSpec::to(to));
        assert!(seen.as_ref().is_ok_and(Exchange::was_captured), "{seen:?}");
    }
}

fn clean_up(mesh: &Mesh) -> Value {
    let cleaned = mesh.agent.run("cleanup", &["-o", "json"]).unwrap();
    assert_eq!(cleaned.status.code(), Some(0), "{cleaned:?}");
    serde_json::from_slice(&cleaned.stdout).unwrap()
}

#[test]
fn whoever_redirects_next_reaches_ztunnel_after_a_cleanup() {
    let (mut mesh, _process) = mesh_of_client("next-cleanup", &[]);
    mesh.agent.kill();
    let told = clean_up(&mesh);
    assert_eq!(told["still_bound"], Value::Array(Vec::new()), "{told:#}");
    assert_next_redirection_reaches_ztunnel(&mesh);
}

#[test]
fn the_same_after_the_cleanup_of_a_layout_that_cannot_be_read() {
    let (mut mesh, _process) = mesh_of_client("next-unread", &[]);
    mesh.agent.kill();
    fs::remove_dir_all(mesh.agent.pin_root()).unwrap();
    let pods = Pins::of_layout(mesh.agent.pin_root(), LAYOUT_VERSION + 1).map(map::PODS);
    fs::create_dir_all(pods.parent().unwrap()).unwrap();
    let made = sys::map_create(&MapSpec {
        kind: MapType::HASH,
        key_size: 8,
        value_size: 24,
        max_entries: 8,
        name: map::PODS,
    });
    let made = made.unwrap();
    sys::obj_pin(made.as_fd(), &pods).unwrap();
    let cookie = inside::cookie(mesh.pod("client").netns.as_fd()).unwrap();
    let pod = RawMap::new(made).unwrap();
    pod.update(&cookie.to_ne_bytes(), &[0; 24]).unwrap();
    let told = clean_up(&mesh);
    assert_eq!(told["pods"][0], cookie, "{told:#}");
    assert_next_redirection_reaches_ztunnel(&mesh);
}

/// A ztunnel that is told keeps no listener; one that is not there when the agent leaves keeps it for the next.
#[test]
fn the_same_after_removal_on_exit_that_ztunnel_is_not_told_of() {
    let (mut mesh, _process) = mesh_of_client("next-exit", &["--remove-on-exit"]);
    let proxy = Pid::from_raw(mesh.proxy.id().unwrap().cast_signed());
    kill(proxy, Signal::SIGSTOP).unwrap();
    mesh.agent.kill();
    mesh.agent.restart().unwrap();
    mesh.wait_state("client", "pending").unwrap();
    mesh.agent.terminate().unwrap();
    assert!(!mesh.agent.pin_root().exists(), "{}", mesh.agent.output());
    kill(proxy, Signal::SIGCONT).unwrap();
    assert_next_redirection_reaches_ztunnel(&mesh);
}

/// What listens there, with this mark, bound to loopback.
fn bound(netns: &Netns, mark: u32) -> Socket {
    netns.run(|| {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.set_mark(mark).unwrap();
        socket.bind_device(Some(b"lo")).unwrap();
        let any = IpAddr::from(Ipv6Addr::UNSPECIFIED);
        socket
            .bind(&SocketAddr::new(any, ports::OUTBOUND).into())
            .unwrap();
        socket.listen(1).unwrap();
        socket
    })
}

#[test]
fn nobody_elses_listener_is_freed() {
    let netns = Netns::new().unwrap();
    let [ours, others] = [mark::OUTBOUND, 0].map(|mark| bound(&netns, mark));
    let namespaces: BTreeMap<u64, OwnedFd> = [(1, netns.as_fd().try_clone_to_owned().unwrap())].into();
    assert_eq!(loopback::free(&namespaces), []);
    assert_eq!(
        (ours.device().unwrap(), ours.mark().unwrap()),
        (None, mark::ZTUNNEL)
    );
    assert_eq!(
        (others.device().unwrap(), others.mark().unwrap()),
        (Some(b"lo".to_vec()), 0)
    );
}
