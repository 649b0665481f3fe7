use super::{Config, Exempt, version_of};
use crate::failure::Code;

fn code_of(text: &str) -> Code {
    Config::read(text.as_bytes()).unwrap_err().code
}

#[test]
fn what_other_plugins_did_is_kept_to_the_byte() {
    let previous = r#"{ "ips":[ {"address":"10.0.0.2/24", "x":1.50e3} ],"cniVersion":"1.0.0", "zz":null }"#;
    let text = format!(
        r#"{{"cniVersion":"1.0.0","name":"n","type":"weir-cni","prevResult":{previous},"other":[1]}}"#
    );
    let config = Config::read(text.as_bytes()).unwrap();
    assert_eq!(config.previous().unwrap(), previous);
    assert_eq!(config.version, "1.0.0");
    assert_eq!(config.socket.to_str(), Some("/var/run/weir/cni.sock"));
}

#[test]
fn a_chain_has_a_plugin_before_this_one() {
    for previous in [
        "",
        r#","prevResult":null"#,
        r#","prevResult":[]"#,
        r#","prevResult":"{}""#,
    ] {
        let text = format!(r#"{{"cniVersion":"1.1.0","name":"n"{previous}}}"#);
        let config = Config::read(text.as_bytes()).unwrap();
        assert_eq!(config.previous().unwrap_err().code, Code::Config, "{previous}");
    }
}

#[test]
fn each_mistake_has_its_code() {
    for (text, code) in [
        ("", Code::Decode),
        ("{", Code::Decode),
        ("nonsense", Code::Decode),
        (r#"{"cniVersion":"1.0.0","name":"n"} x"#, Code::Decode),
        ("[]", Code::Config),
        (r#"{"cniVersion":1,"name":"n"}"#, Code::Config),
        (r#"{"cniVersion":"1.0.0"}"#, Code::Config),
        (r#"{"cniVersion":"1.0.0","name":""}"#, Code::Config),
        (r#"{"cniVersion":"1.0.0","name":"n","name":"n"}"#, Code::Config),
        (
            r#"{"cniVersion":"1.0.0","name":"n","timeoutSeconds":0}"#,
            Code::Config,
        ),
        (
            r#"{"cniVersion":"1.0.0","name":"n","timeoutSeconds":1000}"#,
            Code::Config,
        ),
        (
            r#"{"cniVersion":"1.0.0","name":"n","exempt":{"pods":["ztunnel-"]}}"#,
            Code::Config,
        ),
        (
            r#"{"cniVersion":"1.0.0","name":"n","exempt":{"pod":[]}}"#,
            Code::Config,
        ),
        (
            r#"{"cniVersion":"1.0.0","name":"n","cni.dev/valid-attachments":[{}]}"#,
            Code::Config,
        ),
        (r#"{"name":"n"}"#, Code::IncompatibleVersion),
        (r#"{"cniVersion":"0.2.0","name":"n"}"#, Code::IncompatibleVersion),
        (r#"{"cniVersion":"9.0.0","name":"n"}"#, Code::IncompatibleVersion),
    ] {
        assert_eq!(code_of(text), code, "{text}");
    }
}

#[test]
fn containers_that_there_are_are_listed() {
    let text = r#"{"cniVersion":"1.1.0","name":"n","cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"},{"containerID":"b"}]}"#;
    assert_eq!(
        Config::read(text.as_bytes()).unwrap().sandboxes.unwrap(),
        ["a", "b"]
    );
}

#[test]
fn pods_are_exempt_by_namespace_or_by_the_beginning_of_their_name() {
    let exempt: Exempt =
        serde_json::from_str(r#"{"namespaces":["kube-system"],"pods":["istio-system/ztunnel-"]}"#).unwrap();
    for (namespace, name, is_exempt) in [
        ("kube-system", "coredns", true),
        ("istio-system", "ztunnel-x7k", true),
        ("istio-system", "istiod-1", false),
        ("shop", "ztunnel-x7k", false),
    ] {
        assert_eq!(exempt.covers(namespace, name), is_exempt, "{namespace}/{name}");
    }
}

#[test]
fn the_version_is_found_even_if_nothing_else_is_right() {
    assert_eq!(
        version_of(br#"{"cniVersion":"0.4.0","prevResult":1}"#).as_deref(),
        Some("0.4.0")
    );
    assert_eq!(version_of(b"{}"), None);
}
