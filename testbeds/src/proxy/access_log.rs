//! Ztunnel's access log, as far as it says what the stand-in's records say.

use std::collections::HashMap;
use std::net::SocketAddr;

use weir_standin::record::{Direction, Outcome, Record};
use weir_standin::route::HBONE_PORT;

/// Reads a line of ztunnel's output; none if it is not about a connection.
pub(super) fn record(line: &str) -> Option<Record> {
    let mut columns = line.split('\t').skip(2);
    if columns.next() != Some("access") {
        return None;
    }
    let message = columns.next()?;
    let fields = fields(columns.next()?);
    let address = |key: &str| -> Option<SocketAddr> { fields.get(key)?.parse().ok() };
    let destination = address("dst.addr");
    let target = address("dst.hbone_addr");
    let mut record = Record::new(direction(&fields, destination)?);
    record.peer = address("src.addr");
    record.original_destination = target.or(destination);
    record.upstream = match record.direction {
        Direction::Outbound => destination,
        Direction::Inbound | Direction::Hbone | Direction::Dns => record.original_destination,
    };
    record.identity = fields.get("src.identity").cloned();
    record.error = fields.get("error").cloned();
    record.outcome = outcome(message, record.error.is_some());
    Some(record)
}

fn direction(fields: &HashMap<&str, String>, destination: Option<SocketAddr>) -> Option<Direction> {
    let tunnel = fields.contains_key("dst.hbone_addr") || destination?.port() == HBONE_PORT;
    match (fields.get("direction")?.as_str(), tunnel) {
        ("outbound", _) => Some(Direction::Outbound),
        ("inbound", true) => Some(Direction::Hbone),
        ("inbound", false) => Some(Direction::Inbound),
        _ => None,
    }
}

/// Early denials have a message of their own; everything else is logged when it is over.
fn outcome(message: &str, error: bool) -> Outcome {
    match (message, error) {
        ("connection failed", _) => Outcome::Denied,
        (_, true) => Outcome::Failed,
        (_, false) => Outcome::Connected,
    }
}

/// Splits `key=value key="quoted value"`.
fn fields(mut text: &str) -> HashMap<&str, String> {
    let mut fields = HashMap::new();
    while let Some((key, rest)) = text.trim_start().split_once('=') {
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_value(quoted),
            None => {
                let end = rest.find(' ').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        fields.insert(key, value);
        text = rest;
    }
    fields
}

fn quoted_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            plain => value.push(plain),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_seen_from_both_ends() {
        let line = |direction: &str| {
            format!(
                "2026-08-01T10:00:00.000000Z\tinfo\taccess\tconnection complete\tsrc.addr=10.0.0.1:40000 \
                 src.workload=\"a b\" src.identity=\"spiffe://cluster.local/ns/default/sa/default\" \
                 dst.addr=10.0.0.2:15008 dst.hbone_addr=10.0.0.2:8080 direction=\"{direction}\" \
                 bytes_sent=3 bytes_recv=4 duration=\"1ms\""
            )
        };
        let outbound = record(&line("outbound")).unwrap();
        assert_eq!(outbound.direction, Direction::Outbound);
        assert_eq!(
            outbound.original_destination,
            Some("10.0.0.2:8080".parse().unwrap())
        );
        assert_eq!(outbound.upstream, Some("10.0.0.2:15008".parse().unwrap()));
        assert_eq!(outbound.outcome, Outcome::Connected);
        let hbone = record(&line("inbound")).unwrap();
        assert_eq!(hbone.direction, Direction::Hbone);
        assert_eq!(hbone.peer, Some("10.0.0.1:40000".parse().unwrap()));
        assert_eq!(hbone.upstream, Some("10.0.0.2:8080".parse().unwrap()));
        assert_eq!(
            hbone.identity.as_deref(),
            Some("spiffe://cluster.local/ns/default/sa/default")
        );
    }

    #[test]
    fn denials_and_failures() {
        let denied = "t\twarn\taccess\tconnection failed\tsrc.addr=10.0.0.1:1 dst.addr=[fd00::1]:15006 \
                      direction=\"inbound\" error=\"attempted \\\"recursive\\\" call to ourself\"";
        let denied = record(denied).unwrap();
        assert_eq!(
            (denied.direction, denied.outcome),
            (Direction::Inbound, Outcome::Denied)
        );
        assert_eq!(
            denied.error.as_deref(),
            Some("attempted \"recursive\" call to ourself")
        );
        let failed = "t\terror\taccess\tconnection complete\tsrc.addr=10.0.0.1:1 dst.addr=10.0.0.2:80 \
                      direction=\"outbound\" duration=\"0ms\" error=\"io\"";
        assert_eq!(record(failed).unwrap().outcome, Outcome::Failed);
    }

    #[test]
    fn other_lines_are_no_connections() {
        for line in [
            "",
            "ready",
            "t\tinfo\tinpod\tpod received\tuid=\"x\"",
            "t\tinfo\taccess\tconnection complete",
        ] {
            assert_eq!(record(line), None, "{line}");
        }
    }
}
