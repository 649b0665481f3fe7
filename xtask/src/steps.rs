//! A list of checks: each is reported when it ends, and the bad news again at the end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How a check ended that did not fail.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// It could not run, for this reason; that must never read as passed.
    NotChecked(String),
}

/// The checks so far.
#[derive(Default)]
pub(crate) struct Steps {
    count: usize,
    failed: Vec<&'static str>,
    not_checked: Vec<&'static str>,
}

impl Steps {
    /// Runs one check; the next one runs even if this one fails.
    pub(crate) fn run(&mut self, name: &'static str, check: impl FnOnce() -> Result<Outcome>) {
        let start = Instant::now();
        let result = check();
        self.count += 1;
        match &result {
            Ok(Outcome::Passed) => {}
            Ok(Outcome::NotChecked(_)) => self.not_checked.push(name),
            Err(_) => self.failed.push(name),
        }
        eprintln!("{}", line(name, &result, start.elapsed()));
    }

    /// Fails if a check did.
    pub(crate) fn finish(self) -> Result<()> {
        if !self.failed.is_empty() {
            bail!("{}", self.summary());
        }
        eprintln!("x: {}", self.summary());
        Ok(())
    }

    fn summary(&self) -> String {
        let passed = self.count - self.failed.len() - self.not_checked.len();
        let mut text = format!("{passed} of {} checks passed", self.count);
        for (what, names) in [("FAILED", &self.failed), ("not checked", &self.not_checked)] {
            if !names.is_empty() {
                text += &format!("; {what}: {}", names.join(", "));
            }
        }
        text
    }
}

fn line(name: &str, result: &Result<Outcome>, took: Duration) -> String {
    let (word, detail) = match result {
        Ok(Outcome::Passed) => ("ok", String::new()),
        Ok(Outcome::NotChecked(why)) => ("NOT CHECKED", format!("  {why}")),
        Err(error) => ("FAILED", format!("  {error:#}")),
    };
    format!("{word:<12}{name:<18}{:>6.1} s{detail}", took.as_secs_f32())
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Steps, line};
    use anyhow::anyhow;
    use std::time::Duration;

    #[test]
    fn one_line_says_what_how_and_how_long() {
        let took = Duration::from_millis(1234);
        assert_eq!(
            line("typos", &Ok(Outcome::Passed), took),
            "ok          typos                1.2 s"
        );
        let skipped = line("typos", &Ok(Outcome::NotChecked("no network".to_owned())), took);
        assert_eq!(skipped, "NOT CHECKED typos                1.2 s  no network");
        let failed = line("typos", &Err(anyhow!("inner").context("outer")), took);
        assert_eq!(failed, "FAILED      typos                1.2 s  outer: inner");
    }

    #[test]
    fn a_failed_check_fails_the_list_but_lets_the_others_run() {
        let mut steps = Steps::default();
        let mut ran = false;
        steps.run("first", || Err(anyhow!("broken")));
        steps.run("second", || {
            ran = true;
            Ok(Outcome::Passed)
        });
        assert!(ran);
        assert_eq!(
            steps.finish().unwrap_err().to_string(),
            "1 of 2 checks passed; FAILED: first"
        );
    }

    #[test]
    fn what_was_not_checked_is_not_counted_as_passed() {
        let mut steps = Steps::default();
        steps.run("first", || Ok(Outcome::Passed));
        steps.run("second", || Ok(Outcome::NotChecked("no network".to_owned())));
        assert_eq!(steps.summary(), "1 of 2 checks passed; not checked: second");
        assert!(steps.finish().is_ok());
    }
}
