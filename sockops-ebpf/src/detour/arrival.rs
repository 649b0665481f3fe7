//! ztunnel accepts a connection: moves what is remembered of it to the accepted socket. It is gone from the map before
//! the port can be another connection's.

use aya_ebpf::bindings::BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB;
use aya_ebpf::macros::sock_ops;
use aya_ebpf::programs::SockOpsContext;
use weir_common::address::Address;
use weir_common::detour::ClientEnd;
use weir_common::flow::SocketNote;
use weir_common::ports;
use weir_common::reason::Reason;
use weir_ebpf_shared::account::account;
use weir_sockops_ebpf::stream::Stream;

use crate::maps::{ORIGINALS, detoured_pod, original};

#[sock_ops]
pub fn weir_arrival(context: SockOpsContext) -> u32 {
    let stream = Stream::new(context);
    if stream.operation() == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB && stream.local().1 == ports::OUTBOUND {
        accepted(&stream);
    }
    1
}

#[inline(always)]
fn accepted(stream: &Stream) {
    let (address, port) = stream.remote();
    let end = ClientEnd {
        address,
        port: u32::from(port),
    };
    if !take_over(stream, end) {
        lost(stream, address);
    }
}

#[inline(always)]
fn take_over(stream: &Stream, end: ClientEnd) -> bool {
    let Some(original) = original(&end) else {
        return false;
    };
    ORIGINALS.remove(end).ok();
    stream.set_note(SocketNote {
        kind: SocketNote::ORIGINAL,
        port: original.port,
        address: original.address,
        netns: 0,
    })
}

/// ztunnel sees its own address as the destination and refuses the connection as a loop. Others than pods whose
/// connections make the detour may dial the port too, to no effect.
#[inline(always)]
fn lost(stream: &Stream, client: Address) {
    if let Some(netns) = detoured_pod(client) {
        account(&stream.connection(netns), Reason::OriginalUnknown);
    }
}
