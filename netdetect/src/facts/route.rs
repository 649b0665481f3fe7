//! Routes.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A route to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Its family.
    pub family: Family,
    /// Where it leads; nothing for a default route.
    pub destination: Option<IpNetwork>,
    /// The router, if there is one.
    pub gateway: Option<IpAddr>,
    /// Index of the interface by which packets leave.
    pub interface: Option<u32>,
    /// Its table.
    pub table: u32,
    /// Its metric; smaller ones win.
    pub metric: u32,
}

/// The interfaces that carry the default routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRoutes {
    /// That of IPv4, by index.
    pub v4: Option<u32>,
    /// That of IPv6, by index.
    pub v6: Option<u32>,
}

/// The main table, which is looked up without any rule of one's own.
const MAIN: u32 = 254;

impl DefaultRoutes {
    /// The default routes of the main table with the smallest metric.
    #[must_use]
    pub fn among(routes: &[Route]) -> Self {
        let best = |family| {
            routes
                .iter()
                .filter(|route| route.family == family && route.table == MAIN && route.destination.is_none())
                .filter(|route| route.interface.is_some())
                .min_by_key(|route| route.metric)
                .and_then(|route| route.interface)
        };
        Self {
            v4: best(Family::V4),
            v6: best(Family::V6),
        }
    }
}
