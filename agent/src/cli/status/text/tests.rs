use weir_agent::api::VERSION;
use weir_agent::api::status::{
    AgentStatus, Interface, InterfaceWiring, KernelState, Listeners, Pinned, PinnedPod, PodDetail,
    PodSummary, Problem, ReasonCount, Served, Status, Verdicts, Verified,
};
use weir_netdetect::choose::MacvlanOutbound;

use super::{detail, node, pinned};
use crate::cli::output::Style;

const NOW: &str = "2026-08-01T10:00:00.000Z";

fn pod(name: &str, state: &str, why: &str) -> PodSummary {
    PodSummary {
        uid: format!("uid-{name}"),
        namespace: "default".to_owned(),
        name: name.to_owned(),
        state: state.to_owned(),
        since: "2026-08-01T09:00:00.000Z".parse().unwrap(),
        path: (state == "enrolled").then(|| "socket".to_owned()),
        interface: (state == "enrolled").then(|| "eth0".to_owned()),
        why: why.to_owned(),
        netns: Some(17),
        addresses: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        connections: Verdicts {
            redirected: 5,
            passed: 4,
            refused: 3,
            failed: 2,
        },
        warnings: vec!["odd annotation".to_owned()],
        not_captured: vec!["connections to net1".to_owned()],
        attempts: 0,
        verified: Some(Verified {
            at: "2026-08-01T09:59:48.000Z".parse().unwrap(),
            problems: vec![Problem {
                check: "routing".to_owned(),
                detail: "a rule is gone".to_owned(),
            }],
            mended: Vec::new(),
        }),
    }
}

fn agent() -> AgentStatus {
    AgentStatus {
        version: "1.2.3".to_owned(),
        layout: 1,
        process: 42,
        started: "2026-07-31T10:00:00.000Z".parse().unwrap(),
        other_layouts: Vec::new(),
        missing: Vec::new(),
        pin_root: "/sys/fs/bpf/weir".into(),
        hybrid_cgroups: false,
        source_error: Some("no file".to_owned()),
        ztunnels: Vec::new(),
        node_ztunnels: Vec::new(),
        macvlan_outbound: MacvlanOutbound::Socket,
        wiring: None,
    }
}

fn row<'a>(text: &'a str, begins: &str) -> Vec<&'a str> {
    let line = text.lines().find(|line| line.starts_with(begins));
    line.unwrap_or_else(|| panic!("no line {begins:?} in\n{text}"))
        .split("  ")
        .map(str::trim)
        .filter(|cell| !cell.is_empty())
        .collect()
}

#[test]
fn the_table_has_a_line_per_pod() {
    let status = Status {
        api_version: VERSION,
        agent: agent(),
        pods: vec![
            pod("web", "enrolled", "captured"),
            pod("db", "left", "not labelled"),
        ],
    };
    let text = node(&status, NOW.parse().unwrap(), Style::PLAIN);
    assert!(
        text.starts_with("agent 1.2.3 (process 42), started 24h ago: ready\n"),
        "{text}"
    );
    assert!(text.contains("source of pods: no file\n"), "{text}");
    assert!(text.contains("no ztunnel is connected\n"), "{text}");
    assert_eq!(
        row(&text, "default/web"),
        [
            "default/web",
            "enrolled",
            "socket",
            "5",
            "4",
            "3",
            "2",
            "1 problem, 12s ago",
            "10.0.0.1,fd00::1",
            "-"
        ]
    );
    assert_eq!(row(&text, "default/db").last(), Some(&"not labelled"));
}

#[test]
fn the_detail_tells_reasons_and_problems() {
    let detail_of_pod = PodDetail {
        api_version: VERSION,
        pod: pod("web", "enrolled", "captured"),
        reasons: vec![ReasonCount {
            reason: "outbound".to_owned(),
            verdict: "redirected".to_owned(),
            count: 5,
            help: "To ztunnel.".to_owned(),
        }],
        kernel: Some(KernelState {
            flags: vec!["capturing".to_owned()],
            lookup_attached: false,
        }),
        listeners: vec![Listeners {
            port: 15001,
            registered: 2,
        }],
        interfaces: vec![Interface {
            index: 2,
            name: "eth0".to_owned(),
            up: false,
        }],
        wiring: vec![InterfaceWiring {
            interface: "eth0".to_owned(),
            kind: "veth".to_owned(),
            far_end: Some("cali1".to_owned()),
            plugin: "Calico".to_owned(),
            confidence: "likely".to_owned(),
        }],
        netns_path: None,
        ztunnel: Some(Served {
            acked: false,
            nack: Some("too busy".to_owned()),
        }),
    };
    let text = detail(&detail_of_pod, NOW.parse().unwrap(), Style::PLAIN);
    assert_eq!(
        row(&text, "outbound"),
        ["outbound", "redirected", "5", "To ztunnel."]
    );
    assert_eq!(row(&text, "interfaces"), ["interfaces", "2: eth0 (down)"]);
    let wiring = "eth0: veth to cali1, made by Calico (likely)";
    assert_eq!(row(&text, "wiring"), ["wiring", wiring]);
    assert_eq!(row(&text, "listeners"), ["listeners", "15001: 2"]);
    assert_eq!(row(&text, "netns cookie"), ["netns cookie", "17"]);
    assert_eq!(
        row(&text, "ztunnel"),
        ["ztunnel", "does not serve the pod: too busy"]
    );
    assert!(row(&text, "kernel flags")[1].contains("not attached"), "{text}");
    assert!(text.contains("problem: routing: a rule is gone\n"), "{text}");
    assert!(text.contains("warning: odd annotation\n"), "{text}");
    // The flattened summary reads back from JSON.
    let json = serde_json::to_string(&detail_of_pod).unwrap();
    assert_eq!(serde_json::from_str::<PodDetail>(&json).unwrap(), detail_of_pod);
}

#[test]
fn without_an_agent_pods_are_cookies() {
    let told = Pinned {
        api_version: VERSION,
        agent: None,
        pinned: vec![PinnedPod {
            netns: 17,
            addresses: vec!["10.0.0.1".parse().unwrap()],
            kernel: KernelState {
                flags: vec!["capturing".to_owned(), "dns".to_owned()],
                lookup_attached: true,
            },
            connections: Verdicts::default(),
            reasons: Vec::new(),
        }],
    };
    let text = pinned(&told, Style::PLAIN);
    assert_eq!(
        row(&text, "17"),
        ["17", "10.0.0.1", "capturing,dns", "attached", "0", "0", "0", "0"]
    );
}

#[test]
fn a_look_up_is_missed_where_ztunnel_listens_in_the_pod() {
    let state = |flag: &str| KernelState {
        flags: vec![flag.to_owned()],
        lookup_attached: false,
    };
    assert!(state("capturing").lacks_lookup());
    assert!(!state(KernelState::NODE_CONTRACT).lacks_lookup());
}
