//! What is measured of every variant.

use std::collections::BTreeMap;

use serde::Serialize;

/// One number per variant and round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Column {
    NewConnections,
    NewConnectionP50,
    NewConnectionP99,
    NewConnectionProxyCpu,
    NewConnectionMachineCpu,
    Requests,
    RequestP50,
    RequestP99,
    RequestProxyCpu,
    RequestMachineCpu,
    LoneRequestP50,
    LoneRequestP99,
    OneStream,
    FourStreams,
}

/// The numbers of one variant in one round.
pub type Numbers = BTreeMap<Column, f64>;

impl Column {
    /// All, as reports list them.
    pub const ALL: [Self; 14] = [
        Self::NewConnections,
        Self::NewConnectionP50,
        Self::NewConnectionP99,
        Self::NewConnectionProxyCpu,
        Self::NewConnectionMachineCpu,
        Self::Requests,
        Self::RequestP50,
        Self::RequestP99,
        Self::RequestProxyCpu,
        Self::RequestMachineCpu,
        Self::LoneRequestP50,
        Self::LoneRequestP99,
        Self::OneStream,
        Self::FourStreams,
    ];

    /// What it is, with its unit.
    pub const fn title(self) -> &'static str {
        match self {
            Self::NewConnections => "new connections/s, 16 clients",
            Self::NewConnectionP50 => "- p50, µs",
            Self::NewConnectionP99 => "- p99, µs",
            Self::NewConnectionProxyCpu => "- CPU of the proxy, µs each",
            Self::NewConnectionMachineCpu => "- CPU of the machine, µs each",
            Self::Requests => "keep-alive requests/s, 16 clients",
            Self::RequestP50 => "- p50, µs",
            Self::RequestP99 => "- p99, µs",
            Self::RequestProxyCpu => "- CPU of the proxy, µs each",
            Self::RequestMachineCpu => "- CPU of the machine, µs each",
            Self::LoneRequestP50 => "request of a lone client, p50, µs",
            Self::LoneRequestP99 => "- p99, µs",
            Self::OneStream => "throughput of 1 stream, Gbit/s",
            Self::FourStreams => "throughput of 4 streams, Gbit/s",
        }
    }

    /// Whether more is better.
    pub const fn more_is_better(self) -> bool {
        matches!(
            self,
            Self::NewConnections | Self::Requests | Self::OneStream | Self::FourStreams
        )
    }

    /// How many times `ours` is better than `theirs`; nothing where one of them was not measured.
    pub fn advantage(self, ours: f64, theirs: f64) -> Option<f64> {
        let (over, under) = if self.more_is_better() {
            (ours, theirs)
        } else {
            (theirs, ours)
        };
        // A rate of nothing is the worst there is; a latency of nothing is none.
        (under > 0.0 && (over > 0.0 || self.more_is_better())).then(|| over / under)
    }
}

#[cfg(test)]
mod tests {
    use super::Column;

    #[test]
    fn better_is_above_one_in_either_direction() {
        assert_eq!(Column::Requests.advantage(3.0, 2.0), Some(1.5));
        assert_eq!(Column::RequestP50.advantage(2.0, 3.0), Some(1.5));
        assert_eq!(Column::RequestProxyCpu.advantage(2.0, 0.0), None);
        assert_eq!(Column::Requests.advantage(0.0, 2.0), Some(0.0), "it stood still");
        assert_eq!(Column::RequestP50.advantage(0.0, 2.0), None);
    }
}
