//! Durations as people write them.

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

/// A duration in one unit: `500ms`, `30s`, `5m`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

/// The text is no duration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no duration: write a whole number and ms, s, m or h, such as 30s")]
pub struct SpanError {
    text: String,
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let milliseconds = match unit {
            "ms" => Some(1),
            "s" => Some(1000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            _ => None,
        };
        number
            .parse::<u64>()
            .ok()
            .zip(milliseconds)
            .and_then(|(number, milliseconds)| number.checked_mul(milliseconds))
            .map(|milliseconds| Self(Duration::from_millis(milliseconds)))
            .ok_or_else(|| SpanError {
                text: text.to_owned(),
            })
    }
}

impl TryFrom<String> for Span {
    type Error = SpanError;

    fn try_from(text: String) -> Result<Self, SpanError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Span;

    #[test]
    fn a_whole_number_and_a_unit() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(
                text.parse(),
                Ok(Span(Duration::from_millis(milliseconds))),
                "{text}"
            );
        }
        for text in [
            "",
            "30",
            "s",
            "1.5s",
            "-1s",
            " 1s",
            "1 s",
            "1d",
            "1sm",
            "99999999999999999h",
        ] {
            let error = text.parse::<Span>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }
}
