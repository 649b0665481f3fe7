//! `./x deploy`.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::deploy::{self, Helm};

pub(super) fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["render"] => print(""),
        ["render", file] => print(&fs::read_to_string(file).with_context(|| file.to_owned())?),
        ["write"] => deploy::write(&Helm::find()?),
        ["check"] => deploy::check(&Helm::find()?),
        _ => bail!("say `./x deploy render [VALUES]`, `./x deploy write` or `./x deploy check`"),
    }
}

fn print(values: &str) -> Result<()> {
    print!("{}", deploy::render(&Helm::find()?, values)?);
    Ok(())
}
