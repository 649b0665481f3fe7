//! Bars of text: full as far as the least of the rounds, light as far as the most.

use super::markdown::figure;
use crate::spread::Spread;

/// Letters of the longest bar.
const WIDTH: f64 = 40.0;

/// One bar below the other, on one scale.
pub fn chart(title: &str, rows: &[(&str, Spread)]) -> String {
    let longest = rows.iter().map(|(_, spread)| spread.max).fold(0.0, f64::max);
    let label = rows
        .iter()
        .map(|(label, _)| label.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = format!("{title}\n");
    for (name, spread) in rows {
        text += &format!(
            "  {name:<label$}  {}  {}\n",
            bar(*spread, longest),
            figure(spread.median)
        );
    }
    text
}

fn bar(spread: Spread, longest: f64) -> String {
    let full = letters(spread.min, longest);
    let light = letters(spread.max, longest) - full;
    "█".repeat(full) + &"░".repeat(light)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and the width"
)]
fn letters(value: f64, longest: f64) -> usize {
    (WIDTH * value / longest.max(f64::MIN_POSITIVE)).round() as usize
}

#[cfg(test)]
mod tests {
    use super::chart;
    use crate::spread::Spread;

    #[test]
    fn bars_are_as_long_as_their_numbers() {
        let spread = |min, median, max| Spread { median, min, max };
        let rows = [("a", spread(10.0, 15.0, 20.0)), ("bc", spread(40.0, 40.0, 40.0))];
        let expected = format!(
            "what\n  a   {}{}  15.0\n  bc  {}  40.0\n",
            "█".repeat(10),
            "░".repeat(10),
            "█".repeat(40)
        );
        assert_eq!(chart("what", &rows), expected);
    }

    #[test]
    fn nothing_has_no_length() {
        let nothing = Spread {
            median: 0.0,
            min: 0.0,
            max: 0.0,
        };
        assert_eq!(chart("what", &[("a", nothing)]), "what\n  a    0.00\n");
    }
}
