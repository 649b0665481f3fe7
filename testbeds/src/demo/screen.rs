//! Standard output, with colours where they are welcome.

use std::env;
use std::io::{self, IsTerminal as _, Write as _};

use super::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Good,
    Bad,
}

/// Where the demo prints.
#[derive(Debug)]
pub(super) struct Screen {
    coloured: bool,
}

impl Screen {
    /// Colours are for terminals of people who did not ask for none (<https://no-color.org>).
    pub(super) fn stdout() -> Self {
        let declined = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            coloured: io::stdout().is_terminal() && !declined,
        }
    }

    pub(super) fn line(&self, text: &str) -> Result<(), Error> {
        self.print(&format!("{text}\n"))
    }

    pub(super) fn print(&self, text: &str) -> Result<(), Error> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(Error::Print)
    }

    pub(super) fn paint(&self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Good => 32,
            Colour::Bad => 31,
        };
        if self.coloured {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
