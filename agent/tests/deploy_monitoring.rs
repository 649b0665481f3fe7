//! The dashboard and the alerts ask for metrics, labels and values that the agent has.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use weir_agent::metrics::documentation;
use weir_agent::metrics::table::{ALL, Kind};
use weir_common::reason::Reason;

/// Labels that Prometheus or the PodMonitor adds.
const ADDED: &[&str] = &["node", "pod", "namespace", "job", "le"];

/// Metrics of kube-state-metrics that the alerts ask for, with their labels.
const OF_KUBE_STATE: &[(&str, &[&str])] = &[(
    "kube_daemonset_status_number_unavailable",
    &["daemonset", "namespace"],
)];

/// One metric in an expression, with what is in its braces.
#[derive(Debug, PartialEq, Eq)]
struct Selector {
    metric: String,
    /// Label, and the values that it is compared with.
    labels: Vec<(String, Vec<String>)>,
}

/// Metrics whose names begin so.
fn selectors(expression: &str, prefix: &str) -> Vec<Selector> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(prefix) {
        let text = &rest[start..];
        let end = text
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(text.len());
        let (metric, after) = text.split_at(end);
        let braces = after.strip_prefix('{').and_then(|inside| inside.split_once('}'));
        found.push(Selector {
            metric: metric.to_owned(),
            labels: braces.map_or_else(Vec::new, |(inside, _)| inside.split(',').map(matcher).collect()),
        });
        rest = after;
    }
    found
}

/// `label="value"`, `label=~"one|other"`.
fn matcher(text: &str) -> (String, Vec<String>) {
    let (label, values) = text.split_once('=').unwrap();
    let values = values.trim_start_matches('~').trim_matches('"');
    (
        label.trim().to_owned(),
        values.split('|').map(str::to_owned).collect(),
    )
}

/// The labels in `by (…)`.
fn grouped_by(expression: &str) -> Vec<&str> {
    let groups = expression.split("by (").skip(1);
    groups
        .flat_map(|group| group.split(')').next().unwrap().split(','))
        .map(str::trim)
        .collect()
}

/// Fixed values of labels, from the same text as docs/metrics.md, by metric and label.
fn fixed_values() -> BTreeMap<(String, String), BTreeSet<String>> {
    let text = documentation();
    let lines = text.lines().filter_map(|line| line.strip_prefix("| weir_"));
    let mut values: BTreeMap<_, _> = lines
        .map(|line| {
            let (key, values) = line.split_once(" | ").unwrap();
            let (metric, label) = key.split_once(": ").unwrap();
            let values = values.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            ((format!("weir_{metric}"), label.to_owned()), values)
        })
        .collect();
    assert!(values.len() >= 4, "{text}");
    let reasons: BTreeSet<String> = Reason::ALL
        .iter()
        .map(|reason| reason.name().to_owned())
        .collect();
    for metric in ["weir_connections_total", "weir_pod_connections_total"] {
        values.insert((metric.to_owned(), "reason".to_owned()), reasons.clone());
    }
    values
}

/// What is wrong with what an expression asks of kube-state-metrics.
fn foreign_faults(expression: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for Selector { metric, labels } in selectors(expression, "kube_") {
        let known = OF_KUBE_STATE.iter().find(|(name, _)| *name == metric);
        let Some((_, known)) = known else {
            faults.push(format!("there is no metric {metric}"));
            continue;
        };
        let wrong = labels
            .iter()
            .filter(|(label, _)| !known.contains(&label.as_str()));
        faults.extend(wrong.map(|(label, _)| format!("{metric} has no label {label}")));
    }
    faults
}

/// What is wrong with an expression.
fn faults(expression: &str) -> Vec<String> {
    let fixed = fixed_values();
    let mut faults = foreign_faults(expression);
    let mut labels: BTreeSet<&str> = ADDED.iter().copied().collect();
    for Selector {
        metric,
        labels: asked,
    } in selectors(expression, "weir_")
    {
        let Some(known) = ALL.iter().find(|known| {
            known.name == metric
                || known.kind == Kind::Histogram
                    && ["_bucket", "_sum", "_count"]
                        .iter()
                        .any(|end| metric == format!("{}{end}", known.name))
        }) else {
            faults.push(format!("there is no metric {metric}"));
            continue;
        };
        labels.extend(known.labels);
        for (label, values) in asked {
            if !known.labels.contains(&label.as_str()) && !ADDED.contains(&label.as_str()) {
                faults.push(format!("{metric} has no label {label}"));
            }
            if let Some(fixed) = fixed.get(&(metric.clone(), label.clone())) {
                let wrong = values.iter().filter(|value| !fixed.contains(*value));
                faults.extend(wrong.map(|value| format!("{metric}: {label} is never {value}")));
            }
        }
    }
    let groups = grouped_by(expression).into_iter();
    faults.extend(
        groups
            .filter(|label| !labels.contains(label))
            .map(|label| format!("no metric has the label {label}")),
    );
    faults
}

fn chart_file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/helm/weir/files")
        .join(name);
    std::fs::read_to_string(&path).unwrap()
}

/// All texts in the document under `key`.
fn texts_under<'a>(document: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match document {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == key => found.push(text),
                    value => texts_under(value, key, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| texts_under(item, key, found)),
        _ => {}
    }
}

fn assert_known(document: &Value, at_least: usize) {
    let mut expressions = Vec::new();
    texts_under(document, "expr", &mut expressions);
    assert!(expressions.len() >= at_least, "{expressions:?}");
    for expression in expressions {
        assert_eq!(faults(expression), [""; 0], "{expression}");
    }
}

#[test]
fn the_dashboard_shows_metrics_that_exist() {
    assert_known(&serde_json::from_str(&chart_file("dashboard.json")).unwrap(), 15);
}

#[test]
fn the_alerts_ask_for_metrics_that_exist_and_say_what_to_do() {
    let alerts: Value = serde_yaml_ng::from_str(&chart_file("alerts.yaml")).unwrap();
    assert_known(&alerts, 8);
    for rule in alerts["groups"][0]["rules"].as_array().unwrap() {
        let name = rule["alert"].as_str().unwrap();
        for field in [
            "/labels/severity",
            "/annotations/summary",
            "/annotations/description",
        ] {
            assert!(
                rule.pointer(field).is_some_and(Value::is_string),
                "{name}: {field}"
            );
        }
    }
}

#[test]
fn what_does_not_exist_is_found_out() {
    for (expression, fault) in [
        ("sum(weir_pod)", "no metric weir_pod"),
        ("weir_pods{colour=\"red\"}", "no label colour"),
        ("weir_pods{state=~\"failed|lost\"}", "never lost"),
        ("weir_pod_connections_total{reason=\"outbond\"}", "never outbond"),
        ("sum by (node, colour) (weir_ready)", "label colour"),
        ("rate(weir_ready_bucket[5m])", "no metric weir_ready_bucket"),
        (
            "kube_daemonset_unavailable > 0",
            "no metric kube_daemonset_unavailable",
        ),
        (
            "kube_daemonset_status_number_unavailable{name=\"weir\"} > 0",
            "no label name",
        ),
    ] {
        let found = faults(expression);
        assert!(
            found.iter().any(|found| found.contains(fault)),
            "{expression}: {found:?}"
        );
    }
    assert_eq!(
        faults("histogram_quantile(0.5, sum by (le) (rate(weir_enrolment_seconds_bucket[5m])))"),
        [""; 0]
    );
}
