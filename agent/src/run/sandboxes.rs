//! Sandboxes of pods, as the container runtime told of them: what a pod's netns is before any process lives in it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::release::SharedNetns;
use crate::pods::pod::PodUid;

/// A sandbox that is up.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// The runtime's id.
    pub id: String,
    /// The network and the interface that it was told of with; it may be in others.
    pub network: String,
    /// See above.
    pub interface: String,
    /// Its netns.
    pub netns: SharedNetns,
    /// Its netns cookie.
    pub cookie: u64,
    /// The pod is to be in the mesh from its first connection on: nothing runs in it yet.
    pub starting: bool,
}

/// What the runtime last said of a pod.
#[derive(Clone, Debug)]
enum Known {
    Up(Sandbox),
    /// The sandbox is gone, and with it the netns of this cookie.
    Down {
        cookie: u64,
    },
}

/// All sandboxes; clones share them. Those of before the agent started are not among them.
#[derive(Clone, Debug, Default)]
pub struct Sandboxes(Arc<Mutex<BTreeMap<PodUid, Known>>>);

impl Sandboxes {
    /// A sandbox is up.
    pub fn put(&self, uid: PodUid, sandbox: Sandbox) {
        self.lock().insert(uid, Known::Up(sandbox));
    }

    /// The pod's sandbox, while it is up.
    #[must_use]
    pub fn get(&self, uid: &PodUid) -> Option<Sandbox> {
        match self.lock().get(uid) {
            Some(Known::Up(sandbox)) => Some(sandbox.clone()),
            Some(Known::Down { .. }) | None => None,
        }
    }

    /// The cookie of the netns that the pod has lost.
    #[must_use]
    pub fn lost(&self, uid: &PodUid) -> Option<u64> {
        match self.lock().get(uid) {
            Some(Known::Down { cookie }) => Some(*cookie),
            Some(Known::Up(_)) | None => None,
        }
    }

    /// A sandbox is down. Says whether it was the pod's: runtimes repeat themselves, and by then the pod may have
    /// another one.
    pub fn end(&self, uid: &PodUid, id: &str, cookie: Option<u64>) -> bool {
        let mut known = self.lock();
        let gone = match known.get(uid) {
            Some(Known::Up(sandbox)) if sandbox.id == id || Some(sandbox.cookie) == cookie => {
                Some(sandbox.cookie)
            }
            Some(_) => None,
            None => cookie,
        };
        if let Some(cookie) = gone {
            known.insert(uid.clone(), Known::Down { cookie });
        }
        gone.is_some()
    }

    /// The pod whose sandbox this is.
    #[must_use]
    pub fn pod_of(&self, id: &str) -> Option<PodUid> {
        let is_it = |known: &Known| matches!(known, Known::Up(sandbox) if sandbox.id == id);
        let known = self.lock();
        let mut all = known.iter();
        all.find(|(_, known)| is_it(known)).map(|(uid, _)| uid.clone())
    }

    /// Pods and ids of all sandboxes of a network but these.
    #[must_use]
    pub fn others(&self, network: &str, ids: &[String]) -> Vec<(PodUid, String)> {
        let known = self.lock();
        let up = known.iter().filter_map(|(uid, known)| match known {
            Known::Up(sandbox) if sandbox.network == network => Some((uid.clone(), sandbox.id.clone())),
            Known::Up(_) | Known::Down { .. } => None,
        });
        up.filter(|(_, id)| !ids.contains(id)).collect()
    }

    /// Whether the pod is to be captured before anything else.
    #[must_use]
    pub fn is_starting(&self, uid: &PodUid) -> bool {
        matches!(self.lock().get(uid), Some(Known::Up(sandbox)) if sandbox.starting)
    }

    /// The pod may run: whatever is done from now on is done to a pod with connections.
    pub fn note_started(&self, uid: &PodUid) {
        if let Some(Known::Up(sandbox)) = self.lock().get_mut(uid) {
            sandbox.starting = false;
        }
    }

    /// The pod is gone for good.
    pub fn forget(&self, uid: &PodUid) {
        self.lock().remove(uid);
    }

    /// A panic elsewhere leaves plain data behind, which is still true.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PodUid, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;

    use super::{Sandbox, Sandboxes};
    use crate::pods::pod::PodUid;

    fn sandbox(id: &str, cookie: u64) -> Sandbox {
        Sandbox {
            id: id.to_owned(),
            network: "net".to_owned(),
            interface: "eth0".to_owned(),
            netns: Arc::new(File::open("/dev/null").unwrap().into()),
            cookie,
            starting: true,
        }
    }

    #[test]
    fn a_late_end_of_the_last_sandbox_leaves_the_present_one() {
        let (sandboxes, uid) = (Sandboxes::default(), PodUid::new("u").unwrap());
        sandboxes.put(uid.clone(), sandbox("first", 1));
        assert!(sandboxes.end(&uid, "first", None));
        assert!(!sandboxes.end(&uid, "first", None), "it is down already");
        assert_eq!(sandboxes.lost(&uid), Some(1));
        sandboxes.put(uid.clone(), sandbox("second", 2));
        assert!(!sandboxes.end(&uid, "first", None));
        assert!(!sandboxes.end(&uid, "first", Some(1)));
        assert_eq!(sandboxes.get(&uid).unwrap().cookie, 2);
        assert!(
            sandboxes.end(&uid, "unheard of", Some(2)),
            "the netns is the same"
        );
    }

    #[test]
    fn a_sandbox_of_before_the_start_is_known_by_its_netns_alone() {
        let (sandboxes, uid) = (Sandboxes::default(), PodUid::new("u").unwrap());
        assert!(!sandboxes.end(&uid, "old", None));
        assert!(sandboxes.end(&uid, "old", Some(7)));
        assert_eq!(sandboxes.lost(&uid), Some(7));
    }

    #[test]
    fn garbage_is_what_the_runtime_does_not_know() {
        let sandboxes = Sandboxes::default();
        for id in ["a", "b"] {
            sandboxes.put(PodUid::new(id).unwrap(), sandbox(id, 1));
        }
        let garbage = sandboxes.others("net", &["a".to_owned()]);
        assert!(sandboxes.others("another", &[]).is_empty());
        assert_eq!(garbage, [(PodUid::new("b").unwrap(), "b".to_owned())]);
        assert_eq!(sandboxes.pod_of("a"), Some(PodUid::new("a").unwrap()));
        sandboxes.note_started(&PodUid::new("a").unwrap());
        assert!(!sandboxes.is_starting(&PodUid::new("a").unwrap()));
        assert!(sandboxes.is_starting(&PodUid::new("b").unwrap()));
    }
}
