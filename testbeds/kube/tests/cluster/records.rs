//! What ztunnel has written down.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use weir_standin::record::{Direction, Record};
use weir_testbeds::deadline::eventually;

use crate::live::{Client, Live, NODES};
use crate::objects::RECORDS;

const SOON: Duration = Duration::from_secs(30);

impl Live {
    fn record(&self, node: &str) -> Vec<Record> {
        let read = self.on(node, &["cat", RECORDS]);
        let text = String::from_utf8_lossy(&read.stdout).into_owned();
        // A line that is being written is read next time.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// How many connections ztunnel has written down.
    pub fn records(&self, node: &str) -> usize {
        self.record(node).len()
    }

    /// Waits until ztunnel has written down such a connection, after the first `known`.
    pub fn recorded(&self, node: &str, known: usize, is_it: impl Fn(&Record) -> bool) {
        let find = || self.record(node).iter().skip(known).any(&is_it).then_some(());
        let seen = eventually(SOON, find);
        assert!(
            seen.is_ok(),
            "ztunnel on {node} did not see it, but {:#?}",
            &self.record(node)[known..]
        );
    }

    /// How many connections of this pod, from its own address to this server, went out through ztunnel.
    pub fn outbound(&self, client: &Client, to: SocketAddr) -> usize {
        let record = self.record(&client.node);
        record
            .iter()
            .filter(|record| went_out(record, client, to))
            .count()
    }

    /// Waits until ztunnel has seen as many, which must be all.
    pub fn all_outbound(&self, client: &Client, to: SocketAddr, made: usize) {
        let seen = || self.outbound(client, to);
        let all = eventually(SOON, || (seen() >= made).then(seen));
        let Client { name, node, .. } = client;
        let all = all.unwrap_or_else(|_| seen());
        assert_eq!(
            all, made,
            "connections of {name} to {to} that ztunnel on {node} saw"
        );
    }

    /// Waits until each of these pods has made a connection to this server through ztunnel.
    pub fn all_are_clients_of(&self, pods: &BTreeSet<String>, to: SocketAddr) {
        let missed = || -> Vec<String> {
            let records = NODES.into_iter().flat_map(|node| self.record(node));
            let outbound = records.filter(|record| is_outbound(record, to));
            let clients: BTreeSet<String> = outbound.filter_map(|record| record.pod).collect();
            pods.difference(&clients).cloned().collect()
        };
        let none = eventually(SOON, || missed().is_empty().then_some(()));
        assert!(none.is_ok(), "ztunnel saw nothing of {:?}", missed());
    }
}

pub fn is_outbound(record: &Record, to: SocketAddr) -> bool {
    record.direction == Direction::Outbound && record.original_destination == Some(to)
}

pub fn went_out(record: &Record, client: &Client, to: SocketAddr) -> bool {
    let from = record.peer.is_some_and(|peer| peer.ip() == client.address);
    is_outbound(record, to) && from && record.pod.as_ref() == Some(&client.uid)
}
