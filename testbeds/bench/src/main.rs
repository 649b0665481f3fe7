//! Measures Weir against iptables rules that do the same, and against no redirection at all.
#![forbid(unsafe_code)]

mod awake;
mod baseline;
mod bpf;
mod cli;
mod cni;
mod column;
mod compare;
mod cpu;
mod crowd;
mod hooks;
mod load;
mod machine;
mod packets;
mod report;
mod rules;
mod scale;
mod setting;
mod spread;
mod variant;
mod zds_peer;

use anyhow::Result;
use clap::Parser as _;
use weir_testbeds::proxy::{ProxyKind, ZTUNNEL_VARIABLE};

use cli::{Cli, Contract, Part};
use report::Report;
use setting::Setting;
use variant::Variant;

fn main() -> Result<()> {
    let cli = Cli::parse();
    let report = measure(&cli)?;
    report::write(&report, &cli)
}

fn measure(cli: &Cli) -> Result<Report> {
    let mut report = Report::new(cli);
    for kind in proxies()? {
        match cli.contract {
            Contract::InPod => in_pods(&mut report, &kind, cli)?,
            Contract::Node => in_its_own(&mut report, &kind, cli)?,
        }
    }
    if cli.has(Part::Scale) {
        report.scale = Some(scale::run(cli)?);
    }
    if cli.has(Part::Cni) {
        report.starts = Some(cni::run(cli)?);
    }
    Ok(report)
}

fn in_pods(report: &mut Report, kind: &ProxyKind, cli: &Cli) -> Result<()> {
    if cli.has(Part::Compare) {
        report.compared.push(compare::run(Setting::InPod, kind, cli)?);
    }
    if cli.has(Part::Hooks) {
        report.hooks.push(hooks::run(kind, cli)?);
    }
    Ok(())
}

fn in_its_own(report: &mut Report, kind: &ProxyKind, cli: &Cli) -> Result<()> {
    if cli.has(Part::Compare) {
        report.compared.push(compare::run(Setting::Node, kind, cli)?);
    }
    if cli.has(Part::Macvlan) {
        report.compared.push(compare::run(Setting::Macvlan, kind, cli)?);
    }
    if cli.has(Part::Hooks) {
        for (setting, variant) in [(Setting::Node, Variant::Weir), (Setting::Macvlan, Variant::Steer)] {
            report.packets.push(packets::run(setting, variant, kind, cli)?);
        }
    }
    Ok(())
}

/// The stand-in, and the real ztunnel if there is one.
fn proxies() -> Result<Vec<ProxyKind>> {
    let mut kinds = vec![ProxyKind::stand_in()?];
    if std::env::var_os(ZTUNNEL_VARIABLE).is_some() {
        kinds.push(ProxyKind::from_env()?);
    }
    kinds.dedup();
    Ok(kinds)
}
