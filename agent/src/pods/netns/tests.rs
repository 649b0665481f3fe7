use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};

use super::process::{netns_inode, pod_uids, start_time};
use super::*;
use crate::pods::pod::PodUid;
use crate::pods::scratch::Scratch;

const PROC: &str = "/proc";
const NO_NAMESPACE: NetnsId = NetnsId { inode: 0, device: 0 };

/// Tests stand on the node's network, and may lack the right to look at process 1.
const OWN: &str = "/proc/self/ns/net";

fn own() -> NetnsId {
    NetnsId::of_host(Path::new(OWN)).unwrap()
}

fn uid(text: &str) -> PodUid {
    PodUid::new(text).unwrap()
}

/// A process with a network namespace of its own, in a cgroup of its own that is named as a pod's is.
/// It ends when its standard input closes, so also when the test is killed.
struct Sandbox {
    child: Child,
    cgroup: PathBuf,
}

impl Sandbox {
    fn start(uid: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let cgroup2 = mounts.lines().map(|line| line.split(' ')).find_map(|mut fields| {
            let mount_point = fields.nth(1)?;
            (fields.next()? == "cgroup2").then_some(mount_point)
        });
        let root = cgroup2.expect("a mounted cgroup2 file system, which Weir needs anyway");
        let cgroup = Path::new(root).join(format!("kubepods-pod{}.slice", uid.replace('-', "_")));
        fs::create_dir(&cgroup).unwrap();
        let script = "echo 0 > \"$0/cgroup.procs\" && exec unshare --net sh -c 'echo ready; exec cat'";
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .arg(&cgroup)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut sandbox = Self {
            child: command.spawn().unwrap(),
            cgroup,
        };
        let mut line = String::new();
        BufReader::new(sandbox.child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n", "this test needs to run as root");
        sandbox
    }

    fn netns_path(&self) -> PathBuf {
        Path::new(PROC).join(self.child.id().to_string()).join("ns/net")
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_dir(&self.cgroup));
    }
}

fn unique_uid(test: &str) -> String {
    format!("{test}-{}-4a5b-8c7d", std::process::id())
}

#[test]
fn a_pods_namespace_is_found_by_its_process_and_checked_for_the_address() {
    let text = unique_uid("found");
    let sandbox = Sandbox::start(&text);
    let host = own();
    let expected = NetnsId::of(&File::open(sandbox.netns_path()).unwrap()).unwrap();

    let found = find_by_proc(Path::new(PROC), &uid(&text), host, |netns| netns.id() == expected).unwrap();
    assert_eq!(found.id(), expected);
    assert_ne!(found.id(), host);

    let refused = find_by_proc(Path::new(PROC), &uid(&text), host, |_| false).unwrap_err();
    assert!(
        matches!(&refused, FindError::NoAddress { refused, .. } if *refused == [expected]),
        "{refused}"
    );
    let other = find_by_proc(Path::new(PROC), &uid(&text[1..]), host, |_| true).unwrap_err();
    assert!(matches!(other, FindError::NoProcess { .. }), "{other}");
    // As if the pod's process ran on the node's network.
    let on_host = find_by_proc(Path::new(PROC), &uid(&text), expected, |_| true).unwrap_err();
    assert!(matches!(on_host, FindError::OnlyHost { .. }), "{on_host}");
}

#[test]
fn an_opened_namespace_outlives_its_processes() {
    let text = unique_uid("outlives");
    let sandbox = Sandbox::start(&text);
    let netns = Netns::open(&sandbox.netns_path(), NO_NAMESPACE).unwrap();
    let id = netns.id();
    drop(sandbox);
    assert_eq!(NetnsId::of(&File::from(OwnedFd::from(netns))).unwrap(), id);
}

#[test]
fn only_network_namespaces_of_others_are_opened() {
    let scratch = Scratch::new();
    let file = scratch.path().join("left-over");
    fs::write(&file, "").unwrap();
    let pipe = scratch.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let host = own();
    let open = |path: &Path| Netns::open(path, host).unwrap_err();

    let missing = open(&scratch.path().join("missing"));
    assert!(matches!(missing, NetnsError::Missing { .. }), "{missing}");
    for path in [&file, &pipe] {
        let error = open(path);
        assert!(matches!(error, NetnsError::NotANamespace { .. }), "{error}");
    }
    let error = open(Path::new(OWN));
    assert!(matches!(error, NetnsError::IsHost { .. }), "{error}");
    for kind in ["mnt", "uts", "pid"] {
        let error = open(&Path::new("/proc/self/ns").join(kind));
        assert!(
            matches!(error, NetnsError::OtherNamespace { .. }),
            "{kind}: {error}"
        );
    }
    let error = NetnsId::of_host(&file.join("net")).unwrap_err();
    assert!(matches!(error, NetnsError::NoHost { .. }), "{error}");
}

#[test]
fn cgroup_paths_name_pods_in_every_known_layout() {
    let dashed = "3a6b1c02-7d8e-4f90-a1b2-c3d4e5f60718";
    let underscored = dashed.replace('-', "_");
    let table = [
        format!("0::/kubepods/besteffort/pod{dashed}/5d1e\n"),
        format!("0::/kubepods/pod{dashed}\n"),
        format!(
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{underscored}.slice/cri-containerd-5d1e.scope\n"
        ),
        format!("0::/kubepods.slice/kubepods-pod{underscored}.slice/crio-5d1e.scope\n"),
        format!("0::/../../kubelet-kubepods-besteffort-pod{underscored}.slice/cri-containerd:x:5d1e\n"),
        format!(
            "0::/system.slice/docker-5d.scope/kubelet.slice/kubelet-kubepods-pod{underscored}.slice/5d1e\n"
        ),
        format!("9:name=systemd:/kubepods/pod{dashed}/5d1e\n3:cpuset:/\n0::/\n"),
    ];
    for text in table {
        assert_eq!(pod_uids(&text).collect::<Vec<_>>(), [dashed], "{text}");
    }
    let none = [
        "",
        "0::/",
        "0::/user.slice/podman-1.scope/x",
        "junk",
        "0::/a/pod",
        "0::/kubepods-pod.slice",
        "1:2",
    ];
    for text in none {
        let uids: Vec<_> = pod_uids(text).filter(|uid| *uid == dashed).collect();
        assert_eq!(uids, [""; 0], "{text}");
    }
}

#[test]
fn procfs_text_is_read_with_care() {
    let stat = |name: &str| {
        format!("7 ({name}) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 0 0 18446744073709551615")
    };
    for name in ["sh", "a b", "a) S 1 (b", "((", ""] {
        assert_eq!(start_time(&stat(name)), Some(123_456), "{name}");
    }
    for text in [
        "",
        "7",
        "7 (sh",
        "7 (sh) S 1",
        "7 (sh) S 1 7 7 0 -1 4 1 0 0 0 0 0 0 0 20 0 1 0 x 0",
    ] {
        assert_eq!(start_time(text), None, "{text}");
    }
    assert_eq!(netns_inode("net:[4026531840]"), Some(4_026_531_840));
    for text in ["", "net:[]", "net:[-1]", "mnt:[5]", "net:[5", "/run/netns/a"] {
        assert_eq!(netns_inode(text), None, "{text}");
    }
}

/// A made-up procfs, where processes end halfway and files are missing.
#[test]
fn a_pod_without_a_usable_process_is_reported_as_such() {
    let scratch = Scratch::new();
    let process = |pid: &str, cgroup: &str, stat: &str, netns: Option<&str>| {
        let directory = scratch.path().join(pid);
        fs::create_dir_all(directory.join("ns")).unwrap();
        fs::write(directory.join("cgroup"), cgroup).unwrap();
        fs::write(directory.join("stat"), stat).unwrap();
        if let Some(target) = netns {
            symlink(target, directory.join("ns/net")).unwrap();
        }
    };
    let stat = "1 (x) S 1 7 7 0 -1 4 1 0 0 0 0 0 0 0 20 0 1 0 5 0";
    process("10", "0::/kubepods/poda-1/c", stat, None);
    process("11", "0::/kubepods/podb-1/c", stat, Some("net:[77]"));
    process("12", "0::/kubepods/podc-1/c", stat, Some("net:[1]"));
    process("13", "0::/kubepods/podd-1/c", "nonsense", Some("net:[5]"));
    process("irq", "0::/kubepods/pode-1/c", stat, Some("net:[5]"));
    fs::create_dir(scratch.path().join("14")).unwrap();
    let host = NetnsId { inode: 1, device: 1 };
    let find = |text: &str| find_by_proc(scratch.path(), &uid(text), host, |_| true).unwrap_err();

    for text in ["a-1", "d-1", "e-1", "unknown"] {
        assert!(
            matches!(find(text), FindError::NoProcess { unreadable: 0, .. }),
            "{text}: {}",
            find(text)
        );
    }
    // The link dangles: the process ended after the walk.
    assert!(matches!(find("b-1"), FindError::NoAddress { refused, .. } if refused.is_empty()));
    assert!(matches!(find("b_1"), FindError::NoAddress { .. }));
    assert!(matches!(find("c-1"), FindError::OnlyHost { .. }));
    let nowhere = find_by_proc(&scratch.path().join("nowhere"), &uid("a"), host, |_| true).unwrap_err();
    assert!(matches!(nowhere, FindError::Proc { .. }), "{nowhere}");
}
