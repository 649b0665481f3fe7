use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use super::Call;
use crate::failure::Code;

const POD: &str =
    "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u1";

fn environment(changes: &[(&str, &str)]) -> BTreeMap<String, OsString> {
    let usual = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_NETNS", "/run/netns/x"),
        ("CNI_ARGS", POD),
    ];
    let all = usual.iter().chain(changes);
    all.map(|(name, value)| ((*name).to_owned(), OsString::from(value)))
        .collect()
}

fn read(changes: &[(&str, &str)]) -> Result<Call, crate::failure::Failure> {
    let environment = environment(changes);
    Call::read(&|name| environment.get(name).cloned())
}

#[test]
fn a_pod_is_read_from_the_arguments() {
    let Call::Add(container) = read(&[]).unwrap() else {
        panic!("not an ADD");
    };
    let pod = container.pod.unwrap();
    assert_eq!((pod.namespace.as_str(), pod.name.as_str()), ("shop", "web-0"));
    assert_eq!(pod.uid.as_deref(), Some("u1"));
    assert_eq!(
        (container.sandbox.as_str(), container.interface.as_str()),
        ("c1", "eth0")
    );
    assert_eq!(container.netns.unwrap().to_str(), Some("/run/netns/x"));
}

#[test]
fn a_container_of_no_pod_is_one() {
    for arguments in ["", "IgnoreUnknown=1", ";;", "K8S_POD_UID=u1"] {
        let Call::Add(container) = read(&[("CNI_ARGS", arguments)]).unwrap() else {
            panic!("not an ADD");
        };
        assert_eq!(container.pod, None, "{arguments:?}");
    }
}

#[test]
fn each_command_needs_what_it_needs() {
    for (changes, is_enough) in [
        (&[("CNI_COMMAND", "DEL"), ("CNI_NETNS", "")][..], true),
        (&[("CNI_COMMAND", "CHECK"), ("CNI_NETNS", "")], false),
        (&[("CNI_COMMAND", "ADD"), ("CNI_NETNS", "")], false),
        (&[("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", "")], false),
        (
            &[("CNI_COMMAND", "GC"), ("CNI_CONTAINERID", ""), ("CNI_IFNAME", "")],
            true,
        ),
        (&[("CNI_COMMAND", "STATUS"), ("CNI_CONTAINERID", "")], true),
        (&[("CNI_COMMAND", "VERSION"), ("CNI_CONTAINERID", "")], true),
    ] {
        assert_eq!(read(changes).is_ok(), is_enough, "{changes:?}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (name, value) in [
        ("CNI_COMMAND", ""),
        ("CNI_COMMAND", "add"),
        ("CNI_CONTAINERID", "../x"),
        ("CNI_CONTAINERID", "-x"),
        ("CNI_IFNAME", "eth0/0"),
        ("CNI_IFNAME", ".."),
        ("CNI_IFNAME", "an-interface-too-long"),
        ("CNI_ARGS", "K8S_POD_NAME"),
        ("CNI_ARGS", "K8S_POD_NAME=a"),
        ("CNI_ARGS", "K8S_POD_NAMESPACE=;K8S_POD_NAME=a"),
        ("CNI_ARGS", "K8S_POD_NAMESPACE=a b;K8S_POD_NAME=a"),
    ] {
        let failure = read(&[(name, value)]).unwrap_err();
        assert_eq!(failure.code, Code::Environment, "{name}={value}");
        assert!(failure.message.contains(name), "{failure:?}");
    }
    let mut environment = environment(&[]);
    environment.insert("CNI_IFNAME".to_owned(), OsString::from_vec(vec![b'e', 0xff]));
    let failure = Call::read(&|name| environment.get(name).cloned()).unwrap_err();
    assert!(failure.details.contains("UTF-8"), "{failure:?}");
}
