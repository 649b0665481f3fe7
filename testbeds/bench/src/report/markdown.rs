//! The report that is kept.

use super::Report;
use crate::cni::{Starts, Times};
use crate::column::Column;
use crate::compare::Compared;
use crate::hooks::Hooks;
use crate::scale::Scale;
use crate::spread::Spread;
use crate::variant::Variant;

/// What ahead by as much as rounds differ is not.
const NOTHING: f64 = 0.02;

/// The whole report.
pub fn text(report: &Report) -> String {
    let mut text = introduction(report);
    for compared in &report.compared {
        text += &comparison(compared);
    }
    if !report.hooks.is_empty() {
        text += PROGRAMS;
    }
    for hooks in &report.hooks {
        text += &programs(hooks);
    }
    if let Some(scale) = &report.scale {
        text += &pods(scale);
    }
    if let Some(starts) = &report.starts {
        text += &adds(starts);
    }
    text + CAVEATS
}

fn adds(starts: &Starts) -> String {
    let row = |title: &str, times: Times| format!("| {title} | {:.2} | {:.2} |\n", times.p50, times.p99);
    let parallel = starts.parallel;
    let mut text = "\n## Starts of pods with the CNI plugin\n\n| `ADD`, from the program's start to its end, in ms | p50 | p99 |\n|---|---:|---:|\n".to_owned();
    text += &row("one after the other, in the mesh", starts.alone);
    text += &row(&format!("{parallel} at once, in the mesh"), starts.in_mesh);
    text += &row(&format!("{parallel} at once, out of it"), starts.outside);
    text + &row(
        &format!("{parallel} at once, nobody is asked: what starting programs costs"),
        starts.exempt,
    )
}

fn introduction(report: &Report) -> String {
    let machine = &report.machine;
    let others = match machine.other_agents {
        0 => String::new(),
        count => format!(
            " Programs of {count} other Weir agents were attached during the run; they see, and slow, every variant."
        ),
    };
    format!(
        "# Benchmarks

<!-- Written by `./x bench --report`; run it again rather than edit it. -->

Kernel {}, {} cores ({}), load average {} at the start, {}.{others}

1. Two pods with veths as Calico wires them, the proxy in a namespace of its own; every measurement has a world made anew.
2. The variants take turns, {} rounds, another one first in each; {:.1} s per number after a warm-up. Medians; (min to max).
3. Clients are tasks of one thread in the client's pod, in closed loops, the server one thread in its own; 64 bytes there and back.
   A new connection is connect, request, answer, and end of file from the server.
4. iptables: the rules of Istio's node agent with DNS capture, in both pods, and the proxy fed over ZDS by the agent's own server,
   without any program of Weir. Weir: `weir agent` with its defaults. Before each measurement a connection proves its way.
5. \"Better by\" compares Weir with iptables round by round, above 1 is better, whichever direction is; direct is what no mesh costs.
",
        machine.kernel, machine.cores, machine.cpu, machine.load, report.rules, report.rounds, report.seconds
    )
}

fn comparison(compared: &Compared) -> String {
    let mut text = format!(
        "\n## With {}\n\n| | direct | iptables | Weir | better by |\n|---|---:|---:|---:|---:|\n",
        compared.proxy
    );
    for column in Column::ALL {
        text += &format!("| {} |", column.title());
        for variant in Variant::ALL {
            text += &format!(" {} |", cell(compared.spread(variant, column)));
        }
        let by = compared.advantage(column);
        text += &by.map_or_else(
            || " |\n".to_owned(),
            |by| format!(" **{:.2}** ({:.2} to {:.2}) |\n", by.median, by.min, by.max),
        );
    }
    text + &verdict(compared)
}

fn cell(spread: Option<Spread>) -> String {
    spread.map_or_else(String::new, |spread| {
        format!(
            "{} ({} to {})",
            figure(spread.median),
            figure(spread.min),
            figure(spread.max)
        )
    })
}

/// Says which columns are not won, so that nobody has to search for them.
fn verdict(compared: &Compared) -> String {
    let titles = |wanted: &dyn Fn(f64) -> bool| -> Vec<String> {
        let mut subject = "";
        let mut titles = Vec::new();
        for column in Column::ALL {
            let title = column.title();
            let detail = title.strip_prefix("- ");
            if detail.is_none() {
                subject = title;
            }
            if compared.advantage(column).is_some_and(|by| wanted(by.median)) {
                titles.push(detail.map_or_else(|| title.to_owned(), |detail| format!("{subject}: {detail}")));
            }
        }
        titles
    };
    let mut text = "\n".to_owned();
    for (what, titles) in [
        ("Weir is behind", titles(&|by| by < 1.0 - NOTHING)),
        ("No difference", titles(&|by| (by - 1.0).abs() <= NOTHING)),
    ] {
        if !titles.is_empty() {
            text += &format!("{what} in: {}.\n", titles.join("; "));
        }
    }
    for (variant, failures) in compared.failures.iter().filter(|(_, failures)| **failures > 0) {
        text += &format!("Operations that failed with {}: {failures}.\n", variant.name());
    }
    text
}

const PROGRAMS: &str = "
## What the programs cost

Counted by the kernel (`kernel.bpf_stats_enabled`), one client, without the guard. The counting itself adds to every run: an empty
program shows how much, and what is said of a redirection is without it. A connection of an application is several to the kernel:
into the proxy, between the proxies unless they keep one open, and out of the proxy to the server; two of them are redirected.
";

fn programs(hooks: &Hooks) -> String {
    let mut text = format!(
        "\nWith {}, {} connections: **{:.2} µs** per redirection; {:.2} µs per connection with the counting, {:.0} ns a run. The \
         guard, on by default, adds {:.0} ns for each packet that leaves the pod.\n\n| program | runs | ns |\n|---|---:|---:|\n",
        hooks.proxy,
        hooks.connections,
        hooks.redirection() / 1e3,
        hooks.nanoseconds() / 1e3,
        hooks.counting,
        hooks.guard,
    );
    for program in &hooks.programs {
        text += &format!(
            "| `{}` | {:.2} | {:.0} |\n",
            program.name, program.runs, program.nanoseconds
        );
    }
    text += "\n| sent over one connection | packets in the client's pod | runs of all programs |\n|---:|---:|---:|\n";
    for transfer in &hooks.transfers {
        text += &format!(
            "| {} MiB | {} | {} |\n",
            transfer.bytes >> 20,
            transfer.packets,
            transfer.runs
        );
    }
    text
}

fn pods(scale: &Scale) -> String {
    let [memory_before, memory] = scale.memory;
    let [connections_before, connections] = scale.connections;
    let [nanoseconds_before, nanoseconds] = scale.nanoseconds;
    format!(
        "
## Many pods

The proxy's part is small: a ztunnel that only listens, and acknowledges at once, takes the pods beyond the first two.

| | |
|---|---:|
| enrolment of a running pod, p50 of {} | {:.2} ms |
| p99 | {:.2} ms |
| {} pods at once: the last one enrolled after | {:.2} s |

| pods | agent's resident memory | new connections/s | ns in programs per connection |
|---:|---:|---:|---:|
| 2 | {memory_before:.1} MiB | {connections_before:.0} | {nanoseconds_before:.0} |
| {} | {memory:.1} MiB | {connections:.0} | {nanoseconds:.0} |
",
        scale.one_by_one,
        scale.enrolment_p50,
        scale.enrolment_p99,
        scale.at_once,
        scale.at_once_slowest,
        scale.pods + 2,
    )
}

const CAVEATS: &str = "
## What these numbers do not say

- Clients, server and proxy share the machine's cores, so a rate is the cost of the whole path, not of redirection alone.
- A real proxy spends most of its time on TLS, HTTP/2 and system calls. What redirection saves is small beside that.
- Istio also needs a rule in the node's namespace for probes, and nodes have rules of other software. Neither is here.
- CPU time is counted in ticks of 10 ms, and the machine's includes whatever else runs on it.
";

/// A number with as many digits as mean something.
pub fn figure(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::figure;

    #[test]
    fn figures_have_three_digits() {
        assert_eq!([1234.5, 12.34, 1.234].map(figure), ["1234", "12.3", "1.23"]);
    }
}
