//! The list in a world: it passes where Weir is at work and fails where it is not.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread;

use weir_testbeds::actor::supervised;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::{Builder, Mesh};
use weir_testbeds::process::Process;
use weir_testbeds::world::{Family, Pod};

const PROGRAM: &str = env!("CARGO_BIN_EXE_weir-conformance");
const PORT: u16 = 8080;
const EXCLUDED: u16 = 8081;

fn mesh(name: &str) -> Builder {
    let mut builder = Mesh::builder(name)
        .family(Family::Dual)
        .outside("outside")
        .outside("stranger");
    for pod in ["client", "server"] {
        builder = builder.enrolled(pod);
        for direction in ["Inbound", "Outbound"] {
            let annotation = format!("traffic.sidecar.istio.io/exclude{direction}Ports");
            builder = builder.annotate(pod, &annotation, &EXCLUDED.to_string());
        }
    }
    builder
}

/// A server in the pod; it ends with the guard.
fn serve(pod: &Pod) -> Process {
    let mut command = supervised(PROGRAM, None).unwrap();
    command
        .args(["serve", "--name", &pod.name])
        .args(["--ports", &format!("{PORT},{EXCLUDED}")])
        .stdout(Stdio::null());
    let process = pod.netns.spawn(command).unwrap();
    let answers = || TcpStream::connect(("127.0.0.1", EXCLUDED)).and(TcpStream::connect(("127.0.0.1", PORT)));
    pod.netns
        .run(|| eventually(PATIENCE, || answers().ok()).map(drop))
        .unwrap();
    process
}

fn output(pod: &Pod, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments);
    pod.netns.run(|| command.output()).unwrap()
}

fn addresses(pod: &Pod) -> String {
    let addresses: Vec<String> = pod
        .addresses()
        .iter()
        .map(|address| address.to_string())
        .collect();
    addresses.join(",")
}

/// Goes through the list in a pod; whether all is well, and what was printed.
fn run(mesh: &Mesh, from: &str, flags: &[&str]) -> (bool, String) {
    let (server, outside) = (addresses(mesh.pod("server")), addresses(mesh.pod("outside")));
    let mut arguments = vec!["run", "--mesh", &server, "--outside", &outside];
    arguments.extend(["--excluded-port", "8081", "--closed-port", "8082"]);
    arguments.extend(flags);
    let output = output(mesh.pod(from), &arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), text)
}

#[test]
fn world_the_list_holds_in_the_mesh_and_outside_of_it() {
    let mesh = mesh("conformance").start().unwrap();
    let _servers = ["server", "outside"].map(|pod| serve(mesh.pod(pod)));
    for (from, flags) in [("client", &["--in-mesh"][..]), ("stranger", &[])] {
        let (good, text) = run(&mesh, from, flags);
        assert!(good, "from {from}:\n{text}\n{}", mesh.agent.output());
        // Two pods, two families: connection, datagram, excluded and closed port; and the pod itself, four times.
        assert_eq!(text.lines().count(), 2 * 2 * 4 + 4, "{text}");
    }
    let (good, json) = run(&mesh, "client", &["--in-mesh", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(good && report["checks"].as_array().unwrap().len() == 20, "{json}");
}

#[test]
fn world_a_pod_that_should_be_in_the_mesh_and_is_not_is_found_out() {
    let mesh = mesh("nonconformance").start().unwrap();
    let _servers = ["server", "outside"].map(|pod| serve(mesh.pod(pod)));
    let (good, text) = run(&mesh, "stranger", &["--in-mesh"]);
    assert!(!good && text.contains("FAILED: not captured"), "{text}");
    let (good, text) = run(&mesh, "client", &[]);
    assert!(!good && text.contains("FAILED: captured"), "{text}");
}

#[test]
fn world_a_first_act_is_captured_and_connections_endure_a_restart_of_the_agent() {
    let mut mesh = mesh("endurance").start().unwrap();
    let _server = serve(mesh.pod("server"));
    let to = format!("{}:{PORT}", mesh.pod("server").address());
    let first = output(mesh.pod("client"), &["first", "--to", &to]);
    assert!(first.status.success(), "{first:?}");
    let client = mesh.pod("client").netns.clone();
    let mut command = Command::new(PROGRAM);
    command
        .args(["endure", "--seconds", "2", "--to", &to])
        .stdout(Stdio::piped());
    let mut enduring = client.spawn(command).unwrap();
    mesh.agent.kill();
    mesh.agent.restart().unwrap();
    mesh.settled().unwrap();
    assert!(enduring.wait().unwrap().success());
}

/// Runs `depart` in a mesh whose agent ends meanwhile; whether all was well, and what it printed.
fn depart(name: &str, flags: &[&str]) -> (bool, String) {
    let builder = flags.iter().fold(mesh(name), |builder, flag| builder.flag(flag));
    let mut mesh = builder.start().unwrap();
    let _server = serve(mesh.pod("server"));
    let to = SocketAddr::new(mesh.pod("server").address(), PORT);
    let mut command = Command::new(PROGRAM);
    command.args(["depart", "--seconds", "2", "--to", &to.to_string()]);
    let client = mesh.pod("client").netns.clone();
    thread::scope(|scope| {
        let departing = scope.spawn(|| client.run(|| command.output()).unwrap());
        // Both ends tell of each: more than of the connection that stays open.
        let told = || {
            let records = mesh.proxy.connections().into_iter();
            records
                .filter(|record| record.original_destination == Some(to))
                .count()
        };
        let met = eventually(PATIENCE, || (told() > 2).then_some(()));
        assert_eq!(met, Ok(()));
        mesh.agent.terminate().unwrap();
        let departed = departing.join().unwrap();
        (
            departed.status.success(),
            String::from_utf8_lossy(&departed.stdout).into_owned(),
        )
    })
}

#[test]
fn world_connections_go_in_clear_when_weir_is_taken_away_and_it_is_found_out_if_it_stays() {
    let (good, text) = depart("departure", &["--remove-on-exit"]);
    assert!(good && text.contains(" in clear"), "{text}");
    let (good, text) = depart("no-departure", &[]);
    assert!(!good && text.contains("Weir is still there"), "{text}");
}
