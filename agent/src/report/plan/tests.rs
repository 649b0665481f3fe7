use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{Outcome, Plan, REPEAT, STEADY, Write};
use crate::api_server::Patience;
use crate::pods::pod::{PodName, PodUid};
use crate::pods::source::kubernetes::Redirections;
use crate::run::registry::{PodState, PodStatus, Verification};
use crate::verify::{Check, Problem};

fn uid(name: &str) -> PodUid {
    PodUid::new(name).unwrap()
}

fn pod(name: &str, state: PodState) -> PodStatus {
    PodStatus::new(uid(name), PodName::new("shop", name).unwrap(), state)
}

fn failed() -> PodState {
    PodState::Failed("no netns".to_owned())
}

fn left() -> PodState {
    PodState::Left("not labelled".to_owned())
}

fn pending() -> PodState {
    PodState::Pending("waits".to_owned())
}

fn broken(name: &str) -> PodStatus {
    let mut pod = pod(name, PodState::Enrolled);
    pod.verified = Some(Verification {
        at: SystemTime::now(),
        problems: vec![Problem {
            check: Check::ALL[0],
            detail: "a rule is gone".to_owned(),
        }],
        mended: Vec::new(),
    });
    pod
}

fn said(pods: &[(&str, Option<&str>)]) -> Redirections {
    pods.iter()
        .map(|(name, said)| (uid(name), said.map(str::to_owned)))
        .collect()
}

/// A plan, and what has been written by it.
struct Scene {
    plan: Plan,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        let now = Instant::now() + Duration::from_secs(10_000);
        Self {
            plan: Plan::new(now, Patience::default()),
            now,
        }
    }

    fn wait(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    /// What is due now, in words.
    fn due(&mut self, pods: &[PodStatus], said: &Redirections) -> Vec<String> {
        self.due_with(pods, said, &Outcome::Written)
    }

    fn due_with(&mut self, pods: &[PodStatus], said: &Redirections, outcome: &Outcome) -> Vec<String> {
        let (writes, _) = self.plan.due(self.now, pods, said);
        let mut words = Vec::new();
        for write in writes {
            if !self.plan.is_open(self.now, &write) {
                continue;
            }
            words.push(match &write {
                Write::Annotation(annotation) => {
                    format!(
                        "{} says {}",
                        annotation.uid,
                        annotation.value.unwrap_or("nothing")
                    )
                }
                Write::Event(event) => format!("{}: {}", event.uid, event.reason.name()),
            });
            self.plan.note(self.now, &write, outcome);
        }
        words
    }

    fn next(&mut self, pods: &[PodStatus], said: &Redirections) -> Option<Duration> {
        let (_, next) = self.plan.due(self.now, pods, said);
        next.map(|next| next - self.now)
    }
}

#[test]
fn only_what_differs_is_written() {
    let mut scene = Scene::new();
    let pods = [
        pod("a", PodState::Enrolled),
        pod("b", PodState::Enrolled),
        pod("c", left()),
        pod("d", left()),
        pod("unknown", PodState::Enrolled),
    ];
    let say = said(&[
        ("a", None),
        ("b", Some("enabled")),
        ("c", Some("enabled")),
        ("d", None),
        ("gone", Some("enabled")),
    ]);
    assert_eq!(scene.due(&pods, &say), ["a says enabled", "c says nothing"]);
    assert_eq!(scene.due(&pods, &say), [""; 0], "the server is slow to tell");
    assert!(scene.next(&pods, &say).is_some());
}

#[test]
fn a_pod_that_is_on_its_way_for_a_moment_does_not_say_so() {
    let mut scene = Scene::new();
    let say = said(&[("a", None)]);
    assert_eq!(scene.due(&[pod("a", pending())], &say), [""; 0]);
    assert_eq!(scene.next(&[pod("a", pending())], &say), Some(STEADY));
    scene.wait(STEADY / 2);
    assert_eq!(
        scene.due(&[pod("a", PodState::Enrolled)], &say),
        ["a says enabled"]
    );
    let mut scene = Scene::new();
    assert_eq!(scene.due(&[pod("a", pending())], &say), [""; 0]);
    // Pending or failed is the same to others.
    scene.wait(STEADY / 2).due(&[pod("a", failed())], &say);
    scene.wait(STEADY / 2);
    assert_eq!(scene.due(&[pod("a", failed())], &say), ["a says pending"]);
}

#[test]
fn whoever_else_writes_the_annotation_is_given_way_to() {
    let mut scene = Scene::new();
    let (pods, say) = ([pod("a", PodState::Enrolled)], said(&[("a", Some("disabled"))]));
    let mut written = 0;
    for _ in 0..3600 {
        written += scene.due(&pods, &say).len();
        scene.wait(Duration::from_secs(1));
    }
    assert!((10..30).contains(&written), "{written} writes in an hour");
}

#[test]
fn trouble_is_told_when_it_lasts_and_its_end_too() {
    let mut scene = Scene::new();
    let say = said(&[]);
    assert_eq!(scene.due(&[pod("a", failed())], &say), [""; 0]);
    scene.wait(Duration::from_secs(1));
    assert_eq!(
        scene.due(&[pod("a", PodState::Enrolled)], &say),
        [""; 0],
        "it passed"
    );
    scene.due(&[pod("a", failed())], &say);
    scene.wait(Duration::from_secs(5));
    assert_eq!(scene.due(&[pod("a", failed())], &say), ["a: MeshNotEnrolled"]);
    scene.wait(Duration::from_secs(100));
    assert_eq!(scene.due(&[pod("a", failed())], &say), [""; 0]);
    scene.wait(REPEAT);
    assert_eq!(scene.due(&[pod("a", failed())], &say), ["a: MeshNotEnrolled"]);
    assert_eq!(
        scene.due(&[pod("a", PodState::Enrolled)], &say),
        ["a: MeshEnrolled"]
    );
    assert_eq!(scene.due(&[pod("a", PodState::Enrolled)], &say), [""; 0]);
    assert_eq!(scene.due(&[broken("a")], &say), ["a: MeshNotRedirected"]);
}

#[test]
fn a_gap_in_capture_is_told_and_its_end_too() {
    let mut scene = Scene::new();
    let say = said(&[("a", Some("enabled"))]);
    let gap = || vec!["connections to net1 are not captured".to_owned()];
    let partly = PodStatus {
        uncaptured: gap(),
        ..pod("a", PodState::Enrolled)
    };
    assert_eq!(
        scene.due(std::slice::from_ref(&partly), &say),
        ["a: MeshNotCaptured"]
    );
    assert_eq!(scene.due(&[partly], &say), [""; 0], "once");
    let worse = PodStatus {
        uncaptured: gap(),
        ..broken("a")
    };
    assert_eq!(scene.due(&[worse], &say), ["a: MeshNotRedirected"]);
    let well = || [pod("a", PodState::Enrolled)];
    assert_eq!(scene.due(&well(), &say), ["a: MeshEnrolled"]);
    let outside = PodStatus {
        uncaptured: gap(),
        ..pod("a", left())
    };
    assert_eq!(scene.due(&[outside], &said(&[("a", None)])), [""; 0]);
}

#[test]
fn a_pod_that_has_not_started_waits_for_others_than_us() {
    let mut scene = Scene::new();
    let waiting = |netns| PodStatus {
        netns,
        ..pod("a", pending())
    };
    for (netns, events) in [(None, 0), (Some(7), 1)] {
        scene.due(&[waiting(netns)], &BTreeMap::new());
        scene.wait(Duration::from_secs(61));
        assert_eq!(scene.due(&[waiting(netns)], &BTreeMap::new()).len(), events);
    }
}

#[test]
fn a_node_in_trouble_does_not_flood_the_cluster_with_events() {
    let mut scene = Scene::new();
    let pods: Vec<PodStatus> = (0..250).map(|n| pod(&format!("p{n}"), failed())).collect();
    scene.due(&pods, &said(&[]));
    scene.wait(Duration::from_secs(5));
    assert_eq!(scene.due(&pods, &said(&[])).len(), 20);
    let mut told = 20;
    for _ in 0..60 {
        scene.wait(Duration::from_secs(1));
        told += scene.due(&pods, &said(&[])).len();
    }
    assert_eq!(told, 40);
}

#[test]
fn what_keeps_one_kind_of_report_does_not_keep_the_other() {
    let mut scene = Scene::new();
    let pods = [pod("a", failed()), pod("b", failed())];
    let say = said(&[("a", Some("enabled")), ("b", Some("enabled"))]);
    scene.due(&pods, &said(&[]));
    scene.wait(Duration::from_secs(10));
    let (writes, _) = scene.plan.due(scene.now, &pods, &say);
    for write in &writes {
        if let Write::Annotation(_) = write {
            scene.plan.note(scene.now, write, &Outcome::Blocked);
        }
    }
    assert_eq!(
        scene.due(&pods, &say),
        ["a: MeshNotEnrolled", "b: MeshNotEnrolled"]
    );
    scene.wait(Duration::from_secs(60));
    assert_eq!(scene.due(&pods, &say), ["a says pending", "b says pending"]);
}

#[test]
fn a_report_that_has_come_to_nothing_is_not_repeated_at_once() {
    let mut scene = Scene::new();
    let (pods, say) = ([pod("a", left())], said(&[("a", Some("enabled"))]));
    assert_eq!(scene.due_with(&pods, &say, &Outcome::Moot), ["a says nothing"]);
    assert_eq!(scene.due_with(&pods, &say, &Outcome::Moot), [""; 0]);
}
