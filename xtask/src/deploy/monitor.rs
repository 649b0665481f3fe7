//! Whether Prometheus finds what the chart has it look for: the PodMonitor and the DaemonSet are two files.

use anyhow::{Context, Result, ensure};

use super::document::Document;
use super::helm::{Helm, NEWEST_KUBERNETES};

const VALUES: &str = "{monitoring: {podMonitor: {enabled: true, labels: {release: prometheus}}}}";

pub(super) fn check(helm: &Helm) -> Result<()> {
    let documents = helm.render(VALUES, NEWEST_KUBERNETES)?;
    let text = |kind: &str| -> Result<&str> {
        let kind = format!("kind: {kind}");
        let is_it = |document: &&Document| document.text.lines().any(|line| line == kind);
        let document = documents.iter().find(is_it);
        Ok(&document.with_context(|| format!("no {kind} is rendered"))?.text)
    };
    agree(text("PodMonitor")?, text("DaemonSet")?)
}

fn agree(monitor: &str, daemon_set: &str) -> Result<()> {
    let (asked, selected) = (below(monitor, "matchLabels:"), below(daemon_set, "matchLabels:"));
    ensure!(!asked.is_empty(), "the PodMonitor selects nothing");
    ensure!(
        asked == selected,
        "the PodMonitor selects {asked:?}, the DaemonSet {selected:?}"
    );
    let (_, template) = daemon_set
        .split_once("template:")
        .context("the DaemonSet has no pods")?;
    let labels = below(template, "labels:");
    let missing: Vec<_> = asked.iter().filter(|label| !labels.contains(label)).collect();
    ensure!(missing.is_empty(), "the DaemonSet's pods lack {missing:?}");
    let port = below(monitor, "podMetricsEndpoints:")
        .into_iter()
        .find_map(|line| line.strip_prefix("- port: "))
        .context("the PodMonitor names no port")?;
    let ports = below(daemon_set, "ports:");
    ensure!(
        ports.contains(&&*format!("- name: {port}")),
        "{port} is none of {ports:?}"
    );
    Ok(())
}

/// The lines that stand deeper than the first one that says this.
fn below<'a>(text: &'a str, heading: &str) -> Vec<&'a str> {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut lines = text.lines().skip_while(|line| line.trim() != heading);
    let start = lines.next().map_or(0, depth);
    lines
        .take_while(|line| depth(line) > start)
        .map(str::trim)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{agree, below};

    const MONITOR: &str =
        "spec:\n  selector:\n    matchLabels:\n      a: b\n  podMetricsEndpoints:\n    - port: http\n";
    const DAEMON_SET: &str = "spec:\n  selector:\n    matchLabels:\n      a: b\n  template:\n    metadata:\n      labels:\n        \
                              a: b\n        c: d\n    spec:\n      containers:\n        - name: c\n          ports:\n            - name: http\n";

    #[test]
    fn what_stands_deeper_belongs_to_a_heading() {
        assert_eq!(below(DAEMON_SET, "labels:"), ["a: b", "c: d"]);
        assert_eq!(below(DAEMON_SET, "annotations:"), [""; 0]);
    }

    #[test]
    fn a_monitor_that_finds_nothing_is_found_out() {
        agree(MONITOR, DAEMON_SET).unwrap();
        for (monitor, named) in [
            (MONITOR.replace("a: b", "a: c"), "a: c"),
            (MONITOR.replace("      a: b\n", ""), "nothing"),
            (MONITOR.replace("http", "metrics"), "metrics"),
            (MONITOR.replace("port:", "path:"), "names no port"),
        ] {
            let fault = agree(&monitor, DAEMON_SET).unwrap_err().to_string();
            assert!(fault.contains(named), "{fault}");
        }
        let unlabelled = DAEMON_SET.replace("        a: b\n        c", "        c");
        assert!(agree(MONITOR, &unlabelled).is_err());
    }
}
