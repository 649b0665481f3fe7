//! Where ports, time and memory run short: captured connections behave as direct ones do.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use weir_testbeds::netns::Netns;
use weir_testbeds::traffic::{Client, ClientSpec, Server, ServerSpec};

use crate::caller::{Caller, Talk, ask_all, call_all, finish_all, open_all, open_all_by};
use crate::server::{Closer, LoadServer, listener};
use crate::{PORT, callers, families, mesh, scaled, serve};

/// Much less than the minute for which a closed connection rests.
const REST: Duration = Duration::from_secs(10);

#[test]
fn idle_connections_live_while_others_come_and_go() {
    let mesh = mesh("load-idle");
    for to in families(&mesh) {
        let server = serve(&mesh, "server", to, PORT, Closer::Client);
        for from in ["plain", "client"] {
            mesh.pod(from).netns.run_async(async || {
                let idle = open_all(callers(&server, scaled(500)), 80).await;
                call_all(callers(&server, scaled(500)), 50, Closer::Client).await;
                finish_all(ask_all(idle, 1000).await, Closer::Client).await;
            });
        }
    }
}

/// Opens connections until no more can be opened.
async fn exhaust(server: &LoadServer) -> (Vec<Talk>, io::ErrorKind) {
    let mut talks = Vec::new();
    loop {
        match server.caller(talks.len() as u64).connect().await {
            Ok(mut talk) => {
                talk.ask(10).await.unwrap();
                talks.push(talk);
            }
            Err(trouble) => return (talks, trouble.kind()),
        }
    }
}

#[test]
fn a_client_runs_out_of_ports_as_it_does_without_capture() {
    const PORTS: usize = 20;
    let mesh = mesh("load-exhausted");
    for from in ["plain", "client"] {
        mesh.pod(from)
            .netns
            .sysctl_set("net.ipv4.ip_local_port_range", "40000 40019")
            .unwrap();
    }
    for to in families(&mesh) {
        let server = serve(&mesh, "server", to, PORT, Closer::Client);
        for from in ["plain", "client"] {
            mesh.pod(from).netns.run_async(async || {
                let (talks, end) = exhaust(&server).await;
                assert_eq!(
                    (talks.len(), end),
                    (PORTS, io::ErrorKind::AddrNotAvailable),
                    "{from} {to}"
                );
                finish_all(ask_all(talks, 500).await, Closer::Client).await;
            });
        }
    }
}

/// Each captured connection to a plain destination takes two ports of the pod: the application's and the proxy's.
#[test]
fn few_ports_are_enough_for_more_connections_to_several_destinations() {
    let mesh = mesh("load-few-ports");
    let client = &mesh.pod("client").netns;
    for from in ["plain", "client"] {
        let few = ("net.ipv4.ip_local_port_range", "40000 40199");
        mesh.pod(from).netns.sysctl_set(few.0, few.1).unwrap();
    }
    for to in families(&mesh) {
        let servers = [0, 1, 2].map(|port| serve(&mesh, "plain", to, PORT + port, Closer::Client));
        let all = || servers.iter().flat_map(|server| callers(server, 80)).collect();
        client.run_async(async || {
            finish_all(ask_all(open_all(all(), 40).await, 500).await, Closer::Client).await;
            // Ports that have rested for a second may be used again.
            let talks = open_all_by(Instant::now() + REST, all(), 40).await;
            finish_all(ask_all(talks, 500).await, Closer::Client).await;
        });
    }
}

#[test]
fn a_server_that_allows_no_reuse_starts_again_under_load() {
    let mesh = mesh("load-restart");
    let pod = &mesh.pod("server").netns;
    for to in families(&mesh) {
        let address = SocketAddr::new(to, PORT);
        let start = || {
            let socket =
                listener(pod, address, false).expect("the port of the server that has ended is free");
            LoadServer::on(socket, 1, Closer::Client)
        };
        let mut server = start();
        for from in ["plain", "client", "plain", "client"] {
            let talks = mesh
                .pod(from)
                .netns
                .run_async(async || open_all(callers(&server, 100), 50).await);
            drop(server);
            server = start();
            mesh.pod(from).netns.run_async(async || {
                call_all(callers(&server, 100), 50, Closer::Client).await;
                drop(talks);
            });
        }
    }
}

/// Calls as soon as the client's own kernel has done with the last connection from the port: when the server closes
/// first, the client's last acknowledgement is still to come.
async fn call_when_free(caller: Caller, closer: Closer) {
    let deadline = Instant::now() + REST;
    loop {
        match caller.call(100, closer).await {
            Err(trouble)
                if trouble.kind() == io::ErrorKind::AddrNotAvailable && Instant::now() < deadline =>
            {
                tokio::task::yield_now().await;
            }
            outcome => {
                outcome.unwrap();
                return;
            }
        }
    }
}

#[test]
fn a_client_uses_a_port_again_at_once() {
    let mesh = mesh("load-again");
    for to in families(&mesh) {
        for (port, closer) in [(PORT, Closer::Client), (PORT + 1, Closer::Server)] {
            let server = serve(&mesh, "server", to, port, closer);
            for from in ["plain", "client"] {
                let source = mesh.address(from, to).unwrap();
                mesh.pod(from).netns.run_async(async || {
                    for id in 0..50 {
                        let caller = server.caller(id).at_port(source, 2000);
                        call_when_free(caller, closer).await;
                    }
                });
            }
        }
    }
}

fn carry(from: &Netns, server: &Server, bytes: u64) {
    let mut connection = Client::connect(from, &ClientSpec::to(server.address())).unwrap();
    assert_eq!(connection.bulk(bytes).unwrap().bytes, bytes);
    connection.close().unwrap();
}

#[test]
fn bulk_arrives_unaltered() {
    let bytes = std::env::var("WEIR_LOAD_BYTES").map_or(8 << 20, |bytes| bytes.parse().unwrap());
    let mesh = mesh("load-bulk");
    let remote = &mesh.world.remote;
    for to in families(&mesh) {
        let spec = |address| ServerSpec::new("bulk", SocketAddr::new(address, PORT));
        let pod = Server::start(&mesh.pod("server").netns, &spec(to)).unwrap();
        let beyond = Server::start(&remote.netns, &spec(remote.address_like(to).unwrap())).unwrap();
        let client = &mesh.pod("client").netns;
        for (from, server) in [(client, &pod), (client, &beyond), (&remote.netns, &pod)] {
            carry(from, server, bytes);
        }
    }
}
