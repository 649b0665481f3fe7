//! For people.

use super::Report;
use super::markdown::{self, figure};
use crate::cni::{Row, Starts};
use crate::column::Column;
use crate::compare::Compared;
use crate::hooks::Hooks;
use crate::packets::{LOAD_TITLES, PerPacket, Program};
use crate::scale::Scale;
use crate::spread::Spread;
use crate::variant::Variant;

/// The whole report as plain tables.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    for compared in &report.compared {
        text += &comparison(compared);
    }
    for hooks in &report.hooks {
        text += &programs(hooks);
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
    text
}

fn adds(starts: &Starts) -> String {
    let mut text = format!(
        "\nCNI ADD, ms{:<18}{:>8}{:>8}{:>11}{:>12}{:>12}{:>16}{:>9}{:>9}{:>9}\n",
        "", "p50", "p99", "empty p99", "added p50", "added p99", "by node", "CPU: it", "plugin", "agent"
    );
    for row in starts.rows() {
        let (p50, p99) = row.added();
        let Row { times, empty, .. } = row;
        let Spread { min, max, .. } = row.added_by_node;
        let by_node = format!("{min:.2} to {max:.2}");
        text += &format!(
            "{:<29}{:>8.2}{:>8.2}{:>11.2}{p50:>12.2}{p99:>12.2}{by_node:>16}{:>9.2}{:>9.2}{:>9.2}\n",
            row.title(),
            times.p50,
            times.p99,
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
        "\n{}, with {} (medians; {ours} against {theirs}: median, min to max of rounds)\n\
         {:<36}{direct:>12}{theirs:>12}{ours:>12}   better by\n",
        compared.setting.title(),
        compared.proxy,
        ""
    );
    for column in Column::ALL {
        text += &format!("{:<36}", column.title());
        for variant in variants {
            let spread = compared.spread(variant, column);
            text += &format!(
                "{:>12}",
                spread.map_or_else(|| "-".to_owned(), |spread| figure(spread.median))
            );
        }
        if let Some(by) = compared.advantage(column) {
            text += &format!("   {:.2} ({:.2} to {:.2})", by.median, by.min, by.max);
        }
        text += "\n";
    }
    for (variant, failures) in compared.failures.iter().filter(|(_, failures)| **failures > 0) {
        text += &format!("failed operations, {}: {failures}\n", variant.name());
    }
    text + "\n" + &markdown::charts(compared)
}

fn programs(hooks: &Hooks) -> String {
    let mut text = format!(
        "\nPrograms of Weir with {}: {:.0} ns per redirection beyond as many empty programs\n\
         Per connection the kernel counts {:.0} ns in {:.0} runs; the guard, if on: {:.0} ns a packet\n\
         {:<20}{:>8}{:>10}{:>14}\n",
        hooks.proxy,
        hooks.redirection(),
        hooks.nanoseconds(),
        hooks.runs(),
        hooks.guard,
        "per connection",
        "runs",
        "ns",
        "beyond empty",
    );
    for program in &hooks.programs {
        text += &format!(
            "{:<20}{:>8.2}{:>10.0}{:>14.0}\n",
            program.name, program.runs, program.nanoseconds, program.net
        );
    }
    for transfer in &hooks.transfers {
        text += &format!(
            "{} MiB over one connection: {} packets, {} runs of programs\n",
            transfer.bytes >> 20,
            transfer.packets,
            transfer.runs
        );
    }
    text
}

fn per_packet(packets: &PerPacket) -> String {
    let [connections, requests, stream] = LOAD_TITLES;
    let mut text = format!(
        "\n{}, with {}: ns per packet, medians of rounds; known: a packet of a known connection, by test runs\n\
         {:<20}{connections:>16}{requests:>12}{stream:>12}{:>12}\n",
        packets.setting.title(),
        packets.proxy,
        "",
        "known"
    );
    for Program { name, loads, known } in &packets.programs {
        let [connections, requests, stream] = loads.map(|load| net(load.map(|cost| cost.net.median)));
        let known = net(*known);
        text += &format!("{name:<20}{connections:>16}{requests:>12}{stream:>12}{known:>12}\n");
    }
    text + &format!(
        "{}\n{}\n\n{}",
        markdown::taken_off(packets),
        markdown::goal(packets),
        markdown::packet_charts(packets)
    )
}

fn net(nanoseconds: Option<f64>) -> String {
    nanoseconds.map_or_else(|| "-".to_owned(), figure)
}

fn pods(scale: &Scale) -> String {
    format!(
        "\nEnrolment of {} pods, one by one: p50 {:.2} ms, p99 {:.2} ms; {} at once: the last after {:.2} s\n\
         From 2 to {} pods: agent {:.1} -> {:.1} MiB, new connections/s {:.0} -> {:.0}, programs {:.0} -> {:.0} ns\n",
        scale.one_by_one,
        scale.enrolment_p50,
        scale.enrolment_p99,
        scale.at_once,
        scale.at_once_slowest,
        scale.pods + 2,
        scale.memory[0],
        scale.memory[1],
        scale.connections[0],
        scale.connections[1],
        scale.nanoseconds[0],
        scale.nanoseconds[1],
    )
}
