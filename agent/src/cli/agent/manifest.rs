//! The manifests in `deploy`, and the chart that they are made from, say nothing that the agent does not understand.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use clap::{CommandFactory as _, Parser as _};
use serde::Deserialize as _;
use serde_json::Value;
use weir_agent::run::config::SourceConfig;

use super::config::resolve;
use super::settings::Settings;
use crate::cli::Cli;

/// What the chart itself decides: it depends on the DaemonSet's mounts, ports and rights, or has a value of its own.
const OF_THE_CHART: &[&str] = &[
    "admin-socket",
    "cgroup",
    "cni-bin-dir",
    "cni-conf-dir",
    "cni-plugin",
    "cni-socket",
    "enablement-selectors",
    "host-netns",
    "http-address",
    "install-cni",
    "interface-hook",
    "kubeconfig",
    "layout",
    "node-name",
    "pin-root",
    "pods-file",
    "source",
    "zds-socket",
];

fn deploy(file: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "deploy", file]
        .iter()
        .collect();
    fs::read_to_string(path).unwrap()
}

fn object(kind: &str) -> Value {
    let text = deploy("all-in-one.yaml");
    let mut documents =
        serde_yaml_ng::Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap());
    documents.find(|document| document["kind"] == kind).unwrap()
}

/// Lines of one text that the other does not have, without those that say nothing to the API server.
fn only_in<'a>(one: &'a str, other: &str) -> Vec<&'a str> {
    let own = one
        .lines()
        .filter(|line| !other.lines().any(|theirs| theirs == *line));
    own.map(str::trim).filter(|line| !line.starts_with('#')).collect()
}

fn pod() -> Value {
    object("DaemonSet")["spec"]["template"]["spec"].take()
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap().iter();
    list.map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Flags of `weir agent`, and the variables that stand for them.
fn flags() -> Vec<(String, String)> {
    let command = Cli::command();
    let agent = command.find_subcommand("agent").unwrap();
    let own = agent
        .get_opts()
        .filter(|option| option.get_long() != Some("config"));
    own.map(|option| {
        let variable = option.get_env().unwrap().to_str().unwrap();
        (option.get_long().unwrap().to_owned(), variable.to_owned())
    })
    .collect()
}

#[test]
fn the_command_line_and_the_environment_are_understood() {
    let pod = pod();
    let container = &pod["containers"][0];
    let line = std::iter::once("weir".to_owned()).chain(texts(&container["args"]));
    Cli::try_parse_from(line).unwrap();
    let variables: BTreeSet<String> = flags().into_iter().map(|(_, variable)| variable).collect();
    for variable in container["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        assert!(variables.contains(name), "{name} of {variables:?}");
    }
}

#[test]
fn old_and_new_kubernetes_get_the_same_but_for_the_way_in_which_apparmor_is_told() {
    let (new, old) = (deploy("all-in-one.yaml"), deploy("all-in-one-before-1.30.yaml"));
    assert_eq!(only_in(&new, &old), ["appArmorProfile:", "type: Unconfined"]);
    assert_eq!(
        only_in(&old, &new),
        ["container.apparmor.security.beta.kubernetes.io/weir: unconfined"]
    );
}

#[test]
fn the_configuration_file_is_understood() {
    let file = object("ConfigMap")["data"]["config.yaml"].take();
    let mut settings: Settings = serde_yaml_ng::from_str(file.as_str().unwrap()).unwrap();
    settings.node_name = Some("node".parse().unwrap());
    let config = resolve(settings, None).unwrap();
    assert!(matches!(config.source, SourceConfig::Kubernetes(_)));
    assert_eq!(config.rules.system_namespace, "istio-system");
    let port = config.http_address.unwrap().port();
    assert_eq!(pod()["containers"][0]["ports"][0]["containerPort"], port);
}

#[test]
fn every_setting_is_a_value_of_the_chart_or_the_charts_own() {
    let schema: Value = serde_json::from_str(&deploy("helm/weir/values.schema.json")).unwrap();
    let values = schema["properties"]["config"]["properties"].as_object().unwrap();
    let of_chart = OF_THE_CHART.iter().map(|name| (*name).to_owned());
    let known: BTreeSet<String> = values.keys().cloned().chain(of_chart).collect();
    let flags: BTreeSet<String> = flags().into_iter().map(|(flag, _)| flag).collect();
    let forgotten: Vec<_> = flags.difference(&known).collect();
    assert!(forgotten.is_empty(), "not in the schema: {forgotten:?}");
    let invented: Vec<_> = values.keys().filter(|key| !flags.contains(*key)).collect();
    assert!(invented.is_empty(), "no flags of the agent: {invented:?}");
}

#[test]
fn the_choices_of_the_schema_are_those_of_the_agent() {
    let schema: Value = serde_json::from_str(&deploy("helm/weir/values.schema.json")).unwrap();
    let command = Cli::command();
    let agent = command.find_subcommand("agent").unwrap();
    let mut compared = Vec::new();
    for (name, value) in schema["properties"]["config"]["properties"].as_object().unwrap() {
        let Some(choices) = value.get("enum") else {
            continue;
        };
        let flag = agent.get_opts().find(|option| option.get_long() == Some(name));
        let known = flag.unwrap().get_possible_values();
        let known: BTreeSet<&str> = known.iter().map(clap::builder::PossibleValue::get_name).collect();
        assert_eq!(
            texts(choices).iter().map(String::as_str).collect::<BTreeSet<_>>(),
            known,
            "{name}"
        );
        compared.push(name.as_str());
    }
    assert!(compared.contains(&"contract"), "{compared:?}");
}

fn capabilities_page() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/capabilities.md");
    fs::read_to_string(path).unwrap()
}

#[test]
fn the_container_has_no_more_rights_than_are_written_down() {
    let pod = pod();
    let context = &pod["containers"][0]["securityContext"];
    assert_eq!(context["privileged"], false);
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["hostNetwork"], Value::Null);
    let page = capabilities_page();
    for capability in texts(&context["capabilities"]["add"]) {
        assert!(page.contains(&format!("\n| `{capability}` |")), "{capability}");
    }
    for volume in pod["volumes"].as_array().unwrap() {
        let Some(path) = volume["hostPath"]["path"].as_str() else {
            continue;
        };
        let is_cni = volume["name"].as_str().unwrap().starts_with("cni-");
        assert!(is_cni || page.contains(&format!("\n| `{path}`")), "{path}");
    }
}

/// Resources of the role, each with its verbs.
fn role() -> Vec<(String, Vec<String>)> {
    let mut allowed = Vec::new();
    for rule in object("ClusterRole")["rules"].as_array().unwrap() {
        let group = rule["apiGroups"][0].as_str().unwrap();
        for resource in texts(&rule["resources"]) {
            let resource = if group.is_empty() {
                resource
            } else {
                format!("{resource}.{group}")
            };
            allowed.push((resource, texts(&rule["verbs"])));
        }
    }
    allowed
}

#[test]
fn the_role_is_written_down_with_its_reasons() {
    let page = capabilities_page();
    let (_, section) = page.split_once("\n## Kubernetes\n").unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let written: BTreeSet<String> = rows
        .map(|row| row.split(" | ").take(2).collect::<Vec<_>>().join(" | "))
        .collect();
    let allowed = role()
        .into_iter()
        .map(|(resource, verbs)| format!("| `{resource}` | {}", verbs.join(", ")));
    assert_eq!(allowed.collect::<BTreeSet<_>>(), written);
}

#[test]
fn the_role_allows_what_the_agent_asks_for_and_nothing_else() {
    let allowed: BTreeSet<String> = role()
        .into_iter()
        .flat_map(|(resource, verbs)| verbs.into_iter().map(move |verb| format!("{verb} {resource}")))
        .collect();
    let wanted = [
        "create events.events.k8s.io",
        "get namespaces",
        "get pods",
        "list namespaces",
        "list pods",
        "patch pods/status",
        "watch namespaces",
        "watch pods",
    ];
    assert_eq!(allowed, wanted.map(str::to_owned).into());
}

#[test]
fn pods_of_the_agent_start_without_an_agent() {
    let settings: Settings =
        serde_yaml_ng::from_str(object("ConfigMap")["data"]["config.yaml"].as_str().unwrap()).unwrap();
    let namespace = object("DaemonSet")["metadata"]["namespace"]
        .as_str()
        .unwrap()
        .to_owned();
    let exempt = settings.cni_exempt.unwrap();
    assert!(exempt.contains(&format!("{namespace}/weir-")), "{exempt:?}");
    assert!(exempt.contains(&"istio-system/ztunnel-".to_owned()), "{exempt:?}");
}
