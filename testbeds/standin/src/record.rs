//! What the proxy writes down about every connection: one JSON object per line.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use serde::{Deserialize, Serialize};

/// One connection, or one DNS question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which listener took it.
    pub direction: Direction,
    /// UID of the pod in whose namespace it was taken (in-pod contract).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Who connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<SocketAddr>,
    /// Where the connection was going.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_destination: Option<SocketAddr>,
    /// How the proxy learnt that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learnt: Option<Learnt>,
    /// Where the proxy connected to; port 15008 means by HBONE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<SocketAddr>,
    /// The source address of that connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_source: Option<SocketAddr>,
    /// The source's identity: the pod's own (outbound), or as the tunnel's preface claims it (hbone).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The DNS question, as `A name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it failed or was denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Record {
    /// A record of which only the direction is known.
    pub fn new(direction: Direction) -> Self {
        Self {
            direction,
            pod: None,
            peer: None,
            original_destination: None,
            learnt: None,
            upstream: None,
            upstream_source: None,
            identity: None,
            question: None,
            outcome: Outcome::Failed,
            error: None,
        }
    }
}

/// The listener that took a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// 15001.
    Outbound,
    /// 15006.
    Inbound,
    /// 15008.
    Hbone,
    /// 15053.
    Dns,
}

/// How the original destination was learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Learnt {
    /// `SO_ORIGINAL_DST` answered.
    SoOriginalDst,
    /// It did not, so the socket's local address counts.
    LocalAddress,
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The upstream connection stands.
    Connected,
    /// The upstream connection could not be made.
    Failed,
    /// The proxy did not want to.
    Denied,
    /// A DNS question the proxy answered itself.
    Answered,
    /// A DNS question an upstream server answered.
    Forwarded,
}

/// Where records go; a thread writes them, so that connections never wait for the disk.
#[derive(Clone, Default)]
pub struct Recorder {
    lines: Option<Sender<Record>>,
}

impl Recorder {
    /// Appends to the file, which is made if it does not exist.
    pub fn to_file(path: &Path) -> io::Result<Self> {
        let file = File::options().append(true).create(true).open(path)?;
        let (lines, queue) = mpsc::channel();
        thread::Builder::new()
            .name("records".to_owned())
            .spawn(move || write_all(&queue, BufWriter::new(file)))?;
        Ok(Self { lines: Some(lines) })
    }

    /// Keeps nothing, for measurements.
    pub fn off() -> Self {
        Self::default()
    }

    /// Writes one record down, soon.
    pub fn write(&self, record: Record) {
        if let Some(lines) = &self.lines {
            // The writer ends only when the file cannot be written, and has said so.
            lines.send(record).unwrap_or_default();
        }
    }
}

fn write_all(queue: &Receiver<Record>, mut file: BufWriter<File>) {
    while let Ok(record) = queue.recv() {
        // Readers wait for the line, so it leaves the buffer as soon as no other is on its way.
        let written = std::iter::once(record)
            .chain(queue.try_iter())
            .try_for_each(|record| write_line(&mut file, &record));
        if let Err(error) = written.and_then(|()| file.flush()) {
            eprintln!("weir-standin: records end here: {error}");
            return;
        }
    }
}

fn write_line(file: &mut impl Write, record: &Record) -> io::Result<()> {
    serde_json::to_writer(&mut *file, record)?;
    file.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_what_is_known() {
        let mut record = Record::new(Direction::Outbound);
        record.peer = Some("10.0.0.1:40000".parse().unwrap());
        record.original_destination = Some("[fd00::2]:80".parse().unwrap());
        record.learnt = Some(Learnt::LocalAddress);
        record.outcome = Outcome::Connected;
        let mut line = Vec::new();
        write_line(&mut line, &record).unwrap();
        let text = r#"{"direction":"outbound","peer":"10.0.0.1:40000","original_destination":"[fd00::2]:80","learnt":"local_address","outcome":"connected"}"#;
        assert_eq!(String::from_utf8(line.clone()).unwrap(), format!("{text}\n"));
        assert_eq!(serde_json::from_slice::<Record>(&line).unwrap(), record);
    }
}
