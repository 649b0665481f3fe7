use super::*;
use crate::pods::pod::{Phase, PodName, PodUid};

fn map(pairs: &[(&str, &str)]) -> StringMap {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn pod(namespace: &str, labels: &[(&str, &str)]) -> Pod {
    Pod {
        uid: PodUid::new("uid").unwrap(),
        name: PodName::new(namespace, "web").unwrap(),
        service_account: "default".to_owned(),
        labels: map(labels),
        annotations: StringMap::new(),
        host_network: false,
        phase: Phase::Running,
        netns: None,
        addresses: vec![],
    }
}

const AMBIENT: (&str, &str) = (DATAPLANE_MODE, "ambient");
const NONE: (&str, &str) = (DATAPLANE_MODE, "none");

#[test]
fn labels_decide_when_nothing_forbids() {
    let unknown = |mode: &str| {
        Selection::Leave(Why::UnknownMode {
            mode: mode.to_owned(),
        })
    };
    let table = [
        (None, None, Selection::Leave(Why::NotLabelled)),
        (Some("ambient"), None, Selection::Enrol),
        (None, Some("ambient"), Selection::Enrol),
        (Some("ambient"), Some("ambient"), Selection::Enrol),
        (Some("ambient"), Some("none"), Selection::Enrol),
        (Some("none"), Some("ambient"), Selection::Leave(Why::OptedOut)),
        (Some("none"), None, Selection::Leave(Why::OptedOut)),
        (None, Some("none"), Selection::Leave(Why::NotLabelled)),
        // Only `none` refuses: any other word of the pod leaves the decision to the namespace.
        (Some("sidecar"), Some("ambient"), Selection::Enrol),
        (Some("Ambient"), None, unknown("Ambient")),
        (None, Some("Ambient"), unknown("Ambient")),
        (Some(""), None, unknown("")),
    ];
    for (pod_mode, namespace_mode, expected) in table {
        let labels =
            |mode: Option<&str>| mode.map_or_else(StringMap::new, |mode| map(&[(DATAPLANE_MODE, mode)]));
        let pod = Pod {
            labels: labels(pod_mode),
            ..pod("default", &[])
        };
        let selection = select(&pod, &labels(namespace_mode), &Rules::default());
        assert_eq!(
            selection, expected,
            "pod {pod_mode:?}, namespace {namespace_mode:?}"
        );
    }
}

/// Every rejection also holds for a pod that asks for the mesh; each row lacks one more reason than the row before.
#[test]
fn rejections_come_first_and_in_order() {
    let rules = Rules {
        excluded_namespaces: ["istio-system".to_owned()].into(),
        system_namespace: "istio-system".to_owned(),
        ..Rules::default()
    };
    let lenient = Rules {
        excluded_namespaces: [].into(),
        ..rules.clone()
    };
    let mut pod = pod("istio-system", &[AMBIENT, ("app", "ztunnel")]);
    pod.host_network = true;
    pod.phase = Phase::Failed;
    pod.annotations = map(&[(SIDECAR_STATUS, "")]);
    let why = |pod: &Pod, rules: &Rules| select(pod, &map(&[AMBIENT]), rules);

    let excluded = Why::NamespaceExcluded {
        namespace: "istio-system".to_owned(),
    };
    assert_eq!(why(&pod, &rules), Selection::Leave(excluded));
    assert_eq!(why(&pod, &lenient), Selection::Leave(Why::HostNetwork));
    pod.host_network = false;
    assert_eq!(why(&pod, &lenient), Selection::Leave(Why::Sidecar));
    pod.annotations.clear();
    assert_eq!(why(&pod, &lenient), Selection::Leave(Why::Ztunnel));
    pod.labels.remove("app");
    assert_eq!(why(&pod, &lenient), Selection::Leave(Why::Finished));
    pod.phase = Phase::Succeeded;
    assert_eq!(why(&pod, &lenient), Selection::Leave(Why::Finished));
    for phase in [Phase::Pending, Phase::Running, Phase::Unknown] {
        pod.phase = phase;
        assert_eq!(why(&pod, &lenient), Selection::Enrol, "{phase:?}");
    }
}

#[test]
fn kube_system_is_excluded_unless_configured_otherwise() {
    let pod = pod("kube-system", &[AMBIENT]);
    let excluded = Why::NamespaceExcluded {
        namespace: "kube-system".to_owned(),
    };
    assert_eq!(
        select(&pod, &map(&[]), &Rules::default()),
        Selection::Leave(excluded)
    );
    let rules = Rules {
        excluded_namespaces: [].into(),
        ..Rules::default()
    };
    assert_eq!(select(&pod, &map(&[]), &rules), Selection::Enrol);
}

#[test]
fn ztunnel_is_only_what_is_labelled_so_in_the_system_namespace() {
    let elsewhere = pod("default", &[AMBIENT, ("app", "ztunnel")]);
    assert_eq!(select(&elsewhere, &map(&[]), &Rules::default()), Selection::Enrol);
    let neighbour = pod("istio-system", &[AMBIENT, ("app", "istiod")]);
    assert_eq!(select(&neighbour, &map(&[]), &Rules::default()), Selection::Enrol);
}

#[test]
fn written_selectors_replace_the_defaults() {
    let selectors = EnablementSelector::parse_list(
        "- podSelector: {matchLabels: {tier: web}, matchExpressions: [{key: canary, operator: DoesNotExist}]}\n  \
           namespaceSelector: {matchExpressions: [{key: team, operator: In, values: [a, b]}]}\n\
         - podSelector: {matchExpressions: [{key: mesh, operator: Exists}, {key: mesh, operator: NotIn, values: ['no']}]}\n",
    )
    .unwrap();
    let rules = Rules {
        selectors,
        ..Rules::default()
    };
    let no = Selection::Leave(Why::NoSelectorMatches);
    let table: [(&[_], &[_], _); 7] = [
        (&[("tier", "web")], &[("team", "b")], Selection::Enrol),
        (&[("tier", "web")], &[("team", "c")], no.clone()),
        (&[("tier", "web"), ("canary", "")], &[("team", "a")], no.clone()),
        (&[("mesh", "yes")], &[], Selection::Enrol),
        (&[("mesh", "no")], &[], no.clone()),
        (&[AMBIENT], &[AMBIENT], no.clone()),
        (&[NONE], &[], no.clone()),
    ];
    for (labels, namespace_labels, expected) in table {
        let selection = select(&pod("default", labels), &map(namespace_labels), &rules);
        assert_eq!(selection, expected, "{labels:?} in {namespace_labels:?}");
    }
    assert_eq!(
        EnablementSelector::parse_list("[{}]").unwrap(),
        [EnablementSelector::default()]
    );
    let nobody = Rules {
        selectors: EnablementSelector::parse_list("[]").unwrap(),
        ..Rules::default()
    };
    assert_eq!(select(&pod("default", &[AMBIENT]), &map(&[AMBIENT]), &nobody), no);
}

#[test]
fn istios_defaults_can_be_written() {
    let written = EnablementSelector::parse_list(
        "- podSelector: {matchLabels: {istio.io/dataplane-mode: ambient}}\n\
         - podSelector: {matchExpressions: [{key: istio.io/dataplane-mode, operator: NotIn, values: [none]}]}\n  \
           namespaceSelector: {matchLabels: {istio.io/dataplane-mode: ambient}}\n",
    );
    assert_eq!(written.unwrap(), EnablementSelector::defaults());
}

#[test]
fn a_malformed_selector_is_named() {
    let table = [
        (
            "{key: a, operator: Is, values: [b]}",
            "operator \"Is\" is unknown",
        ),
        ("{key: a, operator: In}", "In needs at least one entry"),
        (
            "{key: a, operator: NotIn, values: []}",
            "NotIn needs at least one entry",
        ),
        (
            "{key: a, operator: Exists, values: [b]}",
            "Exists takes no `values`",
        ),
        (
            "{key: a, operator: DoesNotExist, values: [b]}",
            "DoesNotExist takes no `values`",
        ),
        ("{key: a b, operator: Exists}", "\"a b\" is not a label key"),
        ("{key: /a, operator: Exists}", "\"/a\" is not a label key"),
        (
            "{key: a, operator: In, values: [b c]}",
            "\"b c\" is not a label value",
        ),
    ];
    for (expression, complaint) in table {
        let yaml = format!("- {{}}\n- namespaceSelector: {{matchExpressions: [{expression}]}}");
        let message = EnablementSelector::parse_list(&yaml).unwrap_err().to_string();
        assert!(
            message.starts_with("enablement selector 1, namespaceSelector: "),
            "{message}"
        );
        assert!(message.contains(complaint), "{expression}: {message}");
    }
    for yaml in [
        "x",
        "[{podselector: {}}]",
        "[{podSelector: {matchLabels: [a]}}]",
        "[",
        "[{podSelector: null",
    ] {
        let error = EnablementSelector::parse_list(yaml).unwrap_err();
        assert!(
            matches!(error, EnablementSelectorsError::Yaml(_)),
            "{yaml:?}: {error}"
        );
    }
}

#[test]
fn every_reason_is_a_sentence() {
    let reasons = [
        Why::NamespaceExcluded {
            namespace: "kube-system".to_owned(),
        },
        Why::HostNetwork,
        Why::Sidecar,
        Why::Ztunnel,
        Why::Finished,
        Why::OptedOut,
        Why::UnknownMode {
            mode: "on".to_owned(),
        },
        Why::NotLabelled,
        Why::NoSelectorMatches,
    ];
    for why in reasons {
        assert!(why.to_string().split(' ').count() >= 4, "{}: {why}", why.name());
    }
}
