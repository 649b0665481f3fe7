//! Prometheus' text format.

use std::fmt::Display;

use super::table::Metric;

/// A text in the making.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// Writes a metric's head; its samples follow.
    pub(super) fn family(&mut self, metric: &Metric) -> Family<'_> {
        self.0 += &format!(
            "# HELP {0} {1}\n# TYPE {0} {2}\n",
            metric.name,
            escaped(metric.help, false),
            metric.kind.name()
        );
        Family {
            text: &mut self.0,
            name: metric.name,
            labels: metric.labels,
        }
    }

    /// The whole.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// One metric's samples.
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
    labels: &'static [&'static str],
}

impl Family<'_> {
    /// Writes a sample, with the values of the metric's labels in their order.
    pub(super) fn sample(&mut self, values: &[&str], value: impl Display) -> &mut Self {
        let labels: Vec<(&str, &str)> = self.labels.iter().copied().zip(values.iter().copied()).collect();
        self.line("", &labels, value)
    }

    /// Writes a histogram: how many were at or below each bound, the sum, and the number of all.
    pub(super) fn histogram(&mut self, buckets: impl IntoIterator<Item = (f64, u64)>, sum: f64, count: u64) {
        for (bound, below) in buckets {
            self.line("_bucket", &[("le", &bound.to_string())], below);
        }
        self.line("_bucket", &[("le", "+Inf")], count);
        self.line("_sum", &[], sum);
        self.line("_count", &[], count);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value, true)))
            .collect();
        let labels = match labels.as_slice() {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        *self.text += &format!("{}{suffix}{labels} {value}\n", self.name);
        self
    }
}

/// Quotes are escaped in values of labels only.
fn escaped(text: &str, quotes: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::Text;
    use crate::metrics::table::{Kind, Metric};

    #[test]
    fn help_values_and_histograms() {
        let mut text = Text::default();
        let metric = Metric {
            name: "a_total",
            kind: Kind::Counter,
            labels: &["x", "y"],
            help: "A \"quoted\"\\ help\nof two lines.",
        };
        text.family(&metric)
            .sample(&["a\"b", "c\\d\ne"], 7)
            .sample(&["", "ü"], 0);
        let times = Metric {
            name: "b_seconds",
            kind: Kind::Histogram,
            labels: &[],
            help: "Times.",
        };
        text.family(&times).histogram([(0.005, 1), (1.0, 2)], 3.5, 3);
        let expected = r#"# HELP a_total A "quoted"\\ help\nof two lines.
# TYPE a_total counter
a_total{x="a\"b",y="c\\d\ne"} 7
a_total{x="",y="ü"} 0
# HELP b_seconds Times.
# TYPE b_seconds histogram
b_seconds_bucket{le="0.005"} 1
b_seconds_bucket{le="1"} 2
b_seconds_bucket{le="+Inf"} 3
b_seconds_sum 3.5
b_seconds_count 3
"#;
        assert_eq!(text.finish(), expected);
    }
}
