//! Events about pods.

use std::time::SystemTime;

use hyper::Request;
use hyper::header::CONTENT_TYPE;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::api::time::Timestamp;
use crate::api_server::{Action, ApiError, ApiServer, Resource, Verb};
use crate::pods::pod::{PodName, PodUid};
use crate::pods::source::kubernetes::NodeName;
use crate::run::registry::{PodState, PodStatus};

/// The server takes no longer notes, in bytes.
const LONGEST_NOTE: usize = 1024;
/// Nor longer names of who reports.
const LONGEST_INSTANCE: usize = 128;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The pod cannot be brought into the mesh.
    NotEnrolled,
    /// The pod waits for something, for long.
    Waiting,
    /// The pod is in the mesh, but its verification found that it is not redirected as it should be.
    NotRedirected,
    /// The pod is in the mesh, but some of its connections cannot be captured because of how it is connected.
    NotCaptured,
    /// All is well again.
    Enrolled,
}

impl Reason {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::NotEnrolled => "MeshNotEnrolled",
            Self::Waiting => "MeshWaiting",
            Self::NotRedirected => "MeshNotRedirected",
            Self::NotCaptured => "MeshNotCaptured",
            Self::Enrolled => "MeshEnrolled",
        }
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::NotEnrolled | Self::Waiting | Self::NotRedirected | Self::NotCaptured => "Warning",
            Self::Enrolled => "Normal",
        }
    }
}

/// What is wrong with a pod, if anything is.
pub(super) fn trouble(pod: &PodStatus) -> Option<(Reason, String)> {
    match &pod.state {
        PodState::Left(_) => None,
        PodState::Failed(why) => Some((Reason::NotEnrolled, why.clone())),
        // A pod that has not begun to run waits for others than us.
        PodState::Pending(why) => pod.netns.map(|_| (Reason::Waiting, why.clone())),
        PodState::Enrolled => {
            let problems = pod.verified.iter().flat_map(|verified| &verified.problems);
            let details: Vec<&str> = problems.map(|problem| problem.detail.as_str()).collect();
            match (&*details, &*pod.uncaptured) {
                ([], []) => None,
                ([], gaps) => Some((Reason::NotCaptured, gaps.join("; "))),
                (details, _) => Some((Reason::NotRedirected, details.join("; "))),
            }
        }
    }
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodEvent {
    pub(super) uid: PodUid,
    pub(super) name: PodName,
    pub(super) reason: Reason,
    pub(super) note: String,
}

impl PodEvent {
    const ACTION: Action = Action::new(Verb::Create, Resource::Events);

    fn request(&self, node: &NodeName, now: SystemTime) -> Result<Request<Vec<u8>>, ApiError> {
        let (namespace, name) = (self.name.namespace(), self.name.name());
        let event = json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"generateName": format!("{name}-"), "namespace": namespace},
            "eventTime": microseconds(now),
            "type": self.reason.kind(),
            "reason": self.reason.name(),
            "action": "Redirect",
            "note": cut(&self.note, LONGEST_NOTE),
            "regarding": {
                "apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name, "uid": self.uid.as_str(),
            },
            "reportingController": "weir",
            "reportingInstance": cut(node.as_str(), LONGEST_INSTANCE),
        });
        let path = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events?fieldManager=weir");
        let request = Request::post(path).header(CONTENT_TYPE, "application/json");
        Self::ACTION.made(request.body(event.to_string().into_bytes()))
    }

    pub(super) async fn write(&self, server: &ApiServer, node: &NodeName) -> Result<(), ApiError> {
        let request = self.request(node, SystemTime::now())?;
        server.ask::<IgnoredAny>(Self::ACTION, request).await.map(|_| ())
    }
}

/// The server wants exactly six digits after the point.
fn microseconds(time: SystemTime) -> String {
    Timestamp::from(time).to_string().replace('Z', "000Z")
}

/// The beginning of `text`, cut between characters.
fn cut(text: &str, longest: usize) -> &str {
    &text[..text.floor_char_boundary(longest)]
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{cut, microseconds};

    #[test]
    fn times_and_notes_are_as_the_server_wants_them() {
        let time = UNIX_EPOCH + Duration::from_millis(1_700_000_000_042);
        assert_eq!(microseconds(time), "2023-11-14T22:13:20.042000Z");
        assert_eq!(cut("short", 1024), "short");
        assert_eq!(cut(&"ä".repeat(1000), 1023).len(), 1022);
    }
}
