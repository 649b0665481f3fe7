//! A real ztunnel without a control plane: its environment and its file of workloads.

use std::path::Path;
use std::process::Command;

use serde::Serialize;

use super::scratch::Scratch;
use super::spec::{Contract, Dns, Member, ProxySpec};

const NODE: &str = "node1";
const OTHER_NODE: &str = "node2";

/// The file that ztunnel takes for the control plane's word; JSON is YAML too.
#[derive(Serialize)]
pub(super) struct Local<'a> {
    workloads: Vec<Workload<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Workload<'a> {
    uid: String,
    name: &'a str,
    namespace: &'a str,
    service_account: &'a str,
    trust_domain: &'static str,
    workload_ips: Vec<String>,
    protocol: &'static str,
    node: &'static str,
    network: &'static str,
    services: NoServices,
}

/// The field is required, empty or not.
#[derive(Serialize)]
struct NoServices {}

pub(super) fn local(members: &[Member]) -> Local<'_> {
    Local {
        workloads: members.iter().map(workload).collect(),
    }
}

fn workload(member: &Member) -> Workload<'_> {
    let Member {
        name,
        namespace,
        service_account,
        addresses,
        enrolled,
        local,
    } = member;
    Workload {
        uid: format!("cluster1//v1/Pod/{namespace}/{name}"),
        name,
        namespace,
        service_account,
        trust_domain: "cluster.local",
        workload_ips: addresses.iter().map(ToString::to_string).collect(),
        protocol: if *enrolled { "HBONE" } else { "TCP" },
        node: if *local { NODE } else { OTHER_NODE },
        network: "",
        services: NoServices {},
    }
}

/// The command that starts it.
pub(super) fn command(program: &Path, spec: &ProxySpec, scratch: &Scratch) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LOCAL_XDS_PATH", scratch.mesh());
    command.envs([
        ("FAKE_CA", "true"),
        ("XDS_ADDRESS", ""),
        ("NODE_NAME", NODE),
        ("NETWORK", ""),
    ]);
    // Without access logs nothing is written per connection.
    command.env("RUST_LOG", if spec.record { "info" } else { "info,access=off" });
    match &spec.contract {
        Contract::InPod { zds } => command.env("INPOD_UDS", zds),
        Contract::Node { address, .. } => {
            command.envs([("INPOD_ENABLED", "false"), ("INSTANCE_IP", &address.to_string())])
        }
    };
    if spec.dns == Dns::Off {
        command.env("PROXY_CONFIG", r#"proxyMetadata: {DNS_CAPTURE: "false"}"#);
    }
    if !spec.original_source {
        command.env("ENABLE_ORIG_SRC", "false");
    }
    if let Some(threads) = spec.threads {
        command.env("ZTUNNEL_WORKER_THREADS", threads.to_string());
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_every_field_that_ztunnel_demands() {
        let member = Member::remote("b", ["10.0.0.2".parse().unwrap()]).plain();
        let expected = serde_json::json!({"workloads": [{
            "uid": "cluster1//v1/Pod/default/b", "name": "b", "namespace": "default",
            "serviceAccount": "default", "trustDomain": "cluster.local", "workloadIps": ["10.0.0.2"],
            "protocol": "TCP", "node": "node2", "network": "", "services": {},
        }]});
        assert_eq!(serde_json::to_value(local(&[member])).unwrap(), expected);
    }
}
