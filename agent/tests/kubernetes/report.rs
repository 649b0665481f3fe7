//! What the agent says of its pods in the cluster.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use weir_agent::pods::pod::{PodName, PodUid};
use weir_agent::report::{Lane, ReportTally, Reporter, take_back};
use weir_agent::run::registry::{PodState, PodStatus, Registry};

use crate::fake::{Fake, Fault, Kind, PATIENCE};
use crate::scene::{NODE, Scene, pod, shop};

const DEADLINE: Duration = Duration::from_secs(20);

struct Reporting {
    scene: Scene,
    registry: Registry,
    tally: ReportTally,
    task: JoinHandle<()>,
}

impl Reporting {
    async fn with(pods: &[&str]) -> Self {
        let mut scene = Scene::with(|fake| shop(fake, pods));
        scene.expect(pods).await;
        let (registry, tally) = (Registry::default(), ReportTally::default());
        let reporter = Reporter::new(
            scene.fake.client_with(PATIENCE),
            NODE.parse().unwrap(),
            registry.clone(),
            scene.redirections.clone(),
            tally.clone(),
        );
        Self {
            task: tokio::spawn(reporter.run()),
            scene,
            registry,
            tally,
        }
    }

    fn note(&self, name: &str, state: PodState) {
        let uid = PodUid::new(format!("uid-{name}")).unwrap();
        let name = PodName::new("shop", name).unwrap();
        self.registry.put(PodStatus::new(uid, name, state));
    }

    async fn expect_said(&self, name: &str, wanted: Option<&str>) {
        let deadline = Instant::now() + DEADLINE;
        let said = || said(&self.scene.fake, name);
        while said().as_deref() != wanted {
            assert!(
                Instant::now() < deadline,
                "{name} says {:?}, not {wanted:?}",
                said()
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn expect_events(&self, wanted: &[&str]) -> Vec<Value> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let events = self.scene.fake.events();
            let reasons: Vec<&str> = events
                .iter()
                .map(|event| event["reason"].as_str().unwrap())
                .collect();
            if reasons == wanted {
                return events;
            }
            assert!(Instant::now() < deadline, "{events:?}, not {wanted:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn patches(&self) -> usize {
        let asked = self.scene.fake.asked();
        asked.iter().filter(|asked| asked.method == Method::PATCH).count()
    }
}

impl Drop for Reporting {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn said(fake: &Fake, name: &str) -> Option<String> {
    let pod = fake.shared.store.get(Kind::Pod, &format!("shop/{name}")).unwrap();
    let said = &pod["metadata"]["annotations"]["ambient.istio.io/redirection"];
    said.as_str().map(str::to_owned)
}

fn failed() -> PodState {
    PodState::Failed("its namespace cannot be found".to_owned())
}

#[tokio::test]
async fn a_pod_says_whether_it_is_in_the_mesh() {
    let reporting = Reporting::with(&["a", "b"]).await;
    reporting.note("b", PodState::Left("not labelled".to_owned()));
    reporting.note("a", PodState::Enrolled);
    reporting.expect_said("a", Some("enabled")).await;
    reporting.note("a", failed());
    reporting.expect_said("a", Some("pending")).await;
    reporting.note("a", PodState::Left("not labelled".to_owned()));
    reporting.expect_said("a", None).await;
    assert_eq!(reporting.patches(), 3, "nothing is written that reads right");
    assert_eq!(reporting.tally.of(Lane::Annotation).written, 3);
    // Whatever else is written on a pod stays.
    assert_eq!(said(&reporting.scene.fake, "b"), None);
}

#[tokio::test]
async fn what_an_earlier_agent_wrote_is_not_written_again() {
    let reporting = Reporting::with(&["a"]).await;
    let mut written = pod("b", NODE);
    written["metadata"]["annotations"] = json!({"ambient.istio.io/redirection": "enabled"});
    reporting.scene.fake.put(Kind::Pod, written);
    reporting.note("b", PodState::Enrolled);
    reporting.note("a", PodState::Enrolled);
    reporting.expect_said("a", Some("enabled")).await;
    assert_eq!(reporting.patches(), 1);
}

#[tokio::test]
async fn trouble_and_its_end_are_events_of_the_pod() {
    let reporting = Reporting::with(&["a"]).await;
    reporting.note("a", failed());
    let events = reporting.expect_events(&["MeshNotEnrolled"]).await;
    let event = &events[0];
    assert_eq!(event["type"], "Warning");
    assert_eq!(event["note"], "its namespace cannot be found");
    assert_eq!(
        event["regarding"],
        json!({"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "a", "uid": "uid-a"})
    );
    assert_eq!(event["reportingInstance"], NODE);
    reporting.note("a", PodState::Enrolled);
    let events = reporting
        .expect_events(&["MeshNotEnrolled", "MeshEnrolled"])
        .await;
    assert_eq!(events[1]["type"], "Normal");
}

#[tokio::test]
async fn what_cannot_be_captured_is_an_event_of_the_pod() {
    let reporting = Reporting::with(&["a"]).await;
    let gap = "connections to eth0 are not captured: no interface of the node sees its packets";
    let uid = PodUid::new("uid-a").unwrap();
    let mut status = PodStatus::new(uid, PodName::new("shop", "a").unwrap(), PodState::Enrolled);
    status.uncaptured = vec![gap.to_owned()];
    reporting.registry.put(status);
    let events = reporting.expect_events(&["MeshNotCaptured"]).await;
    assert_eq!(events[0]["type"], "Warning");
    assert_eq!(events[0]["note"], gap);
}

#[tokio::test]
async fn a_missing_role_keeps_one_kind_of_report_and_is_got_over() {
    let reporting = Reporting::with(&["a"]).await;
    reporting.scene.fake.fail(Fault::RefuseWrites {
        of_events: false,
        code: 403,
    });
    reporting.note("a", failed());
    reporting.expect_events(&["MeshNotEnrolled"]).await;
    assert!(reporting.tally.of(Lane::Annotation).failed > 0);
    assert_eq!(said(&reporting.scene.fake, "a"), None);
    reporting.scene.fake.fail(Fault::RefuseWrites {
        of_events: true,
        code: 500,
    });
    reporting.expect_said("a", Some("pending")).await;
    reporting.note("a", PodState::Enrolled);
    reporting.expect_said("a", Some("enabled")).await;
    assert_eq!(reporting.scene.fake.events().len(), 1);
    reporting.scene.fake.fail(None);
    reporting
        .expect_events(&["MeshNotEnrolled", "MeshEnrolled"])
        .await;
}

#[tokio::test]
async fn a_server_that_is_away_is_told_later() {
    let mut reporting = Reporting::with(&["a"]).await;
    reporting.scene.fake.go_away().await;
    reporting.note("a", PodState::Enrolled);
    let deadline = Instant::now() + DEADLINE;
    while reporting.tally.of(Lane::Annotation).failed == 0 {
        assert!(Instant::now() < deadline, "nothing was tried");
        sleep(Duration::from_millis(10)).await;
    }
    reporting.scene.fake.come_back();
    reporting.expect_said("a", Some("enabled")).await;
}

#[tokio::test]
async fn another_pod_of_the_same_name_is_not_written_on() {
    let reporting = Reporting::with(&["a"]).await;
    let mut another = pod("a", NODE);
    another["metadata"]["uid"] = json!("uid-another");
    reporting.scene.fake.shared.store.put_silently(Kind::Pod, another);
    reporting.note("a", PodState::Enrolled);
    let deadline = Instant::now() + DEADLINE;
    while reporting.patches() == 0 {
        assert!(Instant::now() < deadline, "nothing was tried");
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(said(&reporting.scene.fake, "a"), None);
}

#[tokio::test]
async fn at_the_end_everything_can_be_taken_back() {
    let reporting = Reporting::with(&["a", "b"]).await;
    reporting.note("a", PodState::Enrolled);
    reporting.expect_said("a", Some("enabled")).await;
    let uid = PodUid::new("uid-a").unwrap();
    let mut redirections = reporting.scene.redirections.clone();
    let told = redirections.wait_for(|known| known.get(&uid) == Some(&Some("enabled".to_owned())));
    told.await.unwrap();
    reporting.task.abort();
    let known = redirections.borrow().clone();
    let server = reporting.scene.fake.client();
    take_back(&server, &reporting.scene.source, &known).await;
    assert_eq!(said(&reporting.scene.fake, "a"), None);
    assert_eq!(reporting.patches(), 2);
}
