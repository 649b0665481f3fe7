//! ZDS, as the node agent sees it.

use std::fs::File;

use weir_standin::zds::wire::Request;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::{Proxy, ProxySpec};

use crate::agent::{Agent, add, del, keep};
use crate::sockets::{listeners, wait_for_listeners};

const PORTS: [u16; 3] = [15001, 15006, 15008];

fn start(agent: &Agent) -> Proxy {
    Proxy::start(ProxySpec::in_pod(&Netns::new().unwrap(), agent.path())).unwrap()
}

fn inodes(pod: &Netns) -> Vec<u32> {
    listeners(pod)
        .into_values()
        .map(|listener| listener.inode)
        .collect()
}

#[test]
fn ready_comes_with_the_snapshot() {
    let (agent, pod) = (Agent::new(), Netns::new().unwrap());
    let proxy = start(&agent);
    let mut session = agent.accept();
    session.add("a", &pod);
    assert!(!proxy.is_ready());
    session.request(&Request::SnapshotSent);
    proxy.wait_ready(PATIENCE).unwrap();
}

#[test]
fn listeners_come_with_the_answer_to_add_and_go_with_del() {
    let (agent, pod) = (Agent::new(), Netns::new().unwrap());
    let _proxy = start(&agent);
    let mut session = agent.accept();
    session.request(&Request::SnapshotSent);
    session.add("a", &pod);
    assert_eq!(listeners(&pod).into_keys().collect::<Vec<_>>(), PORTS);
    session.request(&del("a"));
    wait_for_listeners(&pod, &[]);
    session.request(&del("never seen"));
}

#[test]
fn a_second_add_keeps_the_listeners_and_another_namespace_replaces_them() {
    let (agent, pod, other) = (Agent::new(), Netns::new().unwrap(), Netns::new().unwrap());
    let _proxy = start(&agent);
    let mut session = agent.accept();
    session.request(&Request::SnapshotSent);
    session.add("a", &pod);
    let first = inodes(&pod);
    session.add("a", &pod);
    assert_eq!(inodes(&pod), first);
    session.add("a", &other);
    wait_for_listeners(&other, &PORTS);
    wait_for_listeners(&pod, &[]);
}

#[test]
fn pods_outlive_the_connection_and_the_next_snapshot_sorts_them() {
    let agent = Agent::new();
    let pods = ["kept", "added", "gone"].map(|uid| (uid, Netns::new().unwrap()));
    let proxy = start(&agent);
    let mut session = agent.accept();
    for (uid, pod) in &pods {
        session.add(uid, pod);
    }
    session.request(&Request::SnapshotSent);
    proxy.wait_ready(PATIENCE).unwrap();

    let before = pods.each_ref().map(|(_, pod)| inodes(pod));
    drop(session);
    eventually(PATIENCE, || (!proxy.is_ready()).then_some(())).unwrap();
    let mut session = agent.accept();
    session.request(&keep("kept"));
    session.add("added", &pods[1].1);
    assert_eq!(pods.each_ref().map(|(_, pod)| inodes(pod)), before);
    session.request(&Request::SnapshotSent);
    proxy.wait_ready(PATIENCE).unwrap();
    wait_for_listeners(&pods[2].1, &[]);
    assert_eq!([inodes(&pods[0].1), inodes(&pods[1].1)], before[..2]);
}

#[test]
fn it_finds_an_agent_that_comes_later() {
    let path = Agent::new().path().to_owned();
    let spec = ProxySpec::in_pod(&Netns::new().unwrap(), &path);
    let proxy = Proxy::start(spec).unwrap();
    eventually(PATIENCE, || (!proxy.output().is_empty()).then_some(())).unwrap();
    let agent = Agent::at(&path);
    agent.accept().request(&Request::SnapshotSent);
}

#[test]
fn two_proxies_share_a_pod_during_an_upgrade() {
    let (agent, pod) = (Agent::new(), Netns::new().unwrap());
    let mut old = start(&agent);
    // Held, as a proxy that loses its connection comes again.
    let mut first = agent.accept();
    first.add("a", &pod);
    let _new = start(&agent);
    let mut second = agent.accept();
    second.add("a", &pod);
    old.kill();
    first.expect_end();
    wait_for_listeners(&pod, &PORTS);
    second.request(&Request::SnapshotSent);
}

#[test]
fn a_namespace_that_cannot_be_entered_is_an_error_not_an_end() {
    let (agent, pod) = (Agent::new(), Netns::new().unwrap());
    let proxy = start(&agent);
    let mut session = agent.accept();
    let error = session.try_add("a", &File::open("/dev/null").unwrap());
    assert!(error.starts_with("failure to start proxy"), "{error}");
    session.request(&Request::SnapshotSent);
    assert!(!proxy.is_ready(), "a pod is not served");
    session.add("a", &pod);
    proxy.wait_ready(PATIENCE).unwrap();
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_it() {
    let (agent, pod) = (Agent::new(), Netns::new().unwrap());
    let _taken = pod.run(|| std::net::TcpListener::bind("[::]:15006")).unwrap();
    let _proxy = start(&agent);
    let mut session = agent.accept();
    let error = session.try_add("a", &pod);
    assert!(
        error.starts_with("failure to start proxy : Bind([::]:15006"),
        "{error}"
    );
    assert_eq!(
        listeners(&pod).into_keys().collect::<Vec<_>>(),
        [15006],
        "all or nothing"
    );
}

#[test]
fn what_cannot_be_read_ends_the_connection_only() {
    let (agent, pod) = (Agent::new(), Netns::new().unwrap());
    let _proxy = start(&agent);
    let without_descriptor = add("a").encode();
    let unknown = b"\x32\x00".to_vec();
    let long = add(&"x".repeat(2000)).encode();
    for bytes in [without_descriptor, unknown, long] {
        let mut session = agent.accept();
        session.send(&bytes);
        let error = session.answer();
        assert!(error.starts_with("failure to read message"), "{error}");
        session.expect_end();
    }
    let mut session = agent.accept();
    session.send_with(&del("a").encode(), &pod);
    assert_ne!(session.answer(), "");
    session.expect_end();
    agent.accept().add("a", &pod);
}

#[test]
fn breaking_the_protocol_ends_the_process() {
    let anonymous = Request::Add {
        uid: "a".to_owned(),
        workload: None,
    };
    for last in [Request::SnapshotSent, keep("a"), anonymous] {
        let (agent, pod) = (Agent::new(), Netns::new().unwrap());
        let mut proxy = start(&agent);
        let mut session = agent.accept();
        session.request(&Request::SnapshotSent);
        match &last {
            Request::Add { .. } => session.send_with(&last.encode(), &pod),
            _ => session.send(&last.encode()),
        }
        let error = session.answer();
        assert!(
            error.starts_with("failure to process message"),
            "{last:?}: {error}"
        );
        assert_eq!(proxy.wait_exit(PATIENCE).unwrap().code(), Some(1), "{last:?}");
    }
}

#[test]
fn a_restart_brings_the_listeners_back() {
    let (agent, pod) = (Agent::new(), Netns::new().unwrap());
    let mut proxy = start(&agent);
    let mut session = agent.accept();
    session.add("a", &pod);
    proxy.kill();
    session.expect_end();
    wait_for_listeners(&pod, &[]);
    proxy.restart().unwrap();
    let mut session = agent.accept();
    session.add("a", &pod);
    wait_for_listeners(&pod, &PORTS);
}
