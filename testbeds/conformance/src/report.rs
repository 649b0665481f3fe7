//! What was found.

use std::io;

use serde::Serialize;

use crate::check::Check;

/// All lines, for people or programs.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    checks: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    to: String,
    expected: &'static str,
    faults: Vec<String>,
}

impl Report {
    /// Adds a line.
    pub fn add(&mut self, check: &Check, faults: Vec<String>) {
        self.checks.push(Line {
            name: check.name.clone(),
            to: check.to.to_string(),
            expected: check.expectation.name(),
            faults,
        });
    }

    /// Adds a name that was not found.
    pub fn add_unresolved(&mut self, host: &str, error: &io::Error) {
        self.checks.push(Line {
            name: "dns".to_owned(),
            to: host.to_owned(),
            expected: "found",
            faults: vec![error.to_string()],
        });
    }

    /// Whether all is as it must be. A report of nothing is no good one.
    pub fn is_good(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|line| line.faults.is_empty())
    }

    /// A line for each.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for Line {
            name,
            to,
            expected,
            faults,
        } in &self.checks
        {
            let result = match faults.as_slice() {
                [] => "ok".to_owned(),
                faults => format!("FAILED: {}", faults.join("; ")),
            };
            text += &format!("{name:<32} {to:<32} {expected:<20} {result}\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Report;
    use crate::check::{Check, Expectation};

    #[test]
    fn a_report_of_nothing_is_no_good_one() {
        let mut report = Report::default();
        assert!(!report.is_good());
        let check = Check::new("tcp a", "10.0.0.1:1".parse().unwrap(), Expectation::Captured);
        report.add(&check, Vec::new());
        assert!(report.is_good());
        report.add(&check, vec!["not captured".to_owned()]);
        assert!(!report.is_good());
        assert!(
            report.table().contains("FAILED: not captured"),
            "{}",
            report.table()
        );
    }
}
