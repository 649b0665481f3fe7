//! What stands for TLS and HTTP/2's CONNECT in the clear tunnel: one line each way, then the bytes.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncReadExt};

const MAGIC: &str = "STANDIN/1";
/// Longer lines come from something that speaks another protocol.
const MAX_LINE: usize = 512;

/// What the client side of a tunnel asks of the server side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// The application that the client wants.
    pub destination: SocketAddr,
    /// Whom the client's proxy says it is.
    pub identity: Option<String>,
}

/// The server side's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Connected; what follows is the application's.
    Ok,
    /// Not connected, and why.
    No(String),
}

/// Why a line could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection broke.
    #[error("tunnel: {0}")]
    Io(#[from] io::Error),
    /// The line is none of ours.
    #[error("not a preface of a tunnel in clear: {0:?}")]
    Foreign(String),
}

impl fmt::Display for Connect {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = self.identity.as_deref().unwrap_or("-");
        writeln!(out, "{MAGIC} CONNECT {} AS {identity}", self.destination)
    }
}

impl FromStr for Connect {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self, Error> {
        let foreign = || Error::Foreign(line.to_owned());
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let [MAGIC, "CONNECT", destination, "AS", identity] = words[..] else {
            return Err(foreign());
        };
        Ok(Self {
            destination: destination.parse().map_err(|_| foreign())?,
            identity: Some(identity.to_owned()).filter(|identity| identity != "-"),
        })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => writeln!(out, "{MAGIC} OK"),
            Self::No(why) => writeln!(out, "{MAGIC} NO {}", why.replace('\n', " ")),
        }
    }
}

impl FromStr for Answer {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self, Error> {
        let rest = line.trim_end().strip_prefix(MAGIC).map(str::trim_start);
        match rest.and_then(|rest| rest.split_once(' ').or(Some((rest, "")))) {
            Some(("OK", "")) => Ok(Self::Ok),
            Some(("NO", why)) => Ok(Self::No(why.to_owned())),
            _ => Err(Error::Foreign(line.to_owned())),
        }
    }
}

/// Reads one line, and hands back whatever bytes came right behind it.
pub async fn read_line<L: FromStr<Err = Error>>(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<(L, Vec<u8>), Error> {
    let mut bytes = Vec::with_capacity(MAX_LINE);
    loop {
        if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let rest = bytes.split_off(end + 1);
            return Ok((String::from_utf8_lossy(&bytes).parse()?, rest));
        }
        if bytes.len() >= MAX_LINE {
            return Err(Error::Foreign(String::from_utf8_lossy(&bytes).into_owned()));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(identity: Option<&str>) -> Connect {
        Connect {
            destination: "10.0.0.2:8080".parse().unwrap(),
            identity: identity.map(str::to_owned),
        }
    }

    #[test]
    fn lines_are_read_back_as_written() {
        let line = connect(Some("default/client")).to_string();
        assert_eq!(line, "STANDIN/1 CONNECT 10.0.0.2:8080 AS default/client\n");
        for preface in [connect(Some("a/b")), connect(None)] {
            assert_eq!(preface.to_string().parse::<Connect>().unwrap(), preface);
        }
        for answer in [
            Answer::Ok,
            Answer::No("Connection refused (os error 111)".to_owned()),
        ] {
            assert_eq!(answer.to_string().parse::<Answer>().unwrap(), answer);
        }
    }

    #[test]
    fn foreign_lines_are_errors() {
        for line in [
            "",
            "GET / HTTP/1.1",
            "STANDIN/1 CONNECT here AS -",
            "STANDIN/1 CONNECT 10.0.0.2:80",
        ] {
            assert!(
                matches!(line.parse::<Connect>(), Err(Error::Foreign(_))),
                "{line}"
            );
        }
        assert!(matches!(
            "STANDIN/1 PERHAPS".parse::<Answer>(),
            Err(Error::Foreign(_))
        ));
    }

    #[tokio::test]
    async fn bytes_behind_the_line_are_kept() {
        let mut stream: &[u8] = b"STANDIN/1 CONNECT 10.0.0.2:8080 AS -\nhello";
        let (preface, rest) = read_line::<Connect>(&mut stream).await.unwrap();
        assert_eq!((preface, &rest[..]), (connect(None), &b"hello"[..]));
    }

    #[tokio::test]
    async fn a_line_without_end_is_refused() {
        let mut endless = tokio::io::repeat(b'x');
        assert!(matches!(
            read_line::<Connect>(&mut endless).await,
            Err(Error::Foreign(_))
        ));
        let mut short: &[u8] = b"STANDIN/1";
        assert!(matches!(
            read_line::<Connect>(&mut short).await,
            Err(Error::Io(_))
        ));
    }
}
