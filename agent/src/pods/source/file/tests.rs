use std::fs;
use std::os::unix::fs::symlink;

use tokio::task::JoinHandle;

use super::*;
use crate::pods::pod::Phase;
use crate::pods::scratch::Scratch;
use crate::pods::source::{SourceError, SourceEvent, SourceStatus};

/// Long enough for a busy machine; only a failing test waits that long.
const DEADLINE: Duration = Duration::from_secs(20);

struct World {
    scratch: Scratch,
    source: PodSource,
    task: JoinHandle<()>,
}

impl World {
    /// Starts a source for `pods.yaml` in a directory that `prepare` has filled.
    fn start(prepare: impl FnOnce(&Path)) -> Self {
        let scratch = Scratch::new();
        prepare(scratch.path());
        let (mut task, source) = FileSource::new(scratch.path().join("dir/pods.yaml"));
        task.damping = Duration::from_millis(20);
        task.retry = Duration::from_millis(20);
        Self {
            scratch,
            source,
            task: tokio::spawn(task.run()),
        }
    }

    fn with_pods(names: &[&str]) -> Self {
        Self::start(|root| {
            fs::create_dir(root.join("dir")).unwrap();
            fs::write(root.join("dir/pods.yaml"), pods(names)).unwrap();
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join("dir").join(name)
    }

    fn names(&self) -> Option<Vec<String>> {
        names(&self.source.events.borrow())
    }

    async fn expect_pods(&mut self, expected: &[&str]) {
        let wait = self
            .source
            .events
            .wait_for(|event| names(event).is_some_and(|names| names == expected));
        let arrived = time::timeout(DEADLINE, wait).await.map(|event| event.map(drop));
        assert!(
            matches!(arrived, Ok(Ok(()))),
            "expected {expected:?}, have {:?}, {:?}",
            self.names(),
            self.status()
        );
    }

    async fn expect_ok(&mut self) -> u64 {
        let wait = self
            .source
            .status
            .wait_for(|status| matches!(status, SourceStatus::Ok { .. }));
        match *time::timeout(DEADLINE, wait)
            .await
            .expect("a good status")
            .unwrap()
        {
            SourceStatus::Ok { revision } => revision,
            ref other => panic!("{other:?}"),
        }
    }

    async fn expect_failure(&mut self, wanted: impl Fn(&FileError) -> bool) -> Option<u64> {
        let wait = self.source.status.wait_for(|status| match status {
            SourceStatus::Failed { error, .. } => {
                matches!(&**error, SourceError::File(error) if wanted(error))
            }
            SourceStatus::Pending | SourceStatus::Ok { .. } => false,
        });
        let seen = time::timeout(DEADLINE, wait)
            .await
            .map(|status| status.map(|status| status.clone()));
        match seen {
            Ok(Ok(SourceStatus::Failed { in_force, .. })) => in_force,
            _ => panic!("no such failure, but {:?}", self.status()),
        }
    }

    fn status(&self) -> SourceStatus {
        self.source.status.borrow().clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn names(event: &SourceEvent) -> Option<Vec<String>> {
    match event {
        SourceEvent::Pending => None,
        SourceEvent::Snapshot(snapshot) => Some(
            snapshot
                .pods
                .iter()
                .map(|entry| entry.pod.name.to_string())
                .collect(),
        ),
    }
}

fn pods(names: &[&str]) -> String {
    let pods: Vec<_> = names
        .iter()
        .map(|name| format!("{{name: {name}, namespace: ns, uid: uid-{name}}}"))
        .collect();
    format!("pods: [{}]\n", pods.join(", "))
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

const fn is_missing(error: &FileError) -> bool {
    matches!(error, FileError::Missing { .. })
}

const fn is_malformed(error: &FileError) -> bool {
    matches!(error, FileError::Format { .. })
}

#[tokio::test]
async fn a_file_is_read_and_read_again_when_it_is_replaced_or_rewritten() {
    let mut world = World::with_pods(&["a"]);
    world.expect_pods(&["ns/a"]).await;
    replace(&world.path("pods.yaml"), &pods(&["a", "b"]));
    world.expect_pods(&["ns/a", "ns/b"]).await;
    fs::write(world.path("pods.yaml"), pods(&[])).unwrap();
    world.expect_pods(&[]).await;
    assert_eq!(world.expect_ok().await, 3);
}

#[tokio::test]
async fn a_truncated_file_leaves_the_last_good_list_in_force_until_it_is_fixed() {
    let mut world = World::with_pods(&["a"]);
    world.expect_pods(&["ns/a"]).await;
    for text in [
        "",
        "pods:",
        "pods: [{name: b, name",
        "pods: [{name: b}]",
        "pods: []\nextra: 1\n",
    ] {
        fs::write(world.path("pods.yaml"), text).unwrap();
        assert_eq!(world.expect_failure(is_malformed).await, Some(1), "{text:?}");
        assert_eq!(world.names().unwrap(), ["ns/a"], "{text:?}");
        fs::write(world.path("pods.yaml"), pods(&["a"])).unwrap();
        assert_eq!(world.expect_ok().await, 1, "the same pods are no news");
    }
    fs::write(world.path("pods.yaml"), pods(&["a", "b"])).unwrap();
    world.expect_pods(&["ns/a", "ns/b"]).await;
    assert_eq!(world.expect_ok().await, 2);
}

#[tokio::test]
async fn a_missing_file_is_waited_for_and_a_removed_one_takes_nobody_out() {
    let mut world = World::start(|root| fs::create_dir(root.join("dir")).unwrap());
    assert_eq!(world.expect_failure(is_missing).await, None);
    assert_eq!(world.names(), None);
    fs::write(world.path("pods.yaml"), pods(&["a"])).unwrap();
    world.expect_pods(&["ns/a"]).await;
    fs::remove_file(world.path("pods.yaml")).unwrap();
    assert_eq!(world.expect_failure(is_missing).await, Some(1));
    assert_eq!(world.names().unwrap(), ["ns/a"]);
}

#[tokio::test]
async fn a_missing_directory_is_waited_for_too() {
    let mut world = World::start(|_| ());
    assert_eq!(
        world
            .expect_failure(|error| matches!(error, FileError::Watch { .. }))
            .await,
        None
    );
    fs::create_dir(world.scratch.path().join("new")).unwrap();
    fs::write(world.scratch.path().join("new/pods.yaml"), pods(&["a"])).unwrap();
    fs::rename(world.scratch.path().join("new"), world.path("")).unwrap();
    world.expect_pods(&["ns/a"]).await;
    // Another directory takes the first one's place.
    fs::rename(world.path(""), world.scratch.path().join("old")).unwrap();
    fs::create_dir(world.path("")).unwrap();
    fs::write(world.path("pods.yaml"), pods(&["b"])).unwrap();
    world.expect_pods(&["ns/b"]).await;
}

/// How the kubelet updates a mounted ConfigMap.
#[tokio::test]
async fn the_swap_of_a_config_map_is_seen() {
    let mut world = World::start(|root| {
        fs::create_dir_all(root.join("dir/..v1")).unwrap();
        fs::write(root.join("dir/..v1/pods.yaml"), pods(&["a"])).unwrap();
        symlink("..v1", root.join("dir/..data")).unwrap();
        symlink("..data/pods.yaml", root.join("dir/pods.yaml")).unwrap();
    });
    world.expect_pods(&["ns/a"]).await;
    for (version, pod) in [("..v2", "b"), ("..v3", "c")] {
        fs::create_dir(world.path(version)).unwrap();
        fs::write(world.path(version).join("pods.yaml"), pods(&[pod])).unwrap();
        symlink(version, world.path("..data_tmp")).unwrap();
        fs::rename(world.path("..data_tmp"), world.path("..data")).unwrap();
        world.expect_pods(&[&format!("ns/{pod}")]).await;
    }
}

#[tokio::test]
async fn a_link_is_followed_when_it_or_its_target_changes() {
    let mut world = World::start(|root| {
        fs::create_dir(root.join("dir")).unwrap();
        fs::write(root.join("dir/one.yaml"), pods(&["a"])).unwrap();
        fs::write(root.join("dir/two.yaml"), pods(&["b"])).unwrap();
        symlink("./one.yaml", root.join("dir/pods.yaml")).unwrap();
    });
    world.expect_pods(&["ns/a"]).await;
    symlink("two.yaml", world.path("link")).unwrap();
    fs::rename(world.path("link"), world.path("pods.yaml")).unwrap();
    world.expect_pods(&["ns/b"]).await;
    fs::write(world.path("two.yaml"), pods(&["c"])).unwrap();
    world.expect_pods(&["ns/c"]).await;
}

#[tokio::test]
async fn only_the_file_and_the_link_it_leads_through_matter() {
    let scratch = Scratch::new();
    let path = scratch.path().join("pods.yaml");
    let mut watch = DirectoryWatch::new(&path).unwrap();
    let mut heeded = |target: Option<&str>| {
        drop(fs::remove_file(&path));
        if let Some(target) = target {
            symlink(target, &path).unwrap();
        }
        watch.note_links();
        ["pods.yaml", "other.yaml", "..data", "sub"].map(|name| watch.leads_to_file(name.as_ref()))
    };
    assert_eq!(heeded(None), [true, false, false, false]);
    assert_eq!(heeded(Some("other.yaml")), [true, true, false, false]);
    assert_eq!(heeded(Some("..data/pods.yaml")), [true, false, true, false]);
    assert_eq!(heeded(Some("./sub/other.yaml")), [true, false, false, true]);
    assert_eq!(heeded(Some("../sub")), [true, false, false, false]);
    assert_eq!(heeded(Some("/sub")), [true, false, false, false]);
}

#[tokio::test]
async fn what_is_not_a_file_is_refused_without_waiting_for_it() {
    let mut world = World::start(|root| fs::create_dir_all(root.join("dir/pods.yaml")).unwrap());
    let is_no_file = |error: &FileError| matches!(error, FileError::NotAPodsFile { .. });
    world.expect_failure(is_no_file).await;
    fs::remove_dir(world.path("pods.yaml")).unwrap();
    world.expect_failure(is_missing).await;
    nix::unistd::mkfifo(&world.path("pods.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    world.expect_failure(is_no_file).await;
}

#[tokio::test]
async fn the_task_ends_when_nobody_listens() {
    let scratch = Scratch::new();
    let (task, source) = FileSource::new(scratch.path().join("pods.yaml"));
    let task = tokio::spawn(task.run());
    drop(source);
    time::timeout(DEADLINE, task).await.unwrap().unwrap();
}

#[test]
fn every_field_is_read() {
    let text = "
namespaces:
  default: {labels: {istio.io/dataplane-mode: ambient}}
  unused: {}
pods:
- name: client
  namespace: default
  uid: 0b1f
  serviceAccount: web
  netns: /run/netns/client
  labels: {app: a}
  annotations: {istio.io/reroute-virtual-interfaces: tap0}
  hostNetwork: true
  phase: Succeeded
  addresses: [10.0.0.7, 'fd00::7']
- {name: bare, namespace: elsewhere, uid: '7'}
";
    let file = parse(text).unwrap();
    let namespaces: Vec<&String> = file.namespaces.keys().collect();
    assert_eq!(namespaces, ["default", "elsewhere", "unused"]);
    let [client, bare] = &*file.pods else {
        panic!("two pods")
    };
    assert_eq!(client.namespace_labels["istio.io/dataplane-mode"], "ambient");
    assert_eq!(
        (client.pod.uid.as_str(), client.pod.name.to_string().as_str()),
        ("0b1f", "default/client")
    );
    assert_eq!(client.pod.service_account, "web");
    assert_eq!(client.pod.netns.as_deref(), Some(Path::new("/run/netns/client")));
    assert_eq!(client.pod.labels["app"], "a");
    assert_eq!(
        client.pod.annotations["istio.io/reroute-virtual-interfaces"],
        "tap0"
    );
    assert!(client.pod.host_network);
    assert_eq!(client.pod.phase, Phase::Succeeded);
    assert_eq!(
        client.pod.addresses,
        [
            "10.0.0.7".parse::<std::net::IpAddr>().unwrap(),
            "fd00::7".parse().unwrap()
        ]
    );
    assert_eq!(
        (bare.pod.service_account.as_str(), bare.pod.phase),
        ("default", Phase::Running)
    );
    assert!(bare.namespace_labels.is_empty() && !bare.pod.host_network && bare.pod.netns.is_none());
}

#[test]
fn mistakes_are_named() {
    let table = [
        (
            "- {name: a, namespace: ns, uid: u}\n- {name: b, namespace: ns, uid: u}",
            "two pods have the uid u",
        ),
        (
            "- {name: a, namespace: ns, uid: u}\n- {name: a, namespace: ns, uid: v}",
            "pod ns/a is listed twice",
        ),
        (
            "- {name: a, namespace: ns, uid: ''}",
            "pod ns/a: the pod UID is empty",
        ),
        (
            "- {name: A, namespace: ns, uid: u}",
            "pod number 1: \"A\" is no pod name",
        ),
        ("- {name: a, namespace: n/s, uid: u}", "\"n/s\" is no namespace"),
        (
            "- {name: a, namespace: ns, uid: u, netns: run/a}",
            "pod ns/a: netns run/a is relative",
        ),
        (
            "- {name: a, namespace: ns, uid: u, service_account: x}",
            "unknown field `service_account`",
        ),
        (
            "- {name: a, namespace: ns, uid: u, addresses: [10.0.0]}",
            "invalid IP address",
        ),
        (
            "- {name: a, namespace: ns, uid: u, phase: running}",
            "unknown variant `running`",
        ),
        (
            "- {name: a, namespace: ns, uid: u, labels: {app: a, app: b}}",
            "duplicate",
        ),
        ("- {name: a, namespace: ns}", "missing field `uid`"),
        (" []\nnamespaces: {a: {}, a: {}}", "duplicate"),
        (" []\nnamespaces: {a: {label: {}}}", "unknown field `label`"),
    ];
    for (list, complaint) in table {
        let message = parse(&format!("pods:\n{list}\n")).unwrap_err().to_string();
        assert!(message.contains(complaint), "{list}: {message}");
    }
    for text in ["", "# nothing", "pods:", "namespaces: {}"] {
        assert!(matches!(parse(text), Err(FormatError::NoList)), "{text:?}");
    }
    assert_eq!(parse("pods: []").unwrap().pods, []);
}
