//! The report that is kept.

use super::{Report, bars, explain};
use crate::cni::{Row, Starts};
use crate::column::Column;
use crate::compare::Compared;
use crate::hooks::Hooks;
use crate::packets::{GOAL, LOAD_TITLES, PerPacket, Program};
use crate::scale::Scale;
use crate::spread::Spread;
use crate::variant::Variant;

/// What ahead by as much as rounds differ is not.
const NOTHING: f64 = 0.02;

/// The whole report.
pub fn text(report: &Report) -> String {
    let mut text = explain::introduction(report);
    for compared in &report.compared {
        text += &comparison(compared);
    }
    if !report.hooks.is_empty() {
        text += explain::PROGRAMS;
    }
    for hooks in &report.hooks {
        text += &programs(hooks);
    }
    if !report.packets.is_empty() {
        text += explain::PACKETS;
    }
    for packets in &report.packets {
        text += &per_packet(packets);
    }
    if let Some(scale) = &report.scale {
        text += &pods(scale);
    }
    if let Some(starts) = &report.starts {
        text += &adds(starts);
    }
    text + explain::CAVEATS
}

fn adds(starts: &Starts) -> String {
    let mut text = "\n## Starts of pods with the CNI plugin\n\n\
        From the moment at which all are asked to start until one has ended, in ms, beside as many empty static programs, which any \
        plugin costs. CPU for one: of the empty program, of the plugin, of the agent; ztunnel's part, which is in the times, \
        is in none of them, nor is what the agent does when pods have started: the guard, a look at the wiring, programs for the \
        next pods. Where all CPUs are busy, what is added at the end is their added CPU time, shared by the cores.\n\n\
        | `ADD` | p50 | p99 | empty p50 | empty p99 | added p50 | added p99 | by node | CPU empty | CPU plugin | CPU agent |\n\
        |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for row in starts.rows() {
        let (p50, p99) = row.added();
        let Row { times, empty, .. } = row;
        let Spread { min, max, .. } = row.added_by_node;
        text += &format!(
            "| {} | {:.2} | {:.2} | {:.2} | {:.2} | {p50:.2} | {p99:.2} | {min:.2} to {max:.2} | {:.2} | {:.2} | {:.2} |\n",
            row.title(),
            times.p50,
            times.p99,
            empty.p50,
            empty.p99,
            empty.cpu_program,
            times.cpu_program,
            times.cpu_agent,
        );
    }
    text
}

fn comparison(compared: &Compared) -> String {
    let variants = compared.setting.variants();
    let [direct, theirs, ours] = variants.map(Variant::name);
    let mut text = format!(
        "\n## {}, with {}\n\n| | {direct} | {theirs} | {ours} | better by |\n|---|---:|---:|---:|---:|\n",
        compared.setting.title(),
        compared.proxy
    );
    for column in Column::ALL {
        text += &format!("| {} |", column.title());
        for variant in variants {
            text += &format!(" {} |", cell(compared.spread(variant, column)));
        }
        let by = compared.advantage(column);
        text += &by.map_or_else(
            || " |\n".to_owned(),
            |by| format!(" **{:.2}** ({:.2} to {:.2}) |\n", by.median, by.min, by.max),
        );
    }
    text + &verdict(compared) + &format!("\n```text\n{}```\n", charts(compared))
}

/// The rates as bars.
pub fn charts(compared: &Compared) -> String {
    let chart = |column: Column| {
        let bar = |variant: Variant| Some((variant.name(), compared.spread(variant, column)?));
        let bars: Vec<_> = compared.setting.variants().into_iter().filter_map(bar).collect();
        bars::chart(column.title(), &bars)
    };
    let rates = Column::ALL.into_iter().filter(|column| column.more_is_better());
    rates.map(chart).collect()
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
    let [_, _, ours] = compared.setting.variants();
    for (what, titles) in [
        (
            format!("{} is behind", ours.name()),
            titles(&|by| by < 1.0 - NOTHING),
        ),
        (
            "No difference".to_owned(),
            titles(&|by| (by - 1.0).abs() <= NOTHING),
        ),
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

fn programs(hooks: &Hooks) -> String {
    let mut text = format!(
        "\nWith {}, {} connections: **{:.2} µs** per redirection beyond as many empty programs at the same hooks; per \
         connection the kernel counts {:.2} µs in {:.0} runs, its looks at the clock included. The guard, on by default, adds \
         {:.0} ns for each packet that leaves the pod.\n\n| program | runs | ns | beyond empty |\n|---|---:|---:|---:|\n",
        hooks.proxy,
        hooks.connections,
        hooks.redirection() / 1e3,
        hooks.nanoseconds() / 1e3,
        hooks.runs(),
        hooks.guard,
    );
    for program in &hooks.programs {
        text += &format!(
            "| `{}` | {:.2} | {:.0} | {:.0} |\n",
            program.name, program.runs, program.nanoseconds, program.net
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

fn per_packet(packets: &PerPacket) -> String {
    let mut text = format!(
        "\n{}, with {}:\n\n| program | new connections | requests | one stream | known |\n|---|---:|---:|---:|---:|\n",
        packets.setting.title(),
        packets.proxy
    );
    for program in &packets.programs {
        text += &format!("| `{}` |", program.name);
        for load in program.loads {
            text += &format!(" {} |", cell(load.map(|cost| cost.net)));
        }
        text += &format!(" {} |\n", program.known.map_or_else(String::new, figure));
    }
    text + &format!(
        "\n{}\n{}\n\n```text\n{}```\n",
        taken_off(packets),
        goal(packets),
        packet_charts(packets)
    )
}

/// What empty programs take, and is taken off.
pub fn taken_off(packets: &PerPacket) -> String {
    let each = LOAD_TITLES.iter().enumerate().filter_map(|(load, title)| {
        let costs = packets.programs.iter().filter_map(|program| program.loads[load]);
        let spread = Spread::of(costs.map(|cost| cost.empty.median))?;
        Some(format!(
            "{} to {} with {title}",
            figure(spread.min),
            figure(spread.max)
        ))
    });
    let each: Vec<String> = each.collect();
    format!(
        "Taken off, ns of an empty program at each hook: {}.",
        each.join(", ")
    )
}

/// Whether programs take less than they may.
pub fn goal(packets: &PerPacket) -> String {
    let over: Vec<&str> = packets.over_goal().collect();
    match over.as_slice() {
        [] => format!("Every program is below the goal of {GOAL:.0} ns under every load."),
        over => format!("Over the goal of {GOAL:.0} ns: {}.", over.join(", ")),
    }
}

/// The programs as bars: each under the load that costs it most, and where it knows the connection.
pub fn packet_charts(packets: &PerPacket) -> String {
    let bars = |cost: fn(&Program) -> Option<Spread>| -> Vec<(&str, Spread)> {
        let programs = packets.programs.iter();
        let costs = programs.map(|program| (program.name.as_str(), cost(program)));
        costs
            .chain([("(goal)", Spread::of([GOAL]))])
            .filter_map(|(name, spread)| Some((name, spread?)))
            .collect()
    };
    bars::chart(
        "ns per packet, under the load that costs most",
        &bars(Program::worst),
    ) + &bars::chart(
        "ns per packet of a known connection, by test runs",
        &bars(|program| Spread::of(program.known)),
    )
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
