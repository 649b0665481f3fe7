//! Tables with aligned columns; nothing is wrapped or cut, so that `grep` and `awk` work on them.

use super::output::{Colour, Style};

/// What stands for nothing, so that columns can be counted.
const NOTHING: &str = "-";
const GAP: &str = "  ";

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    colour: Option<Colour>,
}

impl Cell {
    /// In a colour.
    pub fn coloured(text: impl Into<String>, colour: Colour) -> Self {
        Self {
            text: text.into(),
            colour: Some(colour),
        }
    }

    fn text(&self) -> &str {
        if self.text.is_empty() { NOTHING } else { &self.text }
    }

    fn width(&self) -> usize {
        self.text().chars().count()
    }

    fn painted(&self, style: Style) -> String {
        match self.colour {
            Some(colour) => style.paint(colour, self.text()),
            None => self.text().to_owned(),
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            colour: None,
        }
    }
}

/// A table with `N` columns.
pub struct Table<const N: usize> {
    rows: Vec<[Cell; N]>,
}

impl<const N: usize> Table<N> {
    /// With these titles.
    pub fn new(titles: [&str; N]) -> Self {
        Self {
            rows: vec![titles.map(Cell::from)],
        }
    }

    /// Adds a row.
    pub fn push(&mut self, row: [Cell; N]) {
        self.rows.push(row);
    }

    /// The text, a line per row.
    pub fn render(&self, style: Style) -> String {
        let widths: [usize; N] =
            std::array::from_fn(|column| self.rows.iter().map(|row| row[column].width()).max().unwrap_or(0));
        self.rows
            .iter()
            .map(|row| line(row, &widths, style) + "\n")
            .collect()
    }
}

fn line(row: &[Cell], widths: &[usize], style: Style) -> String {
    let mut line = String::new();
    for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
        line.push_str(&cell.painted(style));
        if index + 1 < row.len() {
            line.push_str(&" ".repeat(width - cell.width()));
            line.push_str(GAP);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::{Cell, Colour, Style, Table};

    #[test]
    fn columns_are_aligned_and_nothing_has_a_sign() {
        let mut table = Table::new(["POD", "STATE", "WHY"]);
        table.push(["a".into(), Cell::coloured("ok", Colour::Good), "".into()]);
        table.push(["längst".into(), "pending".into(), "no netns yet".into()]);
        let expected = "\
POD     STATE    WHY
a       ok       -
längst  pending  no netns yet
";
        assert_eq!(table.render(Style::PLAIN), expected);
    }
}
