//! Looks at redirection from inside pods.
#![forbid(unsafe_code)]

mod check;
mod cli;
mod client;
mod depart;
mod endure;
mod greeting;
mod list;
mod load;
mod report;
mod serve;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread;

use anyhow::{Context as _, Result};
use clap::Parser as _;

use check::{Check, Expectation};
use cli::{Cli, Endure, First, Run};
use load::Endured;
use report::Report;

/// Something is not as it must be.
const FAULTS: u8 = 2;

fn main() -> ExitCode {
    let done = match Cli::parse() {
        Cli::Serve(args) => serve::forever(&args.name, &args.ports).map(|()| ExitCode::SUCCESS),
        Cli::Run(args) => run(&args),
        Cli::First(args) => first(&args),
        Cli::Endure(args) => endure(&args),
        Cli::Depart(args) => depart(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("weir-conformance: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(args: &Run) -> Result<ExitCode> {
    // What the pod says to itself needs somebody who answers.
    let own = serve::bind("self", 0)?;
    let own_port = own.port;
    thread::spawn(move || own.serve());
    let mut report = Report::default();
    for check in list::checks(args, own_port, &mut report) {
        report.add(&check, check.faults());
    }
    print(&report, args.json)?;
    Ok(exit(&report))
}

/// Everything else comes after the connection: it must be the first thing that this container does.
fn first(args: &First) -> Result<ExitCode> {
    let check = Check::new("first act", args.to, Expectation::Captured);
    let faults = check.faults();
    let mut report = Report::default();
    report.add(&check, faults);
    print(&report, false)?;
    Ok(exit(&report))
}

fn endure(args: &Endure) -> Result<ExitCode> {
    let endured = endure::endure(args);
    let name = format!("endures, {} connections", endured.tried);
    tell(&Check::new(&name, args.to, Expectation::Captured), endured)
}

fn depart(args: &Endure) -> Result<ExitCode> {
    let (departure, endured) = depart::endure(args);
    let name = format!("departs, {}", departure.summary());
    tell(&Check::new(&name, args.to, Expectation::Reached), endured)
}

fn tell(check: &Check, endured: Endured) -> Result<ExitCode> {
    let mut report = Report::default();
    report.add(check, endured.told());
    print(&report, false)?;
    Ok(exit(&report))
}

fn print(report: &Report, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(report).context("writing the report")?);
    } else {
        print!("{}", report.table());
    }
    Ok(())
}

fn exit(report: &Report) -> ExitCode {
    if report.is_good() {
        ExitCode::SUCCESS
    } else {
        FAULTS.into()
    }
}

/// IPv4 in an IPv6 socket is still IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
