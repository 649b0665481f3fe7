//! Somebody else's programs at an interface, as Calico's eBPF mode has them.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use futures::StreamExt as _;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcMessage, TcOption};
use nix::libc::EEXIST;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use weir_agent::datapath::sys::{self, AttachType, Insn, ProgramSpec, ProgramType, Register, Target};
use weir_netdetect::facts::Direction;
use weir_testbeds::netns::Netns;

/// The program has nothing to say: the next one decides, or the kernel.
const GO_ON: i32 = -1;
const CLSACT: TcHandle = TcHandle {
    major: 0xffff,
    minor: 0xfff1,
};
/// The filters of a clsact qdisc for packets that arrive, and for those that leave.
const ARRIVING: u16 = 0xfff2;
const LEAVING: u16 = 0xfff3;
/// ETH_P_ALL, as it is on the wire.
const ALL_PROTOCOLS: u32 = 0x0300;

/// Loads a program of this name that lets everything go on.
pub fn load(name: &str) -> OwnedFd {
    sys::prog_load(&ProgramSpec {
        kind: ProgramType::SCHED_CLS,
        attach: None,
        insns: &[Insn::set(Register::R0, GO_ON), Insn::exit()],
        license: c"GPL",
        name,
    })
    .unwrap()
}

/// Attaches it by TCX, after those that are there; it goes with the descriptor.
pub fn attach_tcx(netns: &Netns, interface: u32, program: &OwnedFd, attach: AttachType) -> OwnedFd {
    netns.run(|| sys::link_create(program.as_fd(), Target::Interface(interface), attach, 0).unwrap())
}

/// Attaches it as a filter of a clsact qdisc, which is made if there is none.
pub fn attach_clsact(
    netns: &Netns,
    interface: u32,
    (program, name): (&OwnedFd, &str),
    direction: Direction,
    priority: u16,
) {
    let index = i32::try_from(interface).unwrap();
    let mut qdisc = TcMessage::with_index(index);
    qdisc.header.parent = CLSACT;
    qdisc.header.handle.major = CLSACT.major;
    qdisc.attributes.push(TcAttribute::Kind("clsact".to_owned()));
    let mut filter = TcMessage::with_index(index);
    filter.header.parent = TcHandle {
        minor: match direction {
            Direction::Ingress => ARRIVING,
            Direction::Egress => LEAVING,
        },
        ..CLSACT
    };
    filter.header.info = u32::from(priority) << 16 | ALL_PROTOCOLS;
    let options = [
        TcFilterBpfOption::ProgFd(program.as_raw_fd().unsigned_abs()),
        TcFilterBpfOption::ProgName(name.to_owned()),
        TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
    ];
    filter.attributes = vec![
        TcAttribute::Kind("bpf".to_owned()),
        TcAttribute::Options(options.map(TcOption::Bpf).to_vec()),
    ];
    for (request, exists) in [
        (RouteNetlinkMessage::NewQueueDiscipline(qdisc), &[-EEXIST][..]),
        (RouteNetlinkMessage::NewTrafficFilter(filter), &[]),
    ] {
        netns
            .netlink(async |netlink| {
                send(netlink.handle().clone(), request.clone(), exists).await;
                Ok(())
            })
            .unwrap();
    }
}

async fn send(mut handle: rtnetlink::Handle, request: RouteNetlinkMessage, fine: &[i32]) {
    let mut message = NetlinkMessage::from(request);
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    let mut answers = handle.request(message).unwrap();
    while let Some(answer) = answers.next().await {
        if let NetlinkPayload::Error(error) = answer.payload {
            let code = error.code.map(i32::from);
            let is_fine = code.is_none_or(|code| fine.contains(&code));
            assert!(is_fine, "{}", error.to_io());
        }
    }
}
