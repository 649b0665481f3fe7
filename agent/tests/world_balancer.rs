//! Somebody else's load balancer rewrites service addresses when a connection is made: ztunnel has to see the service.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by a panic"
)]

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};

use weir_agent::datapath::sys::{
    self, AttachType, Insn, ProgramSpec, ProgramType, Register::R0, Register::R1, Register::R2, Target,
};
use weir_testbeds::cgroup;
use weir_testbeds::deadline::PATIENCE;
use weir_testbeds::mesh::Mesh;
use weir_testbeds::proxy::Direction;
use weir_testbeds::traffic::{Client, ClientSpec, Server, ServerSpec};
use weir_testbeds::world::{Family, Wiring};

const PORT: u16 = 8080;
const BALANCER: &str = "balancer_test";
/// Nobody else's tests dial these: the program is at the root of the hierarchy, where load balancers are.
const SERVICE_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 77);
const SERVICE_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x7777, 0, 0, 0, 0, 0, 0x4d);

/// Offsets in `struct bpf_sock_addr`.
const USER_IP4: i16 = 4;
const USER_IP6: i16 = 8;

/// A word as programs see it: the bytes of a packet.
fn word(bytes: &[u8]) -> i32 {
    i32::from_ne_bytes(bytes.try_into().unwrap())
}

/// Replaces words of the address if all of them are the service's.
fn rewrite(service: &[i32], by: &[i32], at: i16) -> Vec<Insn> {
    let offset = |index: usize| at + 4 * i16::try_from(index).unwrap();
    let mut program = Vec::new();
    for (index, &wanted) in service.iter().enumerate() {
        assert!(wanted >= 0, "the comparison is of 64 bits, sign and all");
        program.extend([
            Insn::load32(R2, R1, offset(index)),
            Insn::add(R2, -wanted),
            Insn::skip_if_zero(R2, 2),
            Insn::set(R0, 1),
            Insn::exit(),
        ]);
    }
    for (index, &word) in by.iter().enumerate() {
        program.extend([Insn::set(R2, word), Insn::store32_from(R1, offset(index), R2)]);
    }
    program.extend([Insn::set(R0, 1), Insn::exit()]);
    program
}

fn attach(insns: &[Insn], attach: AttachType) -> OwnedFd {
    let program = sys::prog_load(&ProgramSpec {
        kind: ProgramType::SOCK_ADDR,
        attach: Some(attach),
        insns,
        license: c"GPL",
        name: BALANCER,
    })
    .unwrap();
    let root = File::open(cgroup::root().unwrap()).unwrap();
    sys::link_create(program.as_fd(), Target::Fd(root.as_fd()), attach, 0).unwrap()
}

fn balance(service: IpAddr, to: IpAddr) -> OwnedFd {
    match (service, to) {
        (IpAddr::V4(service), IpAddr::V4(to)) => {
            let insns = rewrite(&[word(&service.octets())], &[word(&to.octets())], USER_IP4);
            attach(&insns, AttachType::CONNECT4)
        }
        (IpAddr::V6(service), IpAddr::V6(to)) => {
            let words = |address: Ipv6Addr| address.octets().chunks(4).map(word).collect::<Vec<_>>();
            attach(
                &rewrite(&words(service), &words(to), USER_IP6),
                AttachType::CONNECT6,
            )
        }
        _ => panic!("two families"),
    }
}

/// `BPF_F_PREORDER` came to cgroups with 6.15, and to some kernels before; without it who attaches first at one cgroup runs
/// first.
fn has_preorder() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split(['.', '-'])
        .map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (6, 15)
}

#[test]
fn ztunnel_sees_the_service_that_a_load_balancer_would_rewrite() {
    // The world's numbering is the same each time; the pods are there before any program.
    let numbers = Mesh::builder("balancer-numbers")
        .wiring(Wiring::PointToPoint)
        .family(Family::Dual)
        .enrolled("client")
        .outside("backend");
    let backend = numbers.start().unwrap().pod("backend").addresses();
    let services = [IpAddr::V4(SERVICE_V4), IpAddr::V6(SERVICE_V6)];
    let _links = services.map(|service| balance(service, backend.like(service).unwrap()));
    let mesh = Mesh::builder("balancer")
        .wiring(Wiring::PointToPoint)
        .family(Family::Dual)
        .enrolled("client")
        .outside("backend")
        .start()
        .unwrap();
    assert_eq!(mesh.pod("backend").addresses(), backend);
    let is_told = mesh.agent.output().contains(BALANCER);
    if is_told {
        assert!(!has_preorder(), "{}", mesh.agent.output());
        // ztunnel does not see the service there.
        return;
    }
    for service in services {
        let at = SocketAddr::new(backend.like(service).unwrap(), PORT);
        let _server = Server::start(&mesh.pod("backend").netns, &ServerSpec::new("backend", at)).unwrap();
        let to = SocketAddr::new(service, PORT);
        let seen = Client::exchange(&mesh.pod("client").netns, &ClientSpec::to(to)).unwrap();
        assert_eq!(
            seen.peer, to,
            "the application sees the service, as without a load balancer"
        );
        assert_ne!(seen.server.peer.port(), seen.local.port(), "it was captured");
        let record = mesh.proxy.wait_for(PATIENCE, |record| {
            record.direction == Direction::Outbound && record.peer == Some(seen.local)
        });
        assert_eq!(record.unwrap().original_destination, Some(to));
    }
}
