//! What the agent writes, with no more rights than the manifest gives it.

use std::time::Duration;

use serde_json::{Value, json};
use weir_agent::api_server::Patience;
use weir_agent::pods::pod::{PodName, PodUid};
use weir_agent::report::{ReportTally, Reporter};
use weir_agent::run::registry::{PodState, PodStatus, Registry};
use weir_testbeds::deadline::eventually;

use crate::scene::{Following, Stage};

const DEADLINE: Duration = Duration::from_secs(60);
const ANNOTATION: &str = "ambient.istio.io/redirection";

struct Reporting {
    stage: Stage,
    registry: Registry,
    _following: Following,
}

impl Reporting {
    fn begin() -> Self {
        let stage = Stage::new();
        stage.create_pod("a", &stage.node.to_string());
        stage.patch_pod("a", &json!({"metadata": {"annotations": {"kept": "yes"}}}));
        let mut following = Following::begin(&stage);
        following.expect(&["a"]);
        let registry = Registry::default();
        let runtime = following.runtime();
        let reporter = Reporter::new(
            runtime.block_on(stage.server(Patience::default())),
            stage.node.clone(),
            registry.clone(),
            following.redirections.clone(),
            ReportTally::default(),
        );
        runtime.spawn(reporter.run());
        Self {
            stage,
            registry,
            _following: following,
        }
    }

    fn note(&self, uid: &str, state: PodState) {
        let name = PodName::new(self.stage.namespace.as_str(), "a").unwrap();
        self.registry
            .put(PodStatus::new(PodUid::new(uid).unwrap(), name, state));
    }

    fn uid(&self) -> String {
        let uid = &self.stage.pod("a")["metadata"]["uid"];
        uid.as_str().unwrap().to_owned()
    }

    fn expect_said(&self, wanted: &Value) {
        let said = || self.stage.pod("a")["metadata"]["annotations"][ANNOTATION].clone();
        let seen = eventually(DEADLINE, || (said() == *wanted).then_some(()));
        assert!(seen.is_ok(), "it says {}, not {wanted}", said());
        assert_eq!(self.stage.pod("a")["metadata"]["annotations"]["kept"], "yes");
    }

    fn expect_event(&self, reason: &str) -> Value {
        let found = || {
            let events = self.stage.events();
            events.into_iter().find(|event| event["reason"] == reason)
        };
        let seen = eventually(DEADLINE, found);
        seen.unwrap_or_else(|_| panic!("no {reason}, but {:?}", self.stage.events()))
    }
}

#[test]
fn kube_annotations_and_events_are_accepted() {
    let reporting = Reporting::begin();
    let uid = reporting.uid();
    reporting.note(&uid, PodState::Enrolled);
    reporting.expect_said(&json!("enabled"));
    reporting.note(&uid, PodState::Failed("ztunnel refused it".to_owned()));
    reporting.expect_said(&json!("pending"));
    let event = reporting.expect_event("MeshNotEnrolled");
    assert_eq!(
        (&event["type"], &event["note"]),
        (&json!("Warning"), &json!("ztunnel refused it"))
    );
    assert_eq!(
        (&event["regarding"]["uid"], &event["regarding"]["name"]),
        (&json!(uid), &json!("a"))
    );
    reporting.note(&uid, PodState::Enrolled);
    reporting.expect_said(&json!("enabled"));
    reporting.expect_event("MeshEnrolled");
    reporting.note(&uid, PodState::Left("its label keeps it out".to_owned()));
    reporting.expect_said(&Value::Null);
}

/// The server itself refuses to patch a pod whose UID is another.
#[test]
fn kube_a_pod_with_the_name_of_an_earlier_one_is_not_written_on() {
    let reporting = Reporting::begin();
    let old = reporting.uid();
    reporting.note(&old, PodState::Enrolled);
    reporting.expect_said(&json!("enabled"));
    let path = format!("/api/v1/namespaces/{}/pods/a/status", reporting.stage.namespace);
    let patch = json!({"metadata": {"uid": "another", "annotations": {ANNOTATION: "stolen"}}});
    let refused = reporting.stage.cluster.patch(&path, &patch).unwrap_err();
    assert!(
        refused.to_string().contains("metadata.uid: Invalid value"),
        "{refused}"
    );
    reporting.expect_said(&json!("enabled"));
}
