//! One tiny program per kernel function, which the verifier takes only if the function can be called there.

use std::os::fd::{AsFd as _, OwnedFd};

use super::trial;
use crate::check::Outcome;
use crate::check::feature::HelperCall as Call;
use crate::datapath::sys::Register::{R0, R1, R2, R3, R4, R5, R10};
use crate::datapath::sys::{AttachType, Insn, MapType, ProgramType, Register};

/// `struct bpf_sock_addr`, member `sk`.
const SOCK_ADDR_SK: i16 = 64;
/// `struct __sk_buff`, member `sk`.
const SKB_SK: i16 = 168;
/// What every program returns: passes at each of the hooks.
const PASS: i32 = 1;

/// Functions by the number that `bpf(2)` documents.
mod number {
    pub const SETSOCKOPT: i32 = 49;
    pub const SOCK_HASH_UPDATE: i32 = 70;
    pub const GET_CURRENT_CGROUP_ID: i32 = 80;
    pub const SK_RELEASE: i32 = 86;
    pub const SKC_LOOKUP_TCP: i32 = 99;
    pub const SK_STORAGE_GET: i32 = 107;
    pub const GET_NETNS_COOKIE: i32 = 122;
    pub const GET_CURRENT_ANCESTOR_CGROUP_ID: i32 = 123;
    pub const SK_ASSIGN: i32 = 124;
    pub const RINGBUF_OUTPUT: i32 = 130;
    pub const REDIRECT_PEER: i32 = 155;
}

/// A type of program and where it is attached.
type Hook = (ProgramType, Option<AttachType>);
const CONNECT: Hook = (ProgramType::SOCK_ADDR, Some(AttachType::CONNECT4));
const BIND: Hook = (ProgramType::SOCK_ADDR, Some(AttachType::BIND4));
const SOCK_OPS: Hook = (ProgramType::SOCK_OPS, None);
const SK_LOOKUP: Hook = (ProgramType::SK_LOOKUP, Some(AttachType::SK_LOOKUP));
const CLASSIFIER: Hook = (ProgramType::SCHED_CLS, None);

/// Loads the program that makes the call.
pub fn load(call: Call) -> Result<OwnedFd, Outcome> {
    match call {
        Call::NetnsCookieInConnect => accepted(CONNECT, &[Insn::call(number::GET_NETNS_COOKIE)]),
        Call::NetnsCookieInSockOps => accepted(SOCK_OPS, &[Insn::call(number::GET_NETNS_COOKIE)]),
        Call::SkStorageInConnect => sk_storage(),
        Call::SetsockoptInConnect => accepted(CONNECT, &setsockopt(libc::SO_MARK)),
        Call::SetsockoptInBind => accepted(BIND, &setsockopt(libc::SO_MARK)),
        Call::CgroupIdInConnect => accepted(CONNECT, &[Insn::call(number::GET_CURRENT_CGROUP_ID)]),
        Call::AncestorCgroupIdInConnect => accepted(
            CONNECT,
            &[
                Insn::set(R1, 0),
                Insn::call(number::GET_CURRENT_ANCESTOR_CGROUP_ID),
            ],
        ),
        Call::SockHashUpdateInSockOps => sock_hash_update(),
        // This hook takes no socket too: it undoes an assignment.
        Call::SkAssignInSkLookup => accepted(
            SK_LOOKUP,
            &[Insn::set(R2, 0), Insn::set(R3, 0), Insn::call(number::SK_ASSIGN)],
        ),
        Call::SkcLookupInClassifier => accepted(CLASSIFIER, &skc_lookup()),
        Call::SkAssignInClassifier => accepted(CLASSIFIER, &sk_assign_own_socket()),
        Call::RedirectPeerInClassifier => accepted(
            CLASSIFIER,
            &[
                Insn::set(R1, 1),
                Insn::set(R2, 0),
                Insn::call(number::REDIRECT_PEER),
            ],
        ),
        Call::RingbufInConnect => ringbuf_output(),
    }
}

fn accepted((kind, attach): Hook, body: &[Insn]) -> Result<OwnedFd, Outcome> {
    trial::program(
        kind,
        attach,
        &[body, &[Insn::set(R0, PASS), Insn::exit()]].concat(),
    )
}

/// Points `register` at eight zero bytes on the stack.
fn eight_zeros(register: Register) -> [Insn; 3] {
    [
        Insn::store64(R10, -8, 0),
        Insn::copy(register, R10),
        Insn::add(register, -8),
    ]
}

/// `bpf_setsockopt(ctx, SOL_SOCKET, option, &0, 4)`
fn setsockopt(option: i32) -> Vec<Insn> {
    let call = [
        Insn::set(R2, libc::SOL_SOCKET),
        Insn::set(R3, option),
        Insn::set(R5, 4),
        Insn::call(number::SETSOCKOPT),
    ];
    [&eight_zeros(R4)[..], &call].concat()
}

/// `bpf_sk_storage_get(map, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE)`
fn sk_storage() -> Result<OwnedFd, Outcome> {
    let map = trial::map(MapType::SK_STORAGE)?;
    let socket = [Insn::load64(R2, R1, SOCK_ADDR_SK)];
    let call = [
        Insn::set(R3, 0),
        Insn::set(R4, 1),
        Insn::call(number::SK_STORAGE_GET),
    ];
    accepted(
        CONNECT,
        &[&socket[..], &Insn::load_map(R1, map.as_fd()), &call].concat(),
    )
}

/// `bpf_sock_hash_update(ctx, map, &key, BPF_ANY)`
fn sock_hash_update() -> Result<OwnedFd, Outcome> {
    let map = trial::map(MapType::SOCKHASH)?;
    let call = [Insn::set(R4, 0), Insn::call(number::SOCK_HASH_UPDATE)];
    accepted(
        SOCK_OPS,
        &[&Insn::load_map(R2, map.as_fd())[..], &eight_zeros(R3), &call].concat(),
    )
}

/// `bpf_ringbuf_output(map, &data, 8, 0)`
fn ringbuf_output() -> Result<OwnedFd, Outcome> {
    let map = trial::map(MapType::RINGBUF)?;
    let call = [
        Insn::set(R3, 8),
        Insn::set(R4, 0),
        Insn::call(number::RINGBUF_OUTPUT),
    ];
    accepted(
        CONNECT,
        &[&Insn::load_map(R1, map.as_fd())[..], &eight_zeros(R2), &call].concat(),
    )
}

/// `bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0)`, and the release that goes with it.
fn skc_lookup() -> [Insn; 11] {
    [
        Insn::store64(R10, -8, 0),
        Insn::store64(R10, -16, 0),
        Insn::copy(R2, R10),
        Insn::add(R2, -16),
        Insn::set(R3, 12),
        Insn::set(R4, -1),
        Insn::set(R5, 0),
        Insn::call(number::SKC_LOOKUP_TCP),
        Insn::skip_if_zero(R0, 2),
        Insn::copy(R1, R0),
        Insn::call(number::SK_RELEASE),
    ]
}

/// `bpf_sk_assign(ctx, ctx->sk, 0)`, if there is a socket.
fn sk_assign_own_socket() -> [Insn; 4] {
    [
        Insn::load64(R2, R1, SKB_SK),
        Insn::skip_if_zero(R2, 2),
        Insn::set(R3, 0),
        Insn::call(number::SK_ASSIGN),
    ]
}
