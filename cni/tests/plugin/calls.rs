//! What the plugin answers, and what it asks.

use std::collections::BTreeSet;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use super::support::{Call, PREVIOUS, Scratch, agent, error, run, stammering_agent};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
use serde_json::{Value, json};
use weir_cni::last_word::LastWord;
use weir_cni::protocol::{Command, Outcome};
use weir_cni::version;

fn why() -> String {
    "the reason".to_owned()
}

#[test]
fn a_pod_starts_when_the_agent_says_so() {
    for outcome in [Outcome::Enrolled, Outcome::Outside { why: why() }] {
        let scratch = Scratch::new();
        let questions = agent(&scratch.path("cni.sock"), outcome);
        let output = Call::new(&scratch, "ADD").run();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), PREVIOUS);
        let Command::Add(pod) = questions.recv().unwrap().command else {
            panic!("something else was asked");
        };
        assert_eq!((pod.namespace.as_str(), pod.name.as_str()), ("shop", "web-0"));
        assert_eq!((pod.uid.as_deref(), pod.sandbox.as_str()), (Some("u1"), "c1"));
    }
}

/// Whatever it looks like: addresses have a version in those before 1.0.0, interfaces more than a name in the latest.
#[test]
fn in_each_version_the_result_of_the_plugin_before_is_handed_on_as_it_is() {
    for spoken in version::SUPPORTED {
        let scratch = Scratch::new();
        let _questions = agent(&scratch.path("cni.sock"), Outcome::Enrolled);
        let address = r#"{"version": "4", "interface": 0, "address": "10.1.2.3/24", "gateway": "10.1.2.1"}"#;
        let interface = r#"{"name": "eth0", "mtu": 1450, "sandbox": "/var/run/netns/a"}"#;
        let previous = format!(
            r#"{{ "cniVersion": "{spoken}", "interfaces": [{interface}], "ips": [{address}],  "dns": {{}}, "new": null }}"#
        );
        let mut call = Call::new(&scratch, "ADD").with_previous(previous.clone());
        call.config["cniVersion"] = json!(spoken);
        let output = call.run();
        assert!(output.status.success(), "{spoken}: {output:?}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), previous);
    }
}

#[test]
fn a_pod_does_not_start_when_the_agent_says_no() {
    for (outcome, code) in [
        (Outcome::Later { why: why() }, 11),
        (Outcome::Refused { why: why() }, 100),
        (Outcome::NotCaptured { why: why() }, 102),
    ] {
        let scratch = Scratch::new();
        let _questions = agent(&scratch.path("cni.sock"), outcome);
        let object = error(&Call::new(&scratch, "ADD").run());
        assert_eq!(object["code"], code);
        assert!(object["msg"].as_str().unwrap().contains("shop/web-0"), "{object}");
        assert_eq!(object["details"], "the reason");
        assert_eq!(object["cniVersion"], "1.0.0");
    }
}

#[test]
fn a_long_reason_is_handed_on_whole() {
    let scratch = Scratch::new();
    let why = "x".repeat(100_000);
    let _questions = agent(&scratch.path("cni.sock"), Outcome::Refused { why: why.clone() });
    let object = error(&Call::new(&scratch, "ADD").run());
    assert_eq!(object["details"], why);
}

#[test]
fn an_agent_with_a_full_backlog_is_waited_for_in_vain_no_longer_than_for_an_answer() {
    let scratch = Scratch::new();
    let path = scratch.path("cni.sock");
    let busy = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&busy, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&busy, 0).unwrap();
    let _waits = UnixStream::connect(&path).unwrap();
    let begun = Instant::now();
    let object = error(&Call::new(&scratch, "ADD").run());
    assert_eq!(object["code"], 11, "{object}");
    assert!(
        object["details"].as_str().unwrap().contains("in time"),
        "{object}"
    );
    assert!(begun.elapsed() >= Duration::from_millis(900), "it was waited for");
}

#[test]
fn without_the_agent_only_those_start_that_it_has_nothing_to_do_with() {
    let scratch = Scratch::new();
    let waits = |namespace, pod| {
        let output = Call::new(&scratch, "ADD").of(namespace, pod).run();
        !output.status.success() && error(&output)["code"] == 11
    };
    assert!(waits("shop", "web-0"), "nobody knows");
    assert!(!waits("kube-system", "coredns"));
    assert!(!waits("istio-system", "ztunnel-abc"));

    let outside = BTreeSet::from(["plain".to_owned()]);
    let word = scratch.path("last-word.json");
    LastWord::new(outside).unwrap().write(&word).unwrap();
    assert!(!waits("plain", "web-0"));
    assert!(waits("shop", "web-0"));

    let mut old: Value = serde_json::from_slice(&std::fs::read(&word).unwrap()).unwrap();
    old["boot"] = json!("an earlier one");
    std::fs::write(&word, old.to_string()).unwrap();
    assert!(
        waits("plain", "web-0"),
        "what was said before the last boot does not count"
    );
    std::fs::write(&word, "{").unwrap();
    assert!(waits("plain", "web-0"));
    // What a killed agent leaves behind.
    drop(UnixListener::bind(scratch.path("cni.sock")).unwrap());
    assert!(waits("shop", "web-0"));
}

#[test]
fn an_agent_that_comes_back_is_waited_for() {
    let scratch = Scratch::new();
    let mut call = Call::new(&scratch, "ADD");
    call.config["timeoutSeconds"] = json!(60);
    let (output, questions) = std::thread::scope(|scope| {
        let output = scope.spawn(|| call.run());
        // However early or late it comes, within the plugin's patience it is found.
        let questions = agent(&scratch.path("cni.sock"), Outcome::Enrolled);
        (output.join().unwrap(), questions)
    });
    assert!(output.status.success(), "{output:?}");
    assert!(questions.recv().is_ok());
}

#[test]
fn an_agent_that_hangs_is_not_waited_for_for_ever() {
    let scratch = Scratch::new();
    let listener = UnixListener::bind(scratch.path("cni.sock")).unwrap();
    let begun = Instant::now();
    let object = error(&Call::new(&scratch, "ADD").run());
    assert_eq!(object["code"], 11);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    drop(listener);
}

#[test]
fn nonsense_from_the_agent_is_an_error() {
    for bytes in [
        &b"{}\n"[..],
        b"\n",
        b"nonsense\n",
        b"\xff\xfe\n",
        b"{\"version\":1,\"outcome\":\"perhaps\"}\n",
        b"{\"version\":2,\"outcome\":\"enrolled\"}\n",
    ] {
        let scratch = Scratch::new();
        stammering_agent(&scratch.path("cni.sock"), bytes);
        assert_eq!(error(&Call::new(&scratch, "ADD").run())["code"], 101, "{bytes:?}");
    }
    let scratch = Scratch::new();
    stammering_agent(&scratch.path("cni.sock"), b"{\"version\":1,");
    assert_eq!(error(&Call::new(&scratch, "ADD").run())["code"], 11, "it ended");
}

#[test]
fn a_pod_ends_whether_or_not_there_is_an_agent() {
    let scratch = Scratch::new();
    let output = Call::new(&scratch, "DEL").without_previous().run();
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let questions = agent(&scratch.path("cni.sock"), Outcome::Refused { why: why() });
    assert!(Call::new(&scratch, "DEL").run().status.success());
    assert!(matches!(questions.recv().unwrap().command, Command::Del(_)));
}

#[test]
fn a_check_asks_and_garbage_is_listed() {
    let scratch = Scratch::new();
    assert!(
        Call::new(&scratch, "CHECK").run().status.success(),
        "captured pods need no agent"
    );
    let questions = agent(&scratch.path("cni.sock"), Outcome::NotCaptured { why: why() });
    assert_eq!(error(&Call::new(&scratch, "CHECK").run())["code"], 102);
    assert!(matches!(questions.recv().unwrap().command, Command::Check(_)));
    assert_eq!(
        error(&Call::new(&scratch, "CHECK").without_previous().run())["code"],
        7
    );

    let mut call = Call::new(&scratch, "GC").without_previous();
    call.config["cniVersion"] = json!("1.1.0");
    call.config["cni.dev/valid-attachments"] = json!([{"containerID": "c1", "ifname": "eth0"}]);
    assert!(call.run().status.success());
    let Command::Gc { network, sandboxes } = questions.recv().unwrap().command else {
        panic!("something else was asked");
    };
    assert_eq!((network.as_str(), &*sandboxes), ("test", &["c1".to_owned()][..]));
}

/// Whoever took that for an empty list would take every pod out of the mesh.
#[test]
fn a_runtime_that_lists_no_sandboxes_has_none_let_go() {
    let scratch = Scratch::new();
    let questions = agent(&scratch.path("cni.sock"), Outcome::Done);
    let mut call = Call::new(&scratch, "GC").without_previous();
    call.config["cniVersion"] = json!("1.1.0");
    let output = call.run();
    assert!(output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("GC without cni.dev/valid-attachments"), "{told}");
    call.config["cni.dev/valid-attachments"] = Value::Null;
    assert!(call.run().status.success());
    // The name that the specification had for it at first; libcni sends both.
    for key in ["cni.dev/attachments", "cni.dev/valid-attachments"] {
        call.config[key] = json!([{"containerID": "c1", "ifname": "eth0"}]);
        assert!(call.run().status.success());
        let Command::Gc { sandboxes, .. } = questions.recv().unwrap().command else {
            panic!("something else was asked");
        };
        assert_eq!(sandboxes, ["c1"], "{key}");
    }
    call.config["cni.dev/valid-attachments"] = json!([]);
    assert!(call.run().status.success());
    let asked = questions.recv().unwrap().command;
    assert!(matches!(asked, Command::Gc { sandboxes, .. } if sandboxes.is_empty()));
}

#[test]
fn a_runtime_learns_versions_and_status_without_an_agent() {
    let scratch = Scratch::new();
    for spoken in version::SUPPORTED {
        let input = json!({"cniVersion": spoken}).to_string();
        let output = run(&[("CNI_COMMAND", "VERSION")], input.as_bytes());
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            answer,
            json!({"cniVersion": spoken, "supportedVersions": version::SUPPORTED})
        );
        let mut call = Call::new(&scratch, "STATUS").without_previous();
        call.config["cniVersion"] = json!(spoken);
        let output = call.run();
        assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    }
}
