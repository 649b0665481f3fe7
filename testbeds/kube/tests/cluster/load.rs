//! Pods that make connections all the while.

use std::net::SocketAddr;

use weir_testbeds::deadline::eventually;

use crate::live::{Client, DEADLINE, Live, NODES};
use crate::objects;

/// It is made when the load may end.
const ENOUGH: &str = "/tmp/enough";

/// On each node one pod for each server, which are on all nodes. They make some ten connections a second each, and judge
/// them by themselves.
pub struct Load {
    kind: &'static str,
    pods: Vec<(Client, SocketAddr)>,
}

impl Load {
    /// Begins, and waits until connections are made.
    pub fn put(live: &Live, kind: &'static str) -> Self {
        let (seconds, until) = (
            format!("--seconds={}", DEADLINE.as_secs()),
            format!("--until={ENOUGH}"),
        );
        let ways = NODES.into_iter().flat_map(|from| NODES.map(|to| (from, to)));
        let ways: Vec<_> = ways.collect();
        let name = |(from, to)| format!("{kind}.{from}.{to}");
        for way in &ways {
            let to = format!("--to={}", live.target(way.1));
            live.ensure(&objects::conformance(
                "in",
                &name(*way),
                way.0,
                &[kind, &to, &seconds, &until],
            ));
        }
        let pods = ways.into_iter().map(|way| {
            live.runs("in", &name(way));
            (live.client("in", &name(way)), live.target(way.1))
        });
        let load = Self {
            kind,
            pods: pods.collect(),
        };
        for (client, to) in &load.pods {
            // The one that stays open, and the first of the others.
            let begun = eventually(DEADLINE, || (live.outbound(client, *to) > 1).then_some(()));
            assert!(
                begun.is_ok(),
                "{} makes no connections: {}",
                client.name,
                load.said(live, client)
            );
        }
        load
    }

    /// What happened until now happened under load, and each pod is content; hands on what it said.
    pub fn ends_well(&self, live: &Live, mut each: impl FnMut(&Client, SocketAddr, &str)) {
        for (client, _) in &self.pods {
            let running = live.pod("in", &client.name)["status"]["phase"] == "Running";
            assert!(running, "{} has ended: {}", client.name, self.said(live, client));
            let told = live.run_in(
                &client.node,
                &live.container("in", &client.name),
                &["touch", ENOUGH],
            );
            assert!(told.status.success(), "{told:?}");
        }
        live.succeed("in", &format!("app={}", self.kind));
        for (client, to) in &self.pods {
            let said = self.said(live, client);
            println!("  {}", said.trim());
            each(client, *to, &said);
        }
        live.remove_labelled("in", &format!("app={}", self.kind));
    }

    fn said(&self, live: &Live, client: &Client) -> String {
        live.log("in", &client.name, &client.node)
    }
}
