//! `./x kube`.

use anyhow::{Result, bail};

use crate::setup;

pub(super) fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["programs"] => programs(setup::API_SERVER),
        ["programs", "--all"] => programs(setup::CLUSTER),
        _ => bail!("usage: ./x kube programs [--all]"),
    }
}

fn programs(programs: &[&str]) -> Result<()> {
    println!("{}", setup::kubernetes(programs)?.display());
    Ok(())
}
