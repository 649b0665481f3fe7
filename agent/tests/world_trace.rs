//! `weir trace`: what it shows, and that it costs nothing when nobody looks.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::process::{Child, Stdio};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use weir_agent::datapath::{Maps, Pins};
use weir_common::node::NodeSettings;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::proxy::Dns;
use weir_testbeds::traffic::dns::{Query, Transport};
use weir_testbeds::traffic::{Client, ClientSpec, Server, ServerSpec};
use weir_testbeds::world::{Family, Wiring};

/// Whether the kernel side tells its decisions.
fn is_told(mesh: &Mesh) -> bool {
    let maps = Maps::adopt(&Pins::new(mesh.agent.pin_root()));
    maps.node().unwrap().get(&0, 0).unwrap().has(NodeSettings::TRACE)
}

/// `weir trace`, when it listens.
fn trace(mesh: &Mesh, arguments: &[&str]) -> Child {
    let mut command = mesh.agent.command("trace").unwrap();
    command
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut trace = command.spawn().unwrap();
    let mut listening = String::new();
    let mut stderr = BufReader::new(trace.stderr.take().unwrap());
    stderr.read_line(&mut listening).unwrap();
    assert_eq!(listening, "weir: listening\n");
    trace.stderr = Some(stderr.into_inner());
    trace
}

/// A crash leaves the pods captured; whoever is there then can look as well.
#[test]
fn decisions_are_shown_without_an_agent() {
    let mut mesh = Mesh::builder("trace-down")
        .enrolled("client")
        .outside("plain")
        .start()
        .unwrap();
    let to = SocketAddr::new(mesh.pod("plain").address(), 8080);
    let _server = Server::start(&mesh.pod("plain").netns, &ServerSpec::new("plain", to)).unwrap();
    let client = mesh.pod("client").netns.clone();
    let cookie = weir_agent::inside::cookie(client.as_fd()).unwrap();
    mesh.agent.kill();
    let named = mesh.agent.run("trace", &["--pod", "client"]).unwrap();
    assert_eq!(named.status.code(), Some(1), "{named:?}");
    assert!(
        String::from_utf8_lossy(&named.stderr).contains("netns:COOKIE"),
        "{named:?}"
    );
    let pod = format!("netns:{cookie}");
    let mut command = mesh.agent.command("trace").unwrap();
    command
        .args(["--count", "1", "--pod", &pod])
        .stdout(Stdio::piped());
    let trace = command.spawn().unwrap();
    eventually(PATIENCE, || is_told(&mesh).then_some(())).unwrap();
    Client::exchange(&client, &ClientSpec::to(to)).unwrap();
    let shown = trace.wait_with_output().unwrap();
    assert_eq!(shown.status.code(), Some(3));
    let line = String::from_utf8(shown.stdout).unwrap();
    let words = [
        format!(" {pod} "),
        " redirected outbound ".to_owned(),
        format!("-> {to}"),
    ];
    assert!(words.iter().all(|word| line.contains(word)), "{line}");
    assert!(!is_told(&mesh), "nobody listens any more");
}

/// What `weir trace -o json` shows.
fn decisions(trace: &mut Child) -> impl Iterator<Item = Value> + use<> {
    let lines = BufReader::new(trace.stdout.take().unwrap()).lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

/// DNS is the one thing whose destination changes: both are shown.
#[test]
fn queries_are_shown_with_both_destinations() {
    let answers = vec![(None, "10.9.9.9".parse().unwrap())];
    let mesh = Mesh::builder("trace-dns")
        .family(Family::Dual)
        .dns(Dns::Answers(answers))
        .enrolled("client")
        .start()
        .unwrap();
    let mut trace = trace(&mesh, &["-o", "json"]);
    let mut shown = decisions(&mut trace);
    for (server, turned_to) in [
        ("192.0.2.1:53", "127.0.0.1:15053"),
        ("[2001:db8::1]:53", "[::1]:15053"),
    ] {
        let server: SocketAddr = server.parse().unwrap();
        for (transport, reason) in [
            (Transport::Udp, "dns_udp"),
            (Transport::ConnectedUdp, "dns_udp"),
            (Transport::Tcp, "dns_tcp"),
        ] {
            let query = Query::new(server, "a.test").over(transport);
            query.ask(&mesh.pod("client").netns).unwrap();
            let decision = shown.find(|decision| decision["reason"] == reason).unwrap();
            assert_eq!(decision["verdict"], "redirected");
            assert_eq!(decision["destination"], server.ip().to_string());
            assert_eq!(decision["destination_port"], 53);
            assert_eq!(decision["turned_to"], turned_to);
        }
    }
    trace.kill().unwrap();
    trace.wait().unwrap();
}

/// More decisions than the ring has room for, while the agent does not look: those that are missing are counted.
#[test]
fn a_gap_is_shown_as_one() {
    const DIALLED: u64 = 100;
    const MISSED: u16 = 9;
    const LAST: u16 = 10;
    let mesh = Mesh::builder("trace-gap")
        .enrolled("client")
        .flag("--trace-buffer")
        .flag("4096")
        .start()
        .unwrap();
    let mut trace = trace(&mesh, &["--pod", "client", "-o", "json"]);
    let client = &mesh.pod("client").netns;
    let dial = |port: u16| {
        client
            .run(|| TcpStream::connect(("127.0.0.1", port)))
            .unwrap_err()
    };
    // What is missing is told by the same CPU.
    let mut one = CpuSet::new();
    one.set(0).unwrap();
    sched_setaffinity(Pid::from_raw(0), &one).unwrap();
    let agent = Pid::from_raw(mesh.agent.id().unwrap() as i32);
    kill(agent, Signal::SIGSTOP).unwrap();
    for _ in 0..DIALLED {
        dial(MISSED);
    }
    kill(agent, Signal::SIGCONT).unwrap();
    let shown = decisions(&mut trace).inspect(|decision| assert_eq!(decision["reason"], "loopback"));
    let mut told = 0;
    for decision in shown {
        if decision["destination_port"] == LAST {
            break;
        }
        told += 1;
        // Until the agent has made room, the last one may be lost too.
        dial(LAST);
    }
    trace.kill().unwrap();
    let printed = trace.wait_with_output().unwrap();
    let gaps = String::from_utf8(printed.stderr).unwrap();
    let lost: u64 = gaps
        .lines()
        .map(|gap| gap.strip_prefix("weir: ").unwrap().split(' ').next().unwrap())
        .map(|count| count.parse::<u64>().unwrap())
        .sum();
    assert!(told < DIALLED && lost >= DIALLED - told, "{told} told, {gaps}");
}

#[test]
fn decisions_are_shown_while_somebody_listens() {
    let mut mesh = Mesh::builder("trace")
        .wiring(Wiring::Bridge)
        .enrolled("client")
        .outside("plain")
        .start()
        .unwrap();
    let to = mesh.pod("plain").addresses().iter().next().unwrap();
    let server = Server::start(
        &mesh.pod("plain").netns,
        &ServerSpec::new("plain", SocketAddr::new(to, 8080)),
    )
    .unwrap();
    assert!(!is_told(&mesh));
    let mut of_pod = trace(&mesh, &["--pod", "client", "-o", "json"]);
    let of_all = trace(&mesh, &["--count", "1"]);
    assert!(is_told(&mesh));
    Client::exchange(&mesh.pod("client").netns, &ClientSpec::to(server.address())).unwrap();

    let line = of_all.wait_with_output().unwrap();
    assert_eq!(line.status.code(), Some(0));
    let line = String::from_utf8(line.stdout).unwrap();
    assert!(
        line.contains(" default/client ") && line.lines().count() == 1,
        "{line}"
    );
    let decision = decisions(&mut of_pod)
        .find(|decision| decision["reason"] == "outbound")
        .unwrap();
    assert_eq!(decision["pod"], "default/client");
    assert_eq!(decision["verdict"], "redirected");
    assert_eq!(decision["destination"], to.to_string());
    assert_eq!(decision["destination_port"], 8080);
    assert_eq!(decision["turned_to"], Value::Null, "no address is rewritten");

    assert!(is_told(&mesh), "one still listens");
    of_pod.kill().unwrap();
    of_pod.wait().unwrap();
    eventually(PATIENCE, || (!is_told(&mesh)).then_some(())).unwrap();

    // A crash leaves it on; the next agent switches it off.
    let mut cut_off = trace(&mesh, &[]);
    mesh.agent.kill();
    cut_off.wait().unwrap();
    assert!(is_told(&mesh));
    mesh.agent.restart().unwrap();
    eventually(PATIENCE, || (!is_told(&mesh)).then_some(())).unwrap();
}
