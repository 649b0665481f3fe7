use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use weir_agent::run::config::{AgentConfig, GuardMode, ProbeMode, SourceConfig};

use super::{ConfigError, resolve};
use crate::cli::agent::settings::Settings;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    settings: Settings,
}

fn flags(line: &str) -> Settings {
    Line::try_parse_from(std::iter::once("weir").chain(line.split_whitespace()))
        .unwrap()
        .settings
}

fn file(yaml: &str) -> Settings {
    serde_yaml_ng::from_str(yaml).unwrap()
}

fn config(line: &str, yaml: &str) -> Result<AgentConfig, ConfigError> {
    resolve(flags(line).or(file(yaml)), None)
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let config = config(
        "--pods-file a --guard enforce --verify-interval 5s",
        "{guard: off, probes: any-host-process, pods-file: b, dns-capture: false, max-pods: 7}",
    )
    .unwrap();
    assert_eq!(config.source, SourceConfig::File(PathBuf::from("a")));
    assert_eq!(config.guard, GuardMode::Enforce);
    assert_eq!(config.probes, ProbeMode::AnyHostProcess);
    assert_eq!(config.verify_interval, Duration::from_secs(5));
    assert!(!config.dns_capture);
    assert_eq!(config.sizes.pods, 7);
    assert_eq!(config.sizes.rules, 16384);
    assert_eq!(config.http_address.unwrap().to_string(), "[::]:15014");
    assert_eq!(config.host_netns, PathBuf::from("/proc/1/ns/net"));
}

#[test]
fn flags_and_keys_say_the_same() {
    let line = "--source file --node-name n --kubeconfig k --pods-file p --zds-socket z --admin-socket a --cni-socket t --install-cni --cni-conf-dir f --cni-bin-dir b --cni-plugin w --cni-exempt n/a \
                --cni-exempt n/b --start-without-agent=false --take-over --http-address none --pod-metrics --pin-root r \
                --cgroup c --pods-cgroup d --host-netns h --exclude-namespace x --exclude-namespace y \
                --system-namespace s --enablement-selectors e --dns-capture=false --guard off \
                --contract node --ztunnel-netns t --macvlan-outbound socket --fail-open \
                --probes any-host-process --verify-interval 2m --max-pods 1 --max-addresses-per-pod 2 \
                --max-probes 3 --max-connections 4 --max-ztunnels 6 --max-rules 5 --trace-buffer 4096 --remove-on-exit \
                --log-format json --log debug";
    let yaml = "{source: file, node-name: n, kubeconfig: k, pods-file: p, zds-socket: z, admin-socket: a, cni-socket: t, install-cni: true, cni-conf-dir: f, cni-bin-dir: b, cni-plugin: w, cni-exempt: [n/a, n/b], \
                start-without-agent: false, take-over: true, http-address: none, pod-metrics: true, pin-root: r, \
                cgroup: c, pods-cgroup: d, host-netns: h, exclude-namespace: [x, y], \
                system-namespace: s, enablement-selectors: e, dns-capture: false, guard: off, \
                contract: node, ztunnel-netns: t, macvlan-outbound: socket, fail-open: true, \
                probes: any-host-process, verify-interval: 2m, max-pods: 1, max-addresses-per-pod: 2, \
                max-probes: 3, max-connections: 4, max-ztunnels: 6, max-rules: 5, trace-buffer: 4096, remove-on-exit: true, \
                log-format: json, log: debug}";
    assert_eq!(flags(line), file(yaml));
    // What is in neither survives neither way of merging.
    assert_eq!(
        flags(line).or(Settings::default()),
        Settings::default().or(file(yaml))
    );
}

#[test]
fn an_unknown_key_is_named() {
    let error = serde_yaml_ng::from_str::<Settings>("{pods-file: p, pod-file: q}").unwrap_err();
    assert!(error.to_string().contains("`pod-file`"), "{error}");
}

#[test]
fn exclusions_can_be_emptied() {
    let excluded = |line, yaml| {
        let config = config(line, yaml).unwrap();
        config.rules.excluded_namespaces.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(excluded("--pods-file p", "{}"), ["kube-system"]);
    assert_eq!(excluded("--pods-file p --exclude-namespace=", "{}"), [""; 0]);
    assert_eq!(excluded("--pods-file p", "{exclude-namespace: []}"), [""; 0]);
    assert_eq!(
        excluded(
            "--pods-file p --exclude-namespace a,b",
            "{exclude-namespace: [c]}"
        ),
        ["a", "b"]
    );
}

#[test]
fn what_is_wrong_is_named() {
    for (line, word) in [
        ("", "--pods-file"),
        ("--pods-file p --verify-interval 10ms", "verify-interval"),
        ("--pods-file p --max-pods 0", "max-pods"),
        ("--pods-file p --trace-buffer 5000", "trace-buffer"),
    ] {
        let error = config(line, "{}").unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}
