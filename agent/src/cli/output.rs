//! Where answers go, and in which form.

use std::env;
use std::ffi::OsStr;
use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For programs, and for people who prefer it.
    Yaml,
}

/// Colours for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// As it should be.
    Good,
    /// It works, with something lost.
    Warning,
    /// It does not work.
    Bad,
}

/// Whether colours are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    coloured: bool,
}

impl Style {
    /// Text as it is.
    #[cfg(test)]
    pub const PLAIN: Self = Self { coloured: false };

    /// Colours are for terminals of people who did not ask for none (<https://no-color.org>).
    fn detect(is_terminal: bool, no_color: Option<&OsStr>) -> Self {
        Self {
            coloured: is_terminal && no_color.is_none_or(OsStr::is_empty),
        }
    }

    /// The text in a colour, or as it is.
    pub fn paint(self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Good => 32,
            Colour::Warning => 33,
            Colour::Bad => 31,
        };
        if self.coloured {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Standard output in a form.
pub struct Output {
    format: Format,
    style: Style,
}

impl Output {
    /// With colours if they are welcome there.
    pub fn to_stdout(format: Format) -> Self {
        let no_color = env::var_os("NO_COLOR");
        Self {
            format,
            style: Style::detect(io::stdout().is_terminal(), no_color.as_deref()),
        }
    }

    /// Prints one line of many: `value` for programs, or what `text` makes for people.
    pub fn line<T: Serialize>(&self, value: &T, text: impl FnOnce(Style) -> String) -> Result<()> {
        let line = match self.format {
            Format::Table => text(self.style),
            Format::Json => serde_json::to_string(value)?,
            // Documents of one stream are parted so.
            Format::Yaml => format!("---\n{}", serde_yaml_ng::to_string(value)?.trim_end()),
        };
        writeln!(io::stdout().lock(), "{line}")?;
        Ok(())
    }

    /// Prints an answer: `value` for programs, or what `text` makes for people.
    pub fn print<T: Serialize>(&self, value: &T, text: impl FnOnce(Style) -> String) -> Result<()> {
        let mut printed = match self.format {
            Format::Table => text(self.style),
            Format::Json => serde_json::to_string_pretty(value)?,
            Format::Yaml => serde_yaml_ng::to_string(value)?,
        };
        if !printed.ends_with('\n') {
            printed.push('\n');
        }
        io::stdout().lock().write_all(printed.as_bytes())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Colour, Style};

    #[test]
    fn colours_are_for_terminals_without_no_color() {
        let shown = |terminal, no_color: Option<&str>| {
            Style::detect(terminal, no_color.map(AsRef::as_ref)).paint(Colour::Bad, "x") != "x"
        };
        assert!(shown(true, None));
        assert!(shown(true, Some("")), "an empty variable does not count");
        assert!(!shown(true, Some("1")));
        assert!(!shown(false, None));
    }
}
