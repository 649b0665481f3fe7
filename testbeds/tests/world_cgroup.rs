//! Cgroups, and actors that are in them before they act.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use weir_testbeds::actor::{Actor, Error, supervised};
use weir_testbeds::cgroup::Cgroup;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::netns::Netns;
use weir_testbeds::traffic::{Cause, ClientSpec, Server, ServerSpec};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

#[test]
fn a_cgroup_is_gone_with_its_guard_and_takes_members_along() {
    let netns = Netns::new().unwrap();
    let cgroup = Cgroup::new("members").unwrap();
    let child = cgroup.child("pod").unwrap();
    assert_eq!(
        std::fs::metadata(cgroup.path()).unwrap().ino(),
        cgroup.id().unwrap()
    );
    let mut actor = Actor::start(&netns, Some(&child)).unwrap();
    actor.serve(&ServerSpec::new("app", LOOPBACK)).unwrap();
    assert_eq!(
        (child.members().unwrap(), cgroup.members().unwrap()),
        (vec![actor.id()], vec![])
    );
    let path = cgroup.path().to_owned();
    drop(cgroup);
    assert!(!path.exists());
    assert!(matches!(
        actor.serve(&ServerSpec::new("app", LOOPBACK)),
        Err(Error::Silent(_))
    ));
}

#[test]
fn an_actor_connects_stays_connected_and_serves() {
    let netns = Netns::new().unwrap();
    let (mut left, mut right) = (
        Actor::start(&netns, None).unwrap(),
        Actor::start(&netns, None).unwrap(),
    );
    let hosted = left.serve(&ServerSpec::new("left", LOOPBACK)).unwrap();
    assert_eq!(
        right
            .exchange(&ClientSpec::to(hosted.address))
            .unwrap()
            .server
            .server,
        "left"
    );
    let held = right.open(&ClientSpec::to(hosted.address)).unwrap();
    right.echo(&held, "hello").unwrap();
    let seen = left.connections(&hosted).unwrap();
    assert_eq!(
        (seen.len(), seen[1].received, seen[1].report.peer),
        (2, 5, held.exchange.local)
    );
    right.close(&held).unwrap();
    left.stop(&hosted).unwrap();
    let refused = right.exchange(&ClientSpec::to(hosted.address)).unwrap_err();
    assert!(matches!(refused, Error::Failed(failure) if failure.cause == Cause::Refused));
}

#[test]
fn an_actor_acts_in_its_own_namespace() {
    let (here, there) = (Netns::new().unwrap(), Netns::new().unwrap());
    let server = Server::start(&here, &ServerSpec::new("app", LOOPBACK)).unwrap();
    Actor::start(&here, None)
        .unwrap()
        .exchange(&ClientSpec::to(server.address()))
        .unwrap();
    Actor::start(&there, None)
        .unwrap()
        .exchange(&ClientSpec::to(server.address()))
        .unwrap_err();
}

#[test]
fn any_program_can_be_started_in_a_cgroup() {
    let netns = Netns::new().unwrap();
    let cgroup = Cgroup::new("program").unwrap();
    let mut command = supervised("sleep", Some(&cgroup)).unwrap();
    command.arg("600").stdin(Stdio::null());
    let process = netns.spawn(command).unwrap();
    eventually(PATIENCE, || {
        (cgroup.members().unwrap() == [process.id()]).then_some(())
    })
    .unwrap();
    let name = || std::fs::read_to_string(format!("/proc/{}/comm", process.id())).unwrap();
    eventually(PATIENCE, || (name() == "sleep\n").then_some(())).unwrap();
}
