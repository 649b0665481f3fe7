//! How pods start.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use weir_testbeds::cni::Sandbox;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::PodLine;
use weir_testbeds::traffic::{Client, ClientSpec};

use super::support::{Scene, awaited, sandbox, uid, was_redirected};

/// What the issue of it is: a container whose first act is a connect.
const TIMES: usize = 200;

#[test]
fn the_first_connection_of_a_pod_is_captured_200_times() {
    let mut scene = Scene::new("cni-first");
    let names: Vec<String> = (0..TIMES).map(|number| format!("first-{number}")).collect();
    scene.mesh.add(names.iter().map(|name| awaited(name))).unwrap();
    let mut missed = Vec::new();
    for name in &names {
        let pod = scene.pod(name);
        let sandbox = sandbox(&pod);
        scene.runtime.add(&sandbox).unwrap();
        match scene.first_connection(&pod) {
            Ok(seen) if was_redirected(&seen) => {}
            other => missed.push(format!("{name}: {other:?}")),
        }
        scene.runtime.del(&sandbox).unwrap();
        scene.mesh.world.remove_pod(name).unwrap();
    }
    assert!(missed.is_empty(), "{missed:#?}\n{}", scene.mesh.agent.output());
}

#[test]
fn a_pod_out_of_the_mesh_starts_at_once_and_is_left_alone() {
    let mut scene = Scene::new("cni-outside");
    scene
        .mesh
        .add([PodLine::awaited("plain", &uid("plain"))])
        .unwrap();
    let pod = scene.pod("plain");
    let result = scene.runtime.add(&sandbox(&pod)).unwrap();
    assert_eq!(
        result["interfaces"][0]["name"], "eth0",
        "the result of the plugin before is handed on"
    );
    assert!(!was_redirected(&scene.first_connection(&pod).unwrap()));
    let rules = pod
        .netns
        .run(|| std::process::Command::new("ip").arg("rule").output().unwrap());
    assert!(!String::from_utf8(rules.stdout).unwrap().contains("fwmark"));
    // Its label is changed while it runs: the agent knows its namespace from the runtime.
    scene.mesh.change("plain", PodLine::enrol).unwrap();
    scene.mesh.wait_state("plain", "enrolled").unwrap();
    assert!(was_redirected(&scene.first_connection(&pod).unwrap()));
}

/// Runtimes set what a pod itself asks for after its network, so nobody knows it earlier.
#[test]
fn settings_that_matter_with_time_come_when_the_pod_has_started() {
    const REUSE: &str = "net.ipv4.tcp_tw_reuse";
    let mut scene = Scene::new("cni-settings");
    scene.mesh.add([awaited("pod")]).unwrap();
    let pod = scene.pod("pod");
    let result = scene.runtime.add(&sandbox(&pod)).unwrap();
    let is = |key, value: &str| pod.netns.sysctl_get(key).unwrap().trim() == value;
    assert!(
        is("net.ipv4.tcp_fwmark_accept", "1"),
        "before its first connection"
    );
    pod.netns.sysctl_set("net.ipv4.tcp_timestamps", "0").unwrap();
    let check = || scene.runtime.check(&sandbox(&pod), &result).unwrap();
    check();
    eventually(PATIENCE, || is(REUSE, "1").then_some(())).unwrap();
    let is_told = || {
        let status = scene.mesh.agent.run("status", &["pod"]).unwrap();
        let status = String::from_utf8(status.stdout).unwrap();
        status.contains("net.ipv4.tcp_timestamps=0").then_some(())
    };
    eventually(PATIENCE, is_told).unwrap();
    check();
    scene.mesh.relabel("pod", false).unwrap();
    eventually(PATIENCE, || is(REUSE, "2").then_some(())).unwrap();
}

#[test]
fn a_pod_that_the_agent_has_not_heard_of_is_waited_for() {
    let mut scene = Scene::new("cni-lag");
    let pod = scene.pod("late");
    let (runtime, sandbox) = (scene.runtime.clone(), sandbox(&pod));
    let added = thread::spawn(move || runtime.add(&sandbox));
    scene.mesh.add([awaited("late")]).unwrap();
    added.join().unwrap().unwrap();
    assert!(was_redirected(&scene.first_connection(&pod).unwrap()));
    // Nobody ever tells of this one.
    let stranger = scene.pod("stranger");
    let refused = scene.runtime.add(&self::sandbox(&stranger)).unwrap_err();
    assert_eq!(refused.code(), Some(11), "{refused}");
    assert!(
        refused
            .to_string()
            .contains("has not heard of pod default/stranger"),
        "{refused}"
    );
}

#[test]
fn without_ztunnel_a_pod_does_not_start_and_nothing_of_it_is_in_clear() {
    let mut scene = Scene::new("cni-no-proxy");
    scene.mesh.proxy.kill();
    scene.mesh.add([awaited("early")]).unwrap();
    let pod = scene.pod("early");
    let (runtime, sandbox) = (scene.runtime.clone(), sandbox(&pod));
    // The runtime takes the sandbox down after a refusal, so its connections are tried meanwhile.
    let added = thread::spawn(move || runtime.add(&sandbox));
    eventually(PATIENCE, || scene.is_capturing(&pod).then_some(())).unwrap();
    let to = scene.server.address();
    // Shorter than the agent's patience.
    let spec = ClientSpec::to(to).deadline(Duration::from_secs(2));
    let seen = Client::exchange(&pod.netns, &spec);
    assert!(seen.is_err(), "there is nobody who could take it: {seen:?}");
    let refused = added.join().unwrap().unwrap_err();
    assert_eq!(refused.code(), Some(11), "{refused}");
    assert!(refused.to_string().contains("waits for a ztunnel"), "{refused}");
}

#[test]
fn without_the_agent_pods_of_the_mesh_wait_and_others_start() {
    let mut scene = Scene::new("cni-away");
    let lines = [
        awaited("one"),
        awaited("two").in_namespace("shop"),
        PodLine::awaited("plain", &uid("plain")).in_namespace("elsewhere"),
    ];
    scene.mesh.add(lines).unwrap();
    let (one, plain) = (scene.pod("one"), scene.pod("plain"));
    scene.runtime.add(&sandbox(&one)).unwrap();
    let word = scene.scratch.path("last-word.json");
    let knows = || fs::read_to_string(&word).is_ok_and(|word| word.contains("\"elsewhere\""));
    eventually(PATIENCE, || knows().then_some(())).unwrap();

    scene.mesh.agent.kill();
    let two = scene.pod("two");
    let of = |pod, namespace: &str| Sandbox {
        namespace: namespace.to_owned(),
        ..sandbox(pod)
    };
    let refused = scene.runtime.add(&of(&two, "shop")).unwrap_err();
    assert_eq!(refused.code(), Some(11), "{refused}");
    assert!(
        refused.to_string().contains("waits for the weir agent"),
        "{refused}"
    );
    let unheard = scene.runtime.add(&of(&two, "new")).unwrap_err();
    assert_eq!(unheard.code(), Some(11), "{unheard}");
    scene.runtime.add(&of(&plain, "elsewhere")).unwrap();
    assert!(!was_redirected(&scene.first_connection(&plain).unwrap()));
    assert!(
        was_redirected(&scene.first_connection(&one).unwrap()),
        "what is captured stays so"
    );

    scene.mesh.agent.restart().unwrap();
    scene.wait_for_socket();
    scene.runtime.add(&of(&two, "shop")).unwrap();
    assert!(was_redirected(&scene.first_connection(&two).unwrap()));
}

/// A pod's own label may put it into the mesh, and nobody knows of that while there is no agent.
#[test]
fn where_nobody_is_to_start_without_the_agent_an_earlier_word_counts_no_more() {
    let mut scene = Scene::new("cni-strict");
    let plain = PodLine::awaited("plain", &uid("plain")).in_namespace("elsewhere");
    scene.mesh.add([plain]).unwrap();
    let word = scene.scratch.path("last-word.json");
    let names = || fs::read_to_string(&word).is_ok_and(|word| word.contains("\"elsewhere\""));
    eventually(PATIENCE, || names().then_some(())).unwrap();
    scene.mesh.agent.add_flag("--start-without-agent=false");
    scene.mesh.agent.restart().unwrap();
    eventually(PATIENCE, || (!names()).then_some(())).unwrap();

    let pod = scene.pod("plain");
    let plain = Sandbox {
        namespace: "elsewhere".to_owned(),
        ..sandbox(&pod)
    };
    scene.mesh.agent.kill();
    let refused = scene.runtime.add(&plain).unwrap_err();
    assert_eq!(refused.code(), Some(11), "{refused}");
    scene.mesh.agent.restart().unwrap();
    scene.wait_for_socket();
    scene.runtime.add(&plain).unwrap();
}

#[test]
fn what_makes_no_sense_is_refused_and_hurts_nobody() {
    let mut scene = Scene::new("cni-nonsense");
    let names = ["host", "file", "good"];
    scene.mesh.add(names.map(awaited)).unwrap();
    let pod = scene.pod("good");
    let host = Sandbox {
        netns: scene.mesh.world.node.netns.path(),
        pod: "host".to_owned(),
        uid: uid("host"),
        ..sandbox(&pod)
    };
    let file = Sandbox {
        netns: "/etc/passwd".into(),
        pod: "file".to_owned(),
        uid: uid("file"),
        ..sandbox(&pod)
    };
    for (sandbox, why) in [(host, "the node's own"), (file, "is not a network namespace")] {
        let refused = scene.runtime.add(&sandbox).unwrap_err();
        assert_eq!(refused.code(), Some(100), "{refused}");
        assert!(refused.to_string().contains(why), "{refused}");
    }
    for question in [
        &b""[..],
        b"\n",
        b"nonsense\n",
        b"\xff\xfe\x00\n",
        b"{\"version\":1}\n",
        b"{\"version\":7,\"command\":{\"gc\":{\"network\":\"n\",\"sandboxes\":[]}}}\n",
        b"{\"version\":1,\"command\":{\"add\":{\"namespace\":\"../x\",\"name\":\"A\",\"sandbox\":\"s\",\"interface\":\"e\",\"network\":\"n\"}}}\n",
        b"{\"version\":1,\"command\":{\"add\":{\"namespace\":\"a\",\"name\":\"a\",\"sandbox\":\"s\",\"interface\":\"e\",\"network\":\"n\"}}}\n",
    ] {
        let mut stream = UnixStream::connect(scene.socket()).unwrap();
        stream.write_all(question).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        assert!(answer.contains("\"refused\""), "{:?}: {answer}", String::from_utf8_lossy(question));
    }
    // Somebody who never ends is in nobody's way, and is answered when he does.
    let mut hanging = UnixStream::connect(scene.socket()).unwrap();
    scene.runtime.add(&sandbox(&pod)).unwrap();
    assert!(was_redirected(&scene.first_connection(&pod).unwrap()));
    hanging.write_all(b"nonsense\n").unwrap();
    let mut answer = String::new();
    BufReader::new(hanging).read_line(&mut answer).unwrap();
    assert!(answer.contains("\"refused\""), "{answer}");
}
