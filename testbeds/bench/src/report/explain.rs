//! What the kept report says about how numbers came to be, and what they do not say.

use super::Report;
use crate::cli::Contract;

/// The beginning: machine and method.
pub fn introduction(report: &Report) -> String {
    let machine = &report.machine;
    let others = match machine.other_agents {
        0 => String::new(),
        count => format!(
            " Programs of {count} other Weir agents were attached during the run; they see, and slow, every variant."
        ),
    };
    let (heading, command) = match report.contract {
        Contract::InPod => ("Benchmarks", "./x bench --report"),
        Contract::Node => (
            "Benchmarks with the proxy in a pod of its own",
            "./x bench node --report",
        ),
    };
    format!(
        "# {heading}

<!-- Written by `{command}`; run it again rather than edit it. -->

Kernel {}, {} cores ({}), load average {} at the start, {}.{others}

1. {}
2. The variants take turns, {} rounds, another one first in each; {:.1} s per number after a warm-up. Medians; (min to max).
3. Clients are tasks of one thread in the client's pod, in closed loops, the server one thread in its own namespace; 64 bytes there
   and back. A new connection is connect, request, answer, and end of file from the server. Cores do not sleep while a lone client
   is measured (`/dev/cpu_dma_latency`, if it is there), as to wake them would be most of its time.
4. {} Before each measurement a connection proves its way.
5. \"Better by\" compares the last variant with the one before it round by round, above 1 is better, whichever direction is; direct is
   what no mesh costs.
",
        machine.kernel,
        machine.cores,
        machine.cpu,
        machine.load,
        report.rules,
        world(report.contract),
        report.rounds,
        report.seconds,
        variants(report.contract),
    )
}

const fn world(contract: Contract) -> &'static str {
    match contract {
        Contract::InPod => {
            "Two pods with veths as Calico wires them, the proxy in a namespace of its own; every measurement has a world made anew."
        }
        Contract::Node => {
            "Two pods of one node and a third for the proxy, with veths as Calico wires them and strict checks of the reverse path; \
             on macvlan\n   the server is a host on the LAN. Every measurement has a world made anew."
        }
    }
}

const fn variants(contract: Contract) -> &'static str {
    match contract {
        Contract::InPod => {
            "iptables: the rules of Istio's node agent with DNS capture, in both pods, and the proxy fed over ZDS by the agent's own \
             server,\n   without any program of Weir. Weir: `weir agent` with its defaults."
        }
        Contract::Node => {
            "iptables: the node marks what pods send and receive, a rule routes it to the proxy's veth, and TPROXY there hands it to \
             the\n   proxy's sockets; answers are known by the connection's mark. No program of Weir, and no address is changed. Weir: \
             `weir agent`\n   with its defaults; steer: with `--macvlan-outbound steer`. Both ends see each other's address in all but \
             socket, whose server\n   sees the proxy's. The stand-in goes straight from one pod of the node to the other, as ztunnel did \
             up to 1.21.6; a later ztunnel\n   makes a tunnel to itself, which has to be turned back, and so passes twice."
        }
    }
}

/// Before the numbers of programs, per connection.
pub const PROGRAMS: &str = "
## What the programs cost

Counted by the kernel (`kernel.bpf_stats_enabled`), one client, without the guard. The counting itself adds to every run: an empty
program shows how much, and what is said of a redirection is without it. A connection of an application is several to the kernel:
into the proxy, between the proxies unless they keep one open, and out of the proxy to the server; two of them are redirected.
";

/// Before the numbers of programs, per packet.
pub const PACKETS: &str = "
## What the programs cost

Nanoseconds per packet: the kernel's time in a program by its count of runs (`kernel.bpf_stats_enabled`), over three routes together:
from pod to pod, from the world to a pod, from a pod to the world. Packets are those of new connections, of small requests on
connections that are open, and of one stream without end, whose packets the kernel has merged. Medians of the rounds; (min to max).
To look at the clock costs as much as a small program, and more where caches are cold. So right before each program runs one that
does nothing, on the same packets, and what that takes is taken off. Known: one packet of a known connection over and over, by the
kernel's test runs (`BPF_PROG_TEST_RUN`), without the counting and less an empty program there: what the instructions take when
all they touch is at hand. The rest of what live packets take is waiting for memory. A connection's first packet is the dear one:
what is decided is counted, kept, and must not be contradicted by what is remembered of an earlier connection between the same ends;
a new connection has few others. Programs that address a frame so that they would take it for another one the next time have no such
number.
";

/// The end.
pub const CAVEATS: &str = "
## What these numbers do not say

- Clients, server and proxy share the machine's cores, so a rate is the cost of the whole path, not of redirection alone.
- A real proxy spends most of its time on TLS, HTTP/2 and system calls. What redirection saves is small beside that. Samples of two
  cores that make new connections through ztunnel in the pods (`perf`, Linux 6.18) found 17 % in netfilter and what it asks for
  again, such as routes, with the rules; with Weir 2 % in programs and in calls that there would be none of without it. The rest is
  TCP and ztunnel, so no redirector can make much more than 1.2 times as many: expect 1.2 there, 1.3 and more of what is open.
- Istio also needs a rule in the node's namespace for probes, and nodes have rules of other software. Neither is here.
- CPU time is counted in ticks of 10 ms, and the machine's includes whatever else runs on it.
";
