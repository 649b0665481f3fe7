//! The table of pairs.

use std::time::Duration;

use super::screen::{Colour, Screen};
use super::trial::{Seen, Trial};

const TITLES: [&str; COLUMNS] = [
    "FROM",
    "TO",
    "CAPTURED",
    "SERVER SAW",
    "CLIENT SAW",
    "TIME",
    "RESULT",
];
const COLUMNS: usize = 7;
const GAP: &str = "  ";

/// A pair, without Weir and in the mesh.
pub(super) struct Row {
    direct: Trial,
    meshed: Trial,
}

impl From<(Trial, Trial)> for Row {
    fn from((direct, meshed): (Trial, Trial)) -> Self {
        Self { direct, meshed }
    }
}

impl Row {
    pub(super) fn is_as_expected(&self) -> bool {
        self.surprise().is_none()
    }

    /// What is not as it should be.
    fn surprise(&self) -> Option<String> {
        if let Err(failure) = &self.direct.result {
            return Some(format!("fails without Weir already: {failure}"));
        }
        let Trial {
            pair,
            client,
            dialled,
            result,
        } = &self.meshed;
        match result {
            Err(failure) => Some(failure.to_string()),
            Ok(seen) if seen.way != pair.expected => Some(format!("must be {}", pair.expected.name())),
            Ok(seen) if Some(seen.by_server) != *client => Some("the server must see the client".to_owned()),
            Ok(seen) if seen.by_client != *dialled => Some("the client must see what it dialled".to_owned()),
            Ok(_) => None,
        }
    }

    fn cells(&self) -> [String; COLUMNS] {
        let Trial {
            pair,
            client,
            dialled,
            result,
        } = &self.meshed;
        let [captured, server, seen_by_client, time] = match result {
            Ok(seen) => [
                captured(seen),
                whose(seen.by_server, Some(seen.by_server) == *client, "client's own"),
                whose(seen.by_client.ip(), seen.by_client == *dialled, "as dialled"),
                self.time(seen.quickest),
            ],
            Err(_) => ["-"; 4].map(str::to_owned),
        };
        let result = self.surprise().unwrap_or_else(|| "ok".to_owned());
        let (from, to) = (pair.from.to_owned(), pair.to.to_owned());
        [from, to, captured, server, seen_by_client, time, result]
    }

    fn time(&self, meshed: Duration) -> String {
        let time = format!("{:.2} ms", meshed.as_secs_f64() * 1e3);
        match &self.direct.result {
            Ok(Seen { quickest, .. }) => {
                let ratio = meshed.as_secs_f64() / quickest.as_secs_f64();
                format!("{time}, {ratio:.1} x direct")
            }
            Err(_) => time,
        }
    }
}

fn captured(seen: &Seen) -> String {
    let answer = if seen.way.is_captured() { "yes" } else { "no" };
    format!("{answer}, {}", seen.way.name())
}

fn whose(address: std::net::IpAddr, is_right: bool, right: &str) -> String {
    format!("{address}, {}{right}", if is_right { "" } else { "not " })
}

/// The text, a line per row.
pub(super) fn render(rows: &[Row], screen: &Screen) -> String {
    let cells: Vec<_> = rows.iter().map(Row::cells).collect();
    let titles = TITLES.map(str::to_owned);
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        let all = std::iter::once(&titles).chain(&cells);
        all.map(|row| row[column].len()).max().unwrap_or_default()
    });
    let mut text = line(&titles, &widths) + "\n";
    for (row, cells) in rows.iter().zip(&cells) {
        let colour = if row.is_as_expected() {
            Colour::Good
        } else {
            Colour::Bad
        };
        let (result, others) = (&cells[COLUMNS - 1], line(&cells[..COLUMNS - 1], &widths));
        text += &format!("{others}{GAP}{}\n", screen.paint(colour, result));
    }
    text
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded: Vec<_> = cells
        .iter()
        .zip(widths)
        .map(|(cell, width)| format!("{cell:width$}"))
        .collect();
    padded.join(GAP)
}

#[cfg(test)]
mod tests;
