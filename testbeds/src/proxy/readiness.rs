//! How a proxy says that it is ready.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use super::scratch::lines;
use crate::netns::Netns;

const ZTUNNEL_PORT: u16 = 15021;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The stand-in prints what it is whenever that changes.
pub(super) fn stand_in_is_ready(output: &Path, start: u64) -> bool {
    let lines = lines(output, start);
    let last = lines
        .iter()
        .rev()
        .find(|line| matches!(line.as_str(), "ready" | "not ready"));
    last.is_some_and(|line| line == "ready")
}

/// Ztunnel answers a probe, as kubelet's.
pub(super) fn ztunnel_is_ready(netns: &Netns) -> bool {
    netns
        .run(probe)
        .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn probe() -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, ZTUNNEL_PORT))?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(b"GET /healthz/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
