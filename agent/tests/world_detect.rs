//! `weir detect` on nodes and pods of worlds.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "support/foreign.rs"]
mod foreign;

use std::process::{Command, Output};

use serde_json::Value;
use weir_agent::datapath::Hook;
use weir_agent::datapath::sys::AttachType;
use weir_netdetect::facts::Direction;
use weir_testbeds::mesh::{Mesh, PodLine};
use weir_testbeds::unique;
use weir_testbeds::world::{Wiring, World};

fn detect(world: &World, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command
        .args([
            "detect",
            "--host-netns",
            "/proc/self/ns/net",
            "--cni-conf-dir",
            "/nonexistent",
        ])
        .args(["--admin-socket", "/nonexistent/admin.sock"])
        .args(arguments)
        .env_clear();
    world.node.netns.run(|| command.output()).unwrap()
}

fn json(output: &Output) -> Value {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_namespace_is_told_for_programs_and_for_people() {
    let world = World::builder("detect")
        .wiring(Wiring::AwsVpc)
        .pods(["pod"])
        .build()
        .unwrap();
    let path = world.pod("pod").netns.path();
    let path = path.to_str().unwrap();
    let answer = json(&detect(
        &world,
        &["--netns", path, "--contract", "node", "-o", "json"],
    ));
    assert_eq!(answer["schema"], 1);
    assert_eq!(answer["contract"], "node");
    let pod = &answer["pods"][0];
    assert_eq!(pod["path"], path);
    assert_eq!(pod["plugins"][0]["cni"], "aws_vpc");
    assert_eq!(pod["plan"]["outbound"]["path"], "tc");
    assert_eq!(pod["plan"]["outbound"]["reason"], "host_peer");
    let far_end = &pod["facts"]["interfaces"][1]["far_end"];
    assert_eq!(far_end["netns"], "host");
    assert_eq!(far_end["name"], world.pod("pod").host_interface().unwrap());

    let yaml = text(&detect(
        &world,
        &["--netns", path, "--contract", "node", "-o", "yaml"],
    ));
    let same: Value = serde_yaml_ng::from_str(&yaml).unwrap();
    assert_eq!(same, answer);

    let table = text(&detect(&world, &["--netns", path]));
    for told in [
        "eth0",
        "veth",
        "AWS VPC CNI (likely)",
        "socket",
        "ztunnel's sockets are in the pod",
        "/nonexistent",
    ] {
        assert!(table.contains(told), "{told}:\n{table}");
    }
}

#[test]
fn what_cannot_work_is_told_with_what_would() {
    let world = World::builder("cannot")
        .wiring(Wiring::MacvlanPrivate)
        .pods(["pod"])
        .build()
        .unwrap();
    let path = world.pod("pod").netns.path();
    let table = text(&detect(
        &world,
        &["--netns", path.to_str().unwrap(), "--contract", "node"],
    ));
    assert!(table.contains("inbound: not captured"), "{table}");
    assert!(
        table.contains("what would make it work: macvlan in bridge mode"),
        "{table}"
    );
}

#[test]
fn plans_for_the_node_contract_are_those_for_the_ztunnel_that_is_named() {
    let world = World::builder("named")
        .pod("pod", Wiring::MacvlanBridge)
        .pod("beside", Wiring::MacvlanBridge)
        .pod("elsewhere", Wiring::Bridge)
        .build()
        .unwrap();
    let path = |pod: &str| world.pod(pod).netns.path().to_str().unwrap().to_owned();
    let of = |more: &[&str]| {
        let pod = path("pod");
        let asked = ["--netns", &pod, "--contract", "node"];
        detect(&world, &[&asked, more].concat())
    };
    let inbound = |ztunnel: &str| {
        let answer = json(&of(&["--ztunnel-netns", &path(ztunnel), "-o", "json"]));
        answer["pods"][0]["plan"]["inbound"].clone()
    };
    let beside = inbound("beside");
    assert_eq!(
        (&beside["path"], &beside["what_would_make_it_work"]),
        (&"steer".into(), &Value::Null)
    );
    let elsewhere = inbound("elsewhere");
    assert_eq!(
        (&elsewhere["path"], &elsewhere["reason"]),
        (&"not_captured".into(), &"other_parent".into())
    );
    let table = text(&of(&["--ztunnel-netns", &path("beside")]));
    assert!(table.contains("connected by a macvlan of eth0"), "{table}");
    let table = text(&of(&[]));
    assert!(table.contains("ztunnel: no agent tells where it is"), "{table}");
    let wrong = of(&["--ztunnel-netns", "/dev/null"]);
    let error = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!(wrong.status.code(), Some(1), "{error}");
    assert!(error.contains("not a network namespace"), "{error}");
}

/// What `weir detect` tells of a pod to one who asks beside the agent.
fn told_by(mesh: &Mesh, which: [&str; 2]) -> Value {
    let host = mesh.world.node.netns.path();
    let arguments = ["--host-netns", host.to_str().unwrap(), "--contract", "node"];
    let asked = [arguments.as_slice(), &which, &["-o", "json"]].concat();
    json(&mesh.agent.run("detect", &asked).unwrap())
}

/// That, and what the agent complains of.
fn told_and_done(mesh: &Mesh, pod: &str) -> (Value, Vec<String>) {
    let told = told_by(mesh, ["--pod", pod]);
    let status = json(&mesh.agent.run("status", &[pod, "-o", "json"]).unwrap());
    let complaints = status["not_captured"].as_array().unwrap().iter();
    let complaints = complaints.map(|warning| warning.as_str().unwrap().to_owned());
    (told, complaints.collect())
}

#[test]
fn plans_for_the_node_contract_are_those_that_the_agent_takes() {
    let mut steering = Mesh::builder("detect-steer")
        .outside("veth")
        .wiring(Wiring::MacvlanBridge)
        .enrolled("web")
        .ztunnel_outside(Wiring::MacvlanBridge)
        .flag("--macvlan-outbound")
        .flag("steer")
        .start()
        .unwrap();
    let (told, complaints) = told_and_done(&steering, "web");
    for direction in ["outbound", "inbound"] {
        let leg = &told["pods"][0]["plan"][direction];
        assert_eq!(
            (&leg["path"], &leg["what_would_make_it_work"]),
            (&"steer".into(), &Value::Null),
            "{direction}"
        );
    }
    assert_eq!(complaints, [""; 0]);
    // What is handed to the parent of a macvlan would leave the node.
    steering.change("veth", PodLine::enrol).unwrap();
    steering.wait_state("veth", "failed").unwrap();
    let status = json(&steering.agent.run("status", &["veth", "-o", "json"]).unwrap());
    let netns = steering.pod("veth").netns.path();
    let told = told_by(&steering, ["--netns", netns.to_str().unwrap()]);
    let inbound = &told["pods"][0]["plan"]["inbound"];
    assert_eq!(inbound["reason"], "ztunnel_without_peer");
    let done = status["why"].as_str().unwrap();
    assert!(done.contains(inbound["why"].as_str().unwrap()), "{done}");

    let divided = Mesh::builder("detect-divided")
        .enrolled("web")
        .wiring(Wiring::MacvlanBridge)
        .enrolled("beside")
        .ztunnel_outside(Wiring::Bridge)
        .start()
        .unwrap();
    let (told, complaints) = told_and_done(&divided, "web");
    assert_eq!(told["ztunnel"]["has_host_peer"], true);
    assert_eq!(told["pods"][0]["plan"]["inbound"]["path"], "tc");
    assert_eq!(complaints, [""; 0]);
    let (told, complaints) = told_and_done(&divided, "beside");
    let inbound = &told["pods"][0]["plan"]["inbound"];
    assert_eq!(inbound["reason"], "other_parent");
    let why = inbound["why"].as_str().unwrap();
    assert!(complaints[0].contains(why), "{complaints:?}: {why}");
}

#[test]
fn all_that_can_be_seen_is_told() {
    let world = World::builder("all").pods(["pod"]).build().unwrap();
    let name = unique::name("detect");
    let _published = world.pod("pod").netns.publish(&name).unwrap();
    let answer = json(&detect(&world, &["--all", "-o", "json"]));
    let pods = answer["pods"].as_array().unwrap();
    let path = format!("/run/netns/{name}");
    let found = pods.iter().filter(|pod| pod["path"] == path.as_str()).count();
    assert_eq!(found, 1, "{pods:?}");
}

#[test]
fn wrong_paths_are_refused() {
    let world = World::builder("refused").build().unwrap();
    for (path, why) in [
        ("/proc/self/ns/net", "node"),
        ("/dev/null", "not a network namespace"),
        ("/nonexistent", "/nonexistent"),
    ] {
        let output = detect(&world, &["--netns", path]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{path}: {error}");
        assert!(error.contains(why), "{path}: {error}");
    }
}

#[test]
fn a_pod_that_the_agent_knows_is_found_by_name() {
    let mesh = Mesh::builder("detect-pod").enrolled("web").start().unwrap();
    mesh.settled().unwrap();
    let host = mesh.world.node.netns.path();
    let ask = |pod: &str| {
        let arguments = ["--host-netns", host.to_str().unwrap(), "--pod", pod, "-o", "json"];
        mesh.agent.run("detect", &arguments).unwrap()
    };
    let answer = json(&ask("web"));
    let pod = &answer["pods"][0];
    assert!(pod["pod"].as_str().unwrap().ends_with("/web"), "{pod}");
    let mac = mesh.pod("web").primary.mac.to_string();
    assert_eq!(pod["facts"]["interfaces"][1]["mac"], mac);
    let rules = pod["facts"]["rules"].as_array().unwrap();
    assert!(!rules.is_empty(), "Weir's own rules are facts");
    assert_eq!(pod["plan"]["cautions"], Value::Array(Vec::new()), "and no clash");
    assert_eq!(ask("nobody").status.code(), Some(4));
    let world = World::builder("no-agent").build().unwrap();
    assert_eq!(detect(&world, &["--pod", "web"]).status.code(), Some(3));
}

fn point_to_point(name: &str) -> World {
    let builder = World::builder(name).wiring(Wiring::PointToPoint);
    builder.pods(["pod"]).build().unwrap()
}

/// Name and index of the node's end of the pod's interface.
fn host_end(world: &World) -> (String, u32) {
    let name = world.pod("pod").host_interface().unwrap();
    let interface = world
        .node
        .netns
        .netlink(async |netlink| netlink.interface(name).await);
    (name.to_owned(), interface.unwrap().index)
}

#[test]
fn programs_of_others_are_listed_in_order_and_stay() {
    let world = point_to_point("foreign");
    let node = &world.node.netns;
    let (name, index) = host_end(&world);
    let (first, second) = (foreign::load("cali_tc_first"), foreign::load("other_second"));
    let mut links = Vec::new();
    let mut expected = Vec::new();
    if Hook::of_this_kernel() == Hook::Tcx {
        for (order, program) in [&first, &second].into_iter().enumerate() {
            links.push(foreign::attach_tcx(node, index, program, AttachType::TCX_INGRESS));
            let (name, owner) = [("cali_tc_first", "calico"), ("other_second", "other")][order];
            expected.push(("tcx", u64::try_from(order).unwrap(), name, owner));
        }
    }
    foreign::attach_clsact(node, index, (&first, "cali_tc_first"), Direction::Ingress, 7);
    expected.push(("clsact", 7, "cali_tc_first", "calico"));
    let path = world.pod("pod").netns.path();
    let arguments = ["--netns", path.to_str().unwrap(), "-o", "json"];
    // Twice: that somebody looks changes nothing.
    for _ in 0..2 {
        let answer = json(&detect(&world, &arguments));
        let programs = answer["node"]["programs"].as_array().unwrap();
        let told: Vec<_> = programs
            .iter()
            .map(|program| {
                assert_eq!(
                    (&program["interface"], &program["direction"]),
                    (&index.into(), &"ingress".into())
                );
                let word = |field: &str| program[field].as_str().unwrap();
                (
                    word("hook"),
                    program["order"].as_u64().unwrap(),
                    word("name"),
                    word("owner"),
                )
            })
            .collect();
        assert_eq!(told, expected);
    }
    let table = text(&detect(&world, &arguments[..2]));
    assert!(
        table.contains(&format!("{name}: ingress clsact 7: cali_tc_first")),
        "{table}"
    );
    drop(links);
}

/// A filter at a qdisc for what arrives is not told of as one for what leaves as well.
#[test]
fn a_program_at_a_qdisc_for_one_direction_is_listed_once() {
    let world = point_to_point("one-way");
    let node = &world.node.netns;
    let (name, index) = host_end(&world);
    let added = node.run(|| {
        let words = ["qdisc", "add", "dev", &name, "ingress"];
        Command::new("tc").args(words).status().unwrap()
    });
    assert!(added.success());
    let program = foreign::load("cali_tc_first");
    foreign::attach_clsact(node, index, (&program, "cali_tc_first"), Direction::Ingress, 7);
    let path = world.pod("pod").netns.path();
    let answer = json(&detect(
        &world,
        &["--netns", path.to_str().unwrap(), "-o", "json"],
    ));
    let programs = answer["node"]["programs"].as_array().unwrap();
    let directions: Vec<_> = programs.iter().map(|program| &program["direction"]).collect();
    assert_eq!(directions, ["ingress"], "{programs:#?}");
}

/// By the node contract frames are put into a pod past what stands at its peer.
#[test]
fn programs_that_do_not_see_what_is_redirected_are_cautioned_of() {
    let world = World::builder("passed-by")
        .wiring(Wiring::PointToPoint)
        .pods(["pod", "ztunnel"])
        .build()
        .unwrap();
    let node = &world.node.netns;
    let (_, index) = host_end(&world);
    let policy = foreign::load("cali_tc_policy");
    foreign::attach_clsact(node, index, (&policy, "cali_tc_policy"), Direction::Egress, 7);
    let path = |pod: &str| world.pod(pod).netns.path().to_str().unwrap().to_owned();
    let cautions = |contract: &str| {
        let (pod, ztunnel) = (path("pod"), path("ztunnel"));
        let mut asked = vec!["--netns", &pod, "--contract", contract, "-o", "json"];
        if contract == "node" {
            asked.extend(["--ztunnel-netns", &ztunnel]);
        }
        json(&detect(&world, &asked))["pods"][0]["plan"]["cautions"].clone()
    };
    let told = cautions("node");
    assert_eq!(told[0]["reason"], "passed_by", "{told:#}");
    let what = told[0]["what"].as_str().unwrap();
    assert!(what.contains("cali_tc_policy") && what.contains("eth0"), "{what}");
    assert_eq!(cautions("in-pod"), Value::Array(Vec::new()));
}
