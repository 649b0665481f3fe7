//! Measures Weir against iptables rules with the semantics of Istio's, and against no redirection at all.
#![forbid(unsafe_code)]

mod baseline;
mod bpf;
mod cli;
mod cni;
mod column;
mod compare;
mod cpu;
mod hooks;
mod load;
mod machine;
mod report;
mod rules;
mod scale;
mod spread;
mod variant;
mod zds_peer;

use anyhow::Result;
use clap::Parser as _;
use weir_testbeds::proxy::{ProxyKind, ZTUNNEL_VARIABLE};

use cli::{Cli, Part};
use report::Report;

fn main() -> Result<()> {
    let cli = Cli::parse();
    let report = measure(&cli)?;
    report::write(&report, &cli)
}

fn measure(cli: &Cli) -> Result<Report> {
    let mut report = Report::new(cli);
    for kind in proxies()? {
        if cli.has(Part::Compare) {
            report.compared.push(compare::run(&kind, cli)?);
        }
        if cli.has(Part::Hooks) {
            report.hooks.push(hooks::run(&kind, cli)?);
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

/// The stand-in, and the real ztunnel if there is one.
fn proxies() -> Result<Vec<ProxyKind>> {
    let mut kinds = vec![ProxyKind::stand_in()?];
    if std::env::var_os(ZTUNNEL_VARIABLE).is_some() {
        kinds.push(ProxyKind::from_env()?);
    }
    kinds.dedup();
    Ok(kinds)
}
