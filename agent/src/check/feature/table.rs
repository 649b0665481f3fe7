//! The table itself.

use super::Capability::{Bpf, NetAdmin, NetRaw, Perfmon, SysAdmin, SysPtrace};
use super::Path::{Dns, Guard, Node, Rewrite, Socket, Steer, TakeOver, Trace, Virtual};
use super::{Feature, HelperCall as Call, Path, Probe};
use crate::datapath::sys::{AttachType as At, MapType};

const SOCKETS: &[Path] = &[Socket, Dns, Rewrite];
const CLASSIFIERS: &[Path] = &[Virtual, Node, Steer, Guard];

const CONTAINER: &str = "run as root, or give the container the capability";
const CGROUP_BPF: &str = "a kernel with CONFIG_CGROUP_BPF";
const MOUNT_CGROUP2: &str = "mount it, or boot with systemd.unified_cgroup_hierarchy=1";

macro_rules! features {
    ($($name:literal $probe:expr, $needed_by:expr $(, instead $instead:literal)?; $costs:expr; $remedy:expr;)+) => {
        /// What Weir needs; findings are reported in this order.
        pub const FEATURES: &[Feature] = &[$(Feature {
            name: $name,
            probe: $probe,
            needed_by: $needed_by,
            instead: features!(@instead $($instead)?),
            costs: $costs,
            remedy: $remedy,
        }),+];
    };
    (@instead) => { None };
    (@instead $instead:literal) => { Some($instead) };
}

// What the agent needs to start is needed by all paths: it loads the node's programs whatever the contract.
features! {
    "kernel" Probe::Kernel, &[];
        "nothing by itself: the other lines decide"; "Linux 5.15 or newer";
    "btf" Probe::Btf, &[];
        "programs and maps are shown without their types"; "a kernel with CONFIG_DEBUG_INFO_BTF";
    "cgroup2" Probe::Cgroup2, &[Socket, Dns, Rewrite];
        "no place to attach to"; MOUNT_CGROUP2;
    "bpffs" Probe::Bpffs, Path::ALL;
        "nothing can outlive the agent"; "mount -t bpf bpf /sys/fs/bpf";

    "CAP_BPF" Probe::Capability(Bpf), Path::ALL;
        "loads programs, creates maps"; CONTAINER;
    "CAP_NET_ADMIN" Probe::Capability(NetAdmin), Path::ALL;
        "attaches programs, sets rules and routes in pods"; CONTAINER;
    "CAP_SYS_ADMIN" Probe::Capability(SysAdmin), Path::ALL;
        "enters pods' network namespaces, opens objects by id, mounts bpffs"; CONTAINER;
    "CAP_SYS_PTRACE" Probe::Capability(SysPtrace), &[TakeOver];
        "finds running pods' namespaces, copies ztunnel's listeners"; CONTAINER;
    "CAP_PERFMON" Probe::Capability(Perfmon), &[];
        "the verifier adds checks against speculation"; CONTAINER;
    "CAP_NET_RAW" Probe::Capability(NetRaw), &[];
        "frees ztunnel's listener from loopback when virtual machines join a running pod"; CONTAINER;

    "map hash" Probe::Map(MapType::HASH), Path::ALL;
        "pods, own addresses"; "a kernel with CONFIG_BPF_SYSCALL";
    "map percpu_hash" Probe::Map(MapType::PERCPU_HASH), Path::ALL;
        "counters"; "a kernel with CONFIG_BPF_SYSCALL";
    "map lru_hash" Probe::Map(MapType::LRU_HASH), &[Socket, Node, Rewrite];
        "connections that pass"; "Linux 4.10 or newer";
    "map lpm_trie" Probe::Map(MapType::LPM_TRIE), &[Socket, Node, Rewrite, Steer];
        "excluded ranges"; "Linux 4.11 or newer";
    "map sockhash" Probe::Map(MapType::SOCKHASH), &[Socket, Virtual];
        "ztunnel's listeners"; "a kernel with CONFIG_INET and CONFIG_BPF_SYSCALL";
    "map sockmap" Probe::Map(MapType::SOCKMAP), &[Node, Steer];
        "ztunnel's listeners"; "a kernel with CONFIG_INET and CONFIG_BPF_SYSCALL";
    "map sk_storage" Probe::Map(MapType::SK_STORAGE), &[Dns, Rewrite];
        "original destinations"; "Linux 5.2 or newer";
    "map ringbuf" Probe::Map(MapType::RINGBUF), &[Trace];
        "events"; "Linux 5.8 or newer";

    "cgroup/connect4" Probe::CgroupHook(At::CONNECT4), SOCKETS;
        "outbound IPv4"; CGROUP_BPF;
    "cgroup/connect6" Probe::CgroupHook(At::CONNECT6), SOCKETS;
        "outbound IPv6"; CGROUP_BPF;
    "cgroup/sendmsg4" Probe::CgroupHook(At::SENDMSG4), &[Dns];
        "DNS over IPv4"; CGROUP_BPF;
    "cgroup/sendmsg6" Probe::CgroupHook(At::SENDMSG6), &[Dns];
        "DNS over IPv6"; CGROUP_BPF;
    "cgroup/recvmsg4" Probe::CgroupHook(At::RECVMSG4), &[Dns];
        "DNS over IPv4"; CGROUP_BPF;
    "cgroup/recvmsg6" Probe::CgroupHook(At::RECVMSG6), &[Dns];
        "DNS over IPv6"; CGROUP_BPF;
    "cgroup/bind4" Probe::CgroupHook(At::BIND4), &[Socket, Rewrite];
        "apps that listen again get EADDRINUSE"; CGROUP_BPF;
    "cgroup/bind6" Probe::CgroupHook(At::BIND6), &[Socket, Rewrite];
        "apps that listen again get EADDRINUSE"; CGROUP_BPF;
    "cgroup/getpeername4" Probe::CgroupHook(At::GETPEERNAME4), &[Rewrite];
        "apps see ztunnel's address as their peer"; "Linux 5.8 or newer";
    "cgroup/getpeername6" Probe::CgroupHook(At::GETPEERNAME6), &[Rewrite];
        "apps see ztunnel's address as their peer"; "Linux 5.8 or newer";
    "cgroup/getsockopt" Probe::CgroupHook(At::GETSOCKOPT), &[Rewrite];
        "ztunnel cannot ask for the original destination"; "Linux 5.3 or newer";
    "sock_ops" Probe::CgroupHook(At::SOCK_OPS), &[Socket, Rewrite];
        "listeners and connections are not seen"; CGROUP_BPF;
    "sk_lookup" Probe::SkLookup, &[Socket];
        "nothing delivers to ztunnel's listeners"; "Linux 5.9 or newer";
    "tcx" Probe::Tcx, CLASSIFIERS, instead "clsact";
        "order among other people's programs"; "Linux 6.6 or newer";
    "clsact" Probe::Clsact, CLASSIFIERS, instead "tcx";
        "nowhere to attach below Linux 6.6"; "a kernel with CONFIG_NET_SCH_INGRESS";

    "bpf_get_netns_cookie in connect" Probe::Helper(Call::NetnsCookieInConnect), SOCKETS;
        "pods cannot be told apart"; "Linux 5.7 or newer";
    "bpf_get_netns_cookie in sock_ops" Probe::Helper(Call::NetnsCookieInSockOps), Path::ALL;
        "listeners cannot be told apart"; "Linux 5.15 or newer";
    "bpf_sk_storage_get in connect" Probe::Helper(Call::SkStorageInConnect), &[Dns, Rewrite];
        "original destinations"; "Linux 5.8 or newer";
    "bpf_setsockopt in connect" Probe::Helper(Call::SetsockoptInConnect), &[Socket];
        "connections cannot be marked"; "Linux 5.8 or newer";
    "bpf_setsockopt in bind" Probe::Helper(Call::SetsockoptInBind), Path::ALL;
        "apps that listen again get EADDRINUSE"; "Linux 5.12 or newer";
    "SO_REUSEADDR by programs" Probe::Since(6, 1), &[];
        "apps that listen again get EADDRINUSE while captured connections are open"; "Linux 6.1 or newer";
    "bpf_get_current_cgroup_id" Probe::Helper(Call::CgroupIdInConnect), &[Socket, Rewrite];
        "ztunnel is known by its mark alone"; "Linux 5.7 or newer";
    "bpf_get_current_ancestor_cgroup_id" Probe::Helper(Call::AncestorCgroupIdInConnect), &[Socket, Rewrite];
        "host probes cannot be told from pods"; "Linux 5.7 or newer";
    "bpf_sock_hash_update" Probe::Helper(Call::SockHashUpdateInSockOps), &[Socket];
        "ztunnel's listeners are not registered"; "Linux 4.18 or newer";
    "bpf_sk_assign in sk_lookup" Probe::Helper(Call::SkAssignInSkLookup), &[Socket];
        "nothing delivers to ztunnel's listeners"; "Linux 5.9 or newer";
    "bpf_skc_lookup_tcp in tc" Probe::Helper(Call::SkcLookupInClassifier), &[Virtual, Node, Steer];
        "ztunnel's sockets are not found"; "Linux 5.2 or newer";
    "bpf_sk_assign in tc" Probe::Helper(Call::SkAssignInClassifier), &[Virtual, Node, Steer];
        "nothing delivers to ztunnel's listeners"; "Linux 5.7 or newer";
    "bpf_redirect_peer in tc" Probe::Helper(Call::RedirectPeerInClassifier), &[Node];
        "frames cannot reach ztunnel's namespace"; "Linux 5.10 or newer";
    "bpf_ringbuf_output" Probe::Helper(Call::RingbufInConnect), &[Trace];
        "events"; "Linux 5.8 or newer";

    "net.ipv4.tcp_fwmark_accept" Probe::Sysctl("net/ipv4/tcp_fwmark_accept"), &[Socket];
        "replies to spoofed connections leave the pod"; "mount /proc/sys read-write for the agent";
    "net.ipv4.fwmark_reflect" Probe::Sysctl("net/ipv4/fwmark_reflect"), &[Socket];
        "connections to closed ports hang"; "mount /proc/sys read-write for the agent";
    "net.ipv6.fwmark_reflect" Probe::Sysctl("net/ipv6/fwmark_reflect"), &[Socket];
        "connections to closed ports hang"; "mount /proc/sys read-write for the agent; IPv6 enabled";
    "SO_NETNS_COOKIE" Probe::NetnsCookie, Path::ALL;
        "pods cannot be told apart"; "Linux 5.14 or newer";
    "sock_diag" Probe::SocketTable, &[Socket, Node, Rewrite, Steer];
        "listeners and open connections are not found"; "a kernel with CONFIG_INET_DIAG and CONFIG_INET_TCP_DIAG; modprobe tcp_diag";
    "pidfd_getfd" Probe::PidfdGetfd, &[TakeOver];
        "listeners from before Weir are not registered"; "Linux 5.6 or newer; a seccomp profile that allows it";
}
