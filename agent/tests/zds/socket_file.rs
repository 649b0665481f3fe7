//! The socket's file: whose it is, who may use it, and what a restart does to it.
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use weir_agent::socket_file::BindError;
use weir_agent::zds::ZdsServer;

use crate::fixtures::{Directory, Fixture, config, pod};
use crate::ztunnel::Ztunnel;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test(flavor = "multi_thread")]
async fn only_root_may_connect() {
    let fixture = Fixture::start();
    let socket = fixture.directory.socket();
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(mode(socket.parent().unwrap()), 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_closes_every_connection_and_removes_the_file() {
    let fixture = Fixture::start();
    let socket = fixture.directory.socket();
    let ztunnel = Ztunnel::live(&socket, &[]);
    let mute = Ztunnel::connect(&socket);
    let added = fixture.add("a");
    ztunnel.sees_add("a");
    fixture.server.shutdown().await;
    ztunnel.sees_end();
    mute.sees_end();
    assert!(added.get().await.is_err());
    assert!(!socket.exists());
    // Once more does nothing.
    fixture.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_handle_takes_the_server_with_it() {
    let Fixture {
        server,
        directory,
        events,
    } = Fixture::start();
    let ztunnel = Ztunnel::live(&directory.socket(), &[]);
    drop(server.clone());
    ztunnel.sees_nothing();
    drop((server, events));
    ztunnel.sees_end();
    assert!(Ztunnel::try_connect(&directory.socket()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_agent_sends_a_full_snapshot() {
    let fixture = Fixture::start();
    let socket = fixture.directory.socket();
    let ztunnel = Ztunnel::live(&socket, &[]);
    let added = fixture.add("a");
    ztunnel.takes_add("a");
    added.get().await.unwrap();
    fixture.server.shutdown().await;
    ztunnel.sees_end();

    let restarted = ZdsServer::start(config(&fixture.directory)).unwrap();
    // ztunnel is faster than the agent is with its pods: an empty snapshot would end them all.
    let ztunnel = Ztunnel::hello(&socket);
    restarted.want(pod("a")).unwrap();
    ztunnel.sees_nothing();
    restarted.want(pod("b")).unwrap();
    restarted.serve();
    ztunnel.takes_add("a");
    ztunnel.takes_add("b");
    ztunnel.takes_marker();
    restarted.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_agents_file_is_replaced() {
    let directory = Directory::new();
    std::fs::create_dir(directory.path().join("run")).unwrap();
    // Bound, and closed without removing the file, as after a kill.
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::SEQPACKET, None).unwrap();
    socket
        .bind(&socket2::SockAddr::unix(directory.socket()).unwrap())
        .unwrap();
    drop(socket);
    assert!(directory.socket().exists());

    let server = ZdsServer::start(config(&directory)).unwrap();
    server.serve();
    Ztunnel::live(&directory.socket(), &[]);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_living_agents_socket_is_left_alone() {
    let fixture = Fixture::start();
    let error = ZdsServer::start(config(&fixture.directory))
        .err()
        .expect("it is taken");
    let us = std::process::id().cast_signed();
    assert!(
        matches!(error, BindError::InUse { pid, .. } if pid == us),
        "{error}"
    );
    Ztunnel::live(&fixture.directory.socket(), &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_living_listener_of_another_type_is_left_alone() {
    let directory = Directory::new();
    std::fs::create_dir(directory.path().join("run")).unwrap();
    let _stream = std::os::unix::net::UnixListener::bind(directory.socket()).unwrap();
    let error = ZdsServer::start(config(&directory)).err().expect("it is taken");
    assert!(matches!(error, BindError::InUse { pid: 0, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_socket_is_left_alone() {
    let directory = Directory::new();
    std::fs::create_dir(directory.path().join("run")).unwrap();
    std::fs::write(directory.socket(), "precious").unwrap();
    let error = ZdsServer::start(config(&directory)).err().expect("it is taken");
    assert!(matches!(error, BindError::NotASocket { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(directory.socket()).unwrap(), "precious");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_too_long_for_a_socket_is_an_error() {
    let directory = Directory::new();
    let mut config = config(&directory);
    config.socket = directory.path().join("x".repeat(120));
    assert!(matches!(
        ZdsServer::start(config).err(),
        Some(BindError::Io { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successors_file_survives_the_predecessors_end() {
    let fixture = Fixture::start();
    let socket = fixture.directory.socket();
    std::fs::remove_file(&socket).unwrap();
    let successor = ZdsServer::start(config(&fixture.directory)).unwrap();
    fixture.server.shutdown().await;
    successor.serve();
    Ztunnel::live(&socket, &[]);
    successor.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_served_stops_as_well() {
    let directory = Directory::new();
    let server = ZdsServer::start(config(&directory)).unwrap();
    let waiting = Ztunnel::hello(&directory.socket());
    server.shutdown().await;
    waiting.sees_end();
    server.serve();
    assert!(!directory.socket().exists());
}
