//! What counts as unexpected.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::super::pair::{PAIRS, Way};
use super::super::trial::{Seen, Trial};
use super::Row;
use crate::traffic::{Cause, Failure, Step};

const CLIENT: &str = "10.0.0.1";
const SERVER: &str = "10.0.0.2:8080";

fn server() -> SocketAddr {
    SERVER.parse().unwrap()
}

fn client() -> IpAddr {
    CLIENT.parse().unwrap()
}

/// The first pair expects HBONE.
fn trial(result: Result<Seen, Failure>) -> Trial {
    Trial {
        pair: &PAIRS[0],
        client: Some(client()),
        dialled: server(),
        result,
    }
}

fn seen() -> Seen {
    Seen {
        way: Way::Hbone,
        by_server: client(),
        by_client: server(),
        quickest: Duration::from_millis(2),
    }
}

fn failure() -> Failure {
    Failure {
        step: Step::Connect,
        address: server(),
        cause: Cause::TimedOut,
    }
}

fn row(direct: Result<Seen, Failure>, meshed: Result<Seen, Failure>) -> Row {
    Row::from((trial(direct), trial(meshed)))
}

#[test]
fn what_is_right_is_as_expected() {
    let row = row(Ok(seen()), Ok(seen()));
    assert!(row.is_as_expected());
    let cells = row.cells();
    assert_eq!(
        cells[2..],
        [
            "yes, HBONE",
            "10.0.0.1, client's own",
            "10.0.0.2, as dialled",
            "2.00 ms, 1.0 x direct",
            "ok"
        ]
    );
}

#[test]
fn each_thing_that_is_wrong_is_told() {
    let other: IpAddr = "10.0.0.9".parse().unwrap();
    let past = |way| Seen { way, ..seen() };
    let cases: [(Row, &str); 6] = [
        (row(Ok(seen()), Ok(past(Way::Bypass))), "must be HBONE"),
        (row(Ok(seen()), Ok(past(Way::Plaintext))), "must be HBONE"),
        (row(Ok(seen()), Ok(past(Way::Mixed))), "must be HBONE"),
        (
            row(
                Ok(seen()),
                Ok(Seen {
                    by_server: other,
                    ..seen()
                }),
            ),
            "server must see the client",
        ),
        (
            row(
                Ok(seen()),
                Ok(Seen {
                    by_client: SocketAddr::new(other, 8080),
                    ..seen()
                }),
            ),
            "client must see what it dialled",
        ),
        (row(Ok(seen()), Err(failure())), "TimedOut"),
    ];
    for (row, told) in cases {
        assert!(!row.is_as_expected(), "{told}");
        assert!(row.cells()[6].contains(told), "{:?}", row.cells());
    }
    let broken_before = row(Err(failure()), Ok(seen()));
    assert!(broken_before.cells()[6].contains("without Weir already"));
}
