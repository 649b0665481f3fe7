//! What the documentation names is there: flags and commands of `weir`, values of the chart, metrics and maps, alerts,
//! files.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use weir_agent::metrics::table::{ALL, Kind};
use weir_common::names::map;

/// Flags of other programs, and of `./x`, on the same pages. What is neither here nor `weir`'s is a mistake.
const OTHERS: &[&str] = &[
    "all",
    "all-namespaces",
    "as",
    "bin",
    "build",
    "cascade",
    "chown",
    "create-namespace",
    "delete-emptydir-data",
    "file",
    "from",
    "ignore-daemonsets",
    "image",
    "keep",
    "list",
    "load",
    "namespace",
    "no-fail-fast",
    "nocapture",
    "only",
    "output",
    "package",
    "platform",
    "profile",
    "push",
    "quick",
    "register-with-taints",
    "release",
    "report",
    "reuse-values",
    "selector",
    "set",
    "static",
    "tag",
    "target",
    "test",
    "timeout",
    "values",
    "version",
    "wait",
    "ztunnel",
];
/// Values of other charts that look like ours, Istio's taint, and what an operator makes up.
const OTHER_VALUES: &[&str] = &["cni.exclusive", "cni.istio.io", "nodeSelector.weir"];
/// Programs by their names in the kernel.
const PROGRAMS: &[&str] = &["weir_settle4", "weir_settle6"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Each page's path and text.
fn pages() -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    paths.extend(["README.md", "ARCHITECTURE.md"].map(|name| root().join(name)));
    let page = |path: PathBuf| (path.display().to_string(), fs::read_to_string(&path).unwrap());
    paths.into_iter().map(page).collect()
}

/// What stands as code: between backticks, and in blocks.
fn code(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Words of these characters that begin with `prefix`, without it.
fn words<'a>(text: &'a str, prefix: &str, is_part: impl Fn(char) -> bool + Copy) -> Vec<&'a str> {
    let starts = text.match_indices(prefix).filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || "-_./".contains(before))
    });
    let word = |(at, _)| {
        let rest = &text[at + prefix.len()..];
        &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())]
    };
    starts.map(word).filter(|word| !word.is_empty()).collect()
}

fn is_flag_part(c: char) -> bool {
    c.is_ascii_lowercase() || c == '-' || c.is_ascii_digit()
}

fn help(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(arguments)
        .arg("--help")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn subcommands() -> Vec<String> {
    let help = help(&[]);
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let lines = list.lines().take_while(|line| !line.is_empty());
    lines
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .collect()
}

/// Of the command itself and of its subcommands.
fn flags() -> BTreeSet<String> {
    let helps = subcommands().into_iter().map(|subcommand| help(&[&subcommand]));
    let helps: Vec<String> = helps.chain([help(&[])]).collect();
    let flags = helps.iter().flat_map(|help| words(help, "--", is_flag_part));
    flags.map(str::to_owned).collect()
}

/// Asserts that nothing is found wrong on any page.
fn assert_none(found: impl Fn(&str) -> Vec<String>) {
    let faults: Vec<String> = pages()
        .iter()
        .flat_map(|(path, text)| {
            found(text)
                .into_iter()
                .map(move |fault| format!("{path}: {fault}"))
        })
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

fn unknown_flags(text: &str, known: &BTreeSet<String>) -> Vec<String> {
    let named = code(text)
        .into_iter()
        .flat_map(|code| words(code, "--", is_flag_part));
    let is_unknown = |flag: &&str| !known.contains(*flag) && !OTHERS.contains(flag);
    named.filter(is_unknown).map(|flag| format!("--{flag}")).collect()
}

#[test]
fn flags_are_ours_or_known_to_be_of_another_program() {
    let known = flags();
    assert_none(|text| unknown_flags(text, &known));
    assert_eq!(
        unknown_flags("`weir agent --pods-files x`", &known),
        ["--pods-files"]
    );
    assert_eq!(unknown_flags("`weir agent --pods-file x`", &known), [""; 0]);
}

#[test]
fn commands_of_weir_exist() {
    let known = subcommands();
    let unknown = |text: &str| {
        let named = code(text)
            .into_iter()
            .filter_map(|code| code.strip_prefix("weir "));
        let named = named.filter_map(|rest| rest.split_whitespace().next());
        let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase());
        named
            .filter(is_word)
            .filter(|word| !known.iter().any(|known| known == word))
            .map(str::to_owned)
            .collect()
    };
    assert_none(unknown);
    assert_eq!(unknown("`weir states`"), ["states"]);
}

/// Values of the chart, as `a.b=c` or `a.b`; below `config` stand the agent's flags.
fn unknown_values(text: &str, values: &Value, flags: &BTreeSet<String>) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let mut found = Vec::new();
    for (first, below) in values.as_object().unwrap() {
        // What is empty takes whatever it is given.
        if below.as_object().is_none_or(serde_json::Map::is_empty) {
            continue;
        }
        let named = code(text)
            .into_iter()
            .flat_map(|code| words(code, first, is_part));
        for path in named.filter_map(|path| path.strip_prefix('.')) {
            let is_known = if first == "config" {
                flags.contains(path)
            } else {
                below.pointer(&format!("/{}", path.replace('.', "/"))).is_some()
            };
            let name = format!("{first}.{path}");
            if !is_known && !OTHER_VALUES.contains(&name.as_str()) {
                found.push(name);
            }
        }
    }
    found
}

#[test]
fn values_of_the_chart_exist() {
    let path = root().join("deploy/helm/weir/values.yaml");
    let values: Value = serde_yaml_ng::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let flags = flags();
    let install = fs::read_to_string(root().join("docs/install.md")).unwrap();
    assert_eq!(unknown_values(&install, &values, &flags), [""; 0]);
    assert_eq!(
        unknown_values(
            "`monitoring.podMonster.enabled` `config.guards=off`",
            &values,
            &flags
        ),
        ["config.guards", "monitoring.podMonster.enabled"]
    );
}

fn unknown_names(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_metric = |name: &str| {
        ALL.iter().any(|metric| {
            let ends = ["_bucket", "_sum", "_count"].into_iter();
            metric.name == name
                || metric.kind == Kind::Histogram
                    && ends
                        .map(|end| format!("{}{end}", metric.name))
                        .any(|with| with == name)
        })
    };
    let others = [&map::ALL[..], &map::OF_DETOURS, &map::OF_REDIRECT, PROGRAMS].concat();
    let is_known = |name: &String| others.contains(&name.as_str()) || is_metric(name);
    let named = code(text)
        .into_iter()
        .flat_map(|code| words(code, "weir_", is_part));
    let named = named.map(|rest| format!("weir_{rest}"));
    named.filter(|name| !is_known(name)).collect()
}

#[test]
fn metrics_and_maps_exist() {
    assert_none(unknown_names);
    assert_eq!(
        unknown_names("`weir_pod_states`, `weir_pods`"),
        ["weir_pod_states"]
    );
}

#[test]
fn alerts_exist() {
    let alerts = fs::read_to_string(root().join("deploy/helm/weir/files/alerts.yaml")).unwrap();
    let unknown = |text: &str| {
        let named = code(text)
            .into_iter()
            .flat_map(|code| words(code, "Weir", char::is_alphanumeric));
        let named = named.map(|rest| format!("Weir{rest}"));
        named
            .filter(|name| !alerts.contains(&format!("alert: {name}\n")))
            .collect::<Vec<_>>()
    };
    assert_none(unknown);
    assert_eq!(unknown("`WeirPodsLost`"), ["WeirPodsLost"]);
}

#[test]
fn linked_files_exist() {
    let broken = |path: &Path, text: &str| {
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let targets = targets.map(|target| target.split('#').next().unwrap());
        let own = targets.filter(|target| !target.is_empty() && !target.contains("://"));
        let directory = path.parent().unwrap();
        own.filter(|target| !directory.join(target).exists())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    for (path, text) in pages() {
        assert_eq!(broken(Path::new(&path), &text), [""; 0], "{path}");
    }
    assert_eq!(broken(&root().join("README.md"), "[a](docs/b.md)"), ["docs/b.md"]);
}
