//! The system calls that aya lacks, against the running kernel. Needs root.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod cgroup;
mod own_bpffs;

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

use weir_agent::datapath::sys::{
    self, AttachType, Insn, LinkTarget, MapError, MapSpec, MapType, Objects, ProgramSpec, ProgramType,
    RawMap, Register, Target, TestInput,
};

use weir_agent::inside;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::netns::Netns;

use cgroup::ChildCgroup;

#[test]
fn bpf_a_kernel_that_tells_cookies_tells_each_namespace_its_own() {
    let other_kind = fs::File::open("/proc/self/ns/mnt").unwrap();
    assert_eq!(inside::told_cookie(other_kind.as_fd()), None);
    let no_namespace = fs::File::open("/dev/null").unwrap();
    assert_eq!(inside::told_cookie(no_namespace.as_fd()), None);
    let own = fs::File::open("/proc/self/ns/net").unwrap();
    let tells = inside::told_cookie(own.as_fd()).is_some();
    assert_eq!(
        inside::tells_cookies(),
        tells,
        "another number than the cookie is of no use"
    );
    for _ in 0..2 {
        let netns = Netns::new().unwrap();
        let cookie = inside::cookie(netns.as_fd()).unwrap();
        assert_eq!(inside::told_cookie(netns.as_fd()), tells.then_some(cookie));
    }
}

/// A `connect4` program that allows or refuses everything.
fn connect4(name: &str, allow: bool) -> OwnedFd {
    let insns = [Insn::set(Register::R0, allow.into()), Insn::exit()];
    load(ProgramType::SOCK_ADDR, Some(AttachType::CONNECT4), &insns, name)
}

fn load(kind: ProgramType, attach: Option<AttachType>, insns: &[Insn], name: &str) -> OwnedFd {
    sys::prog_load(&ProgramSpec {
        kind,
        attach,
        insns,
        license: c"GPL",
        name,
    })
    .unwrap()
}

fn hash(name: &str, kind: MapType) -> RawMap {
    let spec = MapSpec {
        kind,
        key_size: 4,
        value_size: 8,
        max_entries: 4,
        name,
    };
    RawMap::new(sys::map_create(&spec).unwrap()).unwrap()
}

/// A port on loopback that answers, and a script that succeeds when it can connect to it.
fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (
        listener,
        format!("(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null"),
    )
}

/// Runs a line of bash in a cgroup.
fn run_in(cgroup: &ChildCgroup, script: &str) -> ExitStatus {
    // It waits for a line, so that nothing of the script runs before it is in the cgroup.
    let mut bash = Command::new("bash");
    bash.arg("-c")
        .arg(format!("read; {script}"))
        .stdin(Stdio::piped());
    let mut child = Waiting(bash.spawn().unwrap());
    fs::write(cgroup.path().join("cgroup.procs"), child.0.id().to_string()).unwrap();
    child.0.stdin.take().unwrap().write_all(b"\n").unwrap();
    child.0.wait().unwrap()
}

/// Ends the process if the test ends first.
struct Waiting(Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is the usual case.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn bpf_typed_entries_have_the_size_of_the_map() {
    let map = hash("weir_typed", MapType::HASH);
    assert_eq!(map.get::<u32, u64>(&7).unwrap(), None);
    map.set(&7_u32, &(1_u64 << 40)).unwrap();
    assert_eq!(map.get(&7_u32).unwrap(), Some(1_u64 << 40));
    for wrong in [map.set(&7_u64, &1_u64), map.set(&7_u32, &1_u32)] {
        assert!(matches!(wrong, Err(MapError::Size { .. })), "{wrong:?}");
    }
    let narrow = map.get::<u32, u32>(&7);
    assert!(matches!(narrow, Err(MapError::Size { .. })), "{narrow:?}");
}

#[test]
fn a_bad_program_is_refused_with_the_verifiers_words() {
    let refused = sys::prog_load(&ProgramSpec {
        kind: ProgramType::SCHED_CLS,
        attach: None,
        insns: &[Insn::copy(Register::R0, Register::R7), Insn::exit()],
        license: c"GPL",
        name: "weir_bad",
    })
    .unwrap_err();
    assert!(refused.log.contains("R7 !read_ok"), "{refused}");
    assert_eq!(refused.error.call, "BPF_PROG_LOAD");
    assert!(
        refused
            .to_string()
            .starts_with("BPF_PROG_LOAD of program weir_bad (sched_cls): "),
        "{refused}"
    );
}

#[test]
fn a_link_swaps_its_program_in_place_and_says_where_it_is() {
    let cgroup = ChildCgroup::new();
    let (_listener, connect) = listener();
    let (allow, refuse) = (connect4("weir_allow", true), connect4("weir_refuse", false));
    let link = sys::link_create(allow.as_fd(), Target::Fd(cgroup.as_fd()), AttachType::CONNECT4, 0).unwrap();
    assert!(run_in(&cgroup, &connect).success());

    let wrong = sys::link_update(link.as_fd(), refuse.as_fd(), Some(refuse.as_fd())).unwrap_err();
    assert_eq!(
        wrong.errno(),
        Some(libc::EPERM),
        "the old program was not the one named: {wrong}"
    );
    sys::link_update(link.as_fd(), refuse.as_fd(), Some(allow.as_fd())).unwrap();
    assert!(!run_in(&cgroup, &connect).success(), "the new program refuses");

    let info = sys::link_info(link.as_fd()).unwrap();
    let refuse_info = sys::program_info(refuse.as_fd()).unwrap();
    assert_eq!(
        info.target,
        LinkTarget::Cgroup {
            id: fs::metadata(cgroup.path()).unwrap().ino(),
            attach: AttachType::CONNECT4
        }
    );
    assert_eq!(info.program_id, refuse_info.id);
    assert_eq!(
        (refuse_info.name.as_str(), refuse_info.kind),
        ("weir_refuse", ProgramType::SOCK_ADDR)
    );
    let attached = sys::prog_query(Target::Fd(cgroup.as_fd()), AttachType::CONNECT4).unwrap();
    assert_eq!(attached.programs, [refuse_info.id]);
    let effective = sys::prog_query_effective(cgroup.as_fd(), AttachType::CONNECT4).unwrap();
    assert!(effective.programs.contains(&refuse_info.id), "{effective:?}");

    sys::link_detach(link.as_fd()).unwrap();
    assert!(
        run_in(&cgroup, &connect).success(),
        "nothing is attached any more"
    );
    let gone = sys::link_update(link.as_fd(), allow.as_fd(), None).unwrap_err();
    assert!(gone.is_gone(), "{gone}");
}

#[test]
fn objects_are_found_by_id() {
    let program = connect4("weir_by_id", true);
    let map = hash("weir_by_id", MapType::HASH);
    let id = sys::program_info(program.as_fd()).unwrap().id;
    let map_id = sys::map_info(map.as_fd()).unwrap().id;
    let ids = |kind| {
        sys::objects(kind)
            .map(|object| object.unwrap().0)
            .collect::<Vec<_>>()
    };
    assert!(ids(Objects::Programs).contains(&id));
    assert!(ids(Objects::Maps).contains(&map_id));

    let again = sys::fd_by_id(Objects::Programs, id).unwrap();
    assert_eq!(
        sys::program_info(again.as_fd()).unwrap(),
        sys::program_info(program.as_fd()).unwrap()
    );
    assert!(
        sys::fd_by_id(Objects::Links, u32::MAX - 1)
            .unwrap_err()
            .is_absent()
    );
}

#[test]
fn a_pin_outlives_its_descriptor() {
    own_bpffs::with(|directory| {
        let cgroup = ChildCgroup::new();
        let program = connect4("weir_pinned", true);
        let link = sys::link_create(
            program.as_fd(),
            Target::Fd(cgroup.as_fd()),
            AttachType::CONNECT4,
            0,
        )
        .unwrap();
        let id = sys::link_info(link.as_fd()).unwrap().id;
        let pin = directory.join("weir_pinned");
        assert!(sys::obj_get(&pin).unwrap_err().is_absent());
        sys::obj_pin(link.as_fd(), &pin).unwrap();
        drop((link, program));

        let link = sys::obj_get(&pin).unwrap();
        assert_eq!(sys::link_info(link.as_fd()).unwrap().id, id);
        let taken = sys::obj_pin(link.as_fd(), &pin).unwrap_err();
        assert_eq!(taken.errno(), Some(libc::EEXIST), "{taken}");
        assert_eq!(taken.object, pin.display().to_string());
    });
}

#[test]
fn a_map_gives_back_what_was_put_in() {
    let map = hash("weir_bytes", MapType::HASH);
    assert_eq!((map.key_size(), map.value_size()), (4, 8));
    assert_eq!(map.next_key(None).unwrap(), None);
    map.update(&[1; 4], &[10; 8]).unwrap();
    map.update(&[2; 4], &[20; 8]).unwrap();
    assert_eq!(map.lookup(&[1; 4]).unwrap(), Some(vec![10; 8]));
    assert_eq!(map.lookup(&[3; 4]).unwrap(), None);

    let first = map.next_key(None).unwrap().unwrap();
    let second = map.next_key(Some(&first)).unwrap().unwrap();
    let mut keys = [first, second.clone()];
    keys.sort();
    assert_eq!(keys, [vec![1; 4], vec![2; 4]]);
    assert_eq!(map.next_key(Some(&second)).unwrap(), None);

    assert!(map.delete(&[1; 4]).unwrap());
    assert!(!map.delete(&[1; 4]).unwrap(), "it was gone already");
    let error = map.update(&[1; 3], &[0; 8]).unwrap_err();
    assert_eq!(error.to_string(), "map weir_bytes: a key has 4 bytes, not 3");
}

#[test]
fn a_per_cpu_map_takes_one_value_for_each_cpu() {
    let map = hash("weir_percpu", MapType::PERCPU_HASH);
    let value = vec![7; 8 * aya::util::nr_cpus().unwrap()];
    map.update(&[1; 4], &value).unwrap();
    assert_eq!(map.lookup(&[1; 4]).unwrap(), Some(value));
    assert!(matches!(
        map.update(&[1; 4], &[7; 8 - 1]),
        Err(MapError::Size { part: "value", .. })
    ));
}

#[test]
fn a_socket_goes_into_a_map_of_sockets() {
    let map = hash("weir_sockets", MapType::SOCKHASH);
    let (listener, _) = listener();
    map.update_socket(&[1; 4], listener.as_fd()).unwrap();
    assert!(
        map.lookup(&[1; 4])
            .unwrap()
            .is_some_and(|cookie| cookie != [0; 8])
    );
    drop(listener);
    // A process that another test begins at this moment has the descriptor too, until it runs its program.
    let left = || map.lookup(&[1; 4]).unwrap().is_none().then_some(());
    eventually(PATIENCE, left).expect("a closed socket leaves the map by itself");
}

#[test]
fn a_run_returns_verdict_packet_and_context() {
    const MARK_OFFSET: i16 = 8;
    let insns = [
        Insn::set(Register::R2, 0x222),
        Insn::store32_from(Register::R1, MARK_OFFSET, Register::R2),
        Insn::set(Register::R0, 2),
        Insn::exit(),
    ];
    let program = load(ProgramType::SCHED_CLS, None, &insns, "weir_run");
    let packet = [0xab; 64];
    let input = TestInput {
        packet: &packet,
        context: &[0; 184],
        repeat: 1,
    };
    let run = sys::prog_test_run(program.as_fd(), &input).unwrap();
    assert_eq!(run.verdict, 2);
    assert_eq!(run.packet, packet);
    assert_eq!(run.context[MARK_OFFSET as usize..][..4], 0x222_u32.to_ne_bytes());
}

#[test]
fn sockets_tell_their_namespace_and_are_copied_from_a_process() {
    let (listener, _) = listener();
    let here = sys::netns_cookie(listener.as_fd()).unwrap();
    let elsewhere = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        sys::netns_cookie(TcpListener::bind("0.0.0.0:0").unwrap().as_fd()).unwrap()
    });
    assert_ne!(here, 0);
    assert_ne!(here, elsewhere.join().unwrap());

    let process = sys::pidfd_open(std::process::id()).unwrap();
    let copy = sys::pidfd_getfd(process.as_fd(), listener.as_raw_fd()).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    TcpStream::connect(address).expect("the copy keeps the port open");
    drop(copy);
    let missing = sys::pidfd_getfd(process.as_fd(), 1_000_000).unwrap_err();
    assert_eq!(missing.errno(), Some(libc::EBADF), "{missing}");
}
