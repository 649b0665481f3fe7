//! Scripts, one per line of the table. A step is one of
//! `+a` wanted, `?a` wanted without netns, `-a` not wanted, `open 1` connect, `hello 1`, `live 1`, `close 1`, `late 1`,
//! `1> add a` the next request on connection 1, `1< ok` and `1< bad` its answer, `wait 5` seconds,
//! `= +a@1 acked` the next thing a caller is told.
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::*;

struct Bench {
    ledger: Ledger,
    now: Instant,
    connections: HashMap<String, ConnectionId>,
    tickets: HashMap<Ticket, String>,
    told: VecDeque<String>,
}

impl Bench {
    fn new() -> Self {
        let backoff = Backoff {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(4),
        };
        Self {
            ledger: Ledger::new(backoff),
            now: Instant::now(),
            connections: HashMap::new(),
            tickets: HashMap::new(),
            told: VecDeque::new(),
        }
    }

    fn step(&mut self, step: &str) {
        match step.split_once(' ') {
            None => self.want(step),
            Some(("=", expected)) => {
                let told = self.told.pop_front();
                assert_eq!(told.as_deref(), Some(expected), "told to a caller");
            }
            Some(("wait", seconds)) => self.now += Duration::from_secs(seconds.parse().unwrap()),
            Some(("open", name)) => {
                let id = self.ledger.open();
                self.connections.insert(name.to_owned(), id);
            }
            Some((verb @ ("hello" | "live" | "close" | "late"), name)) => {
                let id = self.connections[name];
                match verb {
                    "hello" => self.ledger.greeted(id),
                    "live" => self.ledger.live(id),
                    "close" => self.ledger.close(id, &Settlement::Disconnected),
                    _ => self.ledger.close(id, &Settlement::Deadline),
                }
            }
            Some((connection, rest)) => self.talk(connection, rest),
        }
        self.collect();
    }

    fn want(&mut self, step: &str) {
        let (verb, name) = step.split_at(1);
        let uid = PodUid::new(name).unwrap();
        let tickets = match verb {
            "+" => self.ledger.add(workload(name)).into_iter().collect(),
            "-" => self.ledger.remove(&uid),
            _ => {
                self.ledger.keep(uid);
                Vec::new()
            }
        };
        for (id, ticket) in tickets {
            let (connection, _) = self.connections.iter().find(|(_, known)| **known == id).unwrap();
            self.tickets.insert(ticket, format!("{step}@{connection}"));
        }
    }

    fn talk(&mut self, connection: &str, rest: &str) {
        let id = self.connections[connection.trim_end_matches(['<', '>'])];
        match rest {
            "ok" => self.ledger.answered(id, Answer::Ack, self.now),
            "bad" => self.ledger.answered(id, Answer::Nack("bad".to_owned()), self.now),
            expected => assert_eq!(self.next(id), expected, "the next request on {connection}"),
        }
    }

    fn next(&mut self, id: ConnectionId) -> String {
        if self.ledger.link(id).unwrap().stage() != Stage::Live {
            return match self.ledger.next_in_snapshot(id) {
                SnapshotStep::Add(workload) => format!("add {}", workload.uid),
                SnapshotStep::Keep(uid) => format!("keep {uid}"),
                SnapshotStep::Done => "done".to_owned(),
            };
        }
        match self.ledger.next_live(id, self.now) {
            LiveStep::Add(workload) => format!("add {}", workload.uid),
            LiveStep::Del(uid) => format!("del {uid}"),
            LiveStep::Idle(None) => "idle".to_owned(),
            LiveStep::Idle(Some(until)) => format!("idle {}", (until - self.now).as_secs()),
        }
    }

    fn collect(&mut self) {
        for outcome in self.ledger.take_outcomes() {
            let Outcome::Settled(ticket, settlement) = outcome else {
                continue;
            };
            let caller = self.tickets.remove(&ticket).expect("a ticket is settled once");
            let word = match settlement {
                Settlement::Acked => "acked",
                Settlement::Nacked(_) => "nacked",
                Settlement::Deadline => "deadline",
                Settlement::Disconnected => "disconnected",
                Settlement::Superseded => "superseded",
            };
            self.told.push_back(format!("{caller} {word}"));
        }
    }
}

fn workload(uid: &str) -> Workload {
    let netns = std::fs::File::open("/proc/self/ns/net").unwrap();
    Workload {
        uid: PodUid::new(uid).unwrap(),
        name: uid.to_owned(),
        namespace: "default".to_owned(),
        service_account: "sa".to_owned(),
        netns: Arc::new(netns.into()),
    }
}

const LIVE_1: &str = "open 1; hello 1; 1> done; live 1";

const SCRIPTS: &[(&str, &str)] = &[
    (
        "a snapshot holds what is wanted",
        "?k; +a; open 1; hello 1; 1> add a; 1< ok; 1> keep k; 1< ok; 1> done; live 1; 1> idle",
    ),
    (
        "an empty snapshot has a marker too",
        "open 1; hello 1; 1> done; live 1; 1> idle",
    ),
    (
        "nothing is told before hello",
        "open 1; +a; hello 1; 1> add a; 1< ok; 1> done",
    ),
    ("live add", "LIVE; +a; 1> add a; 1< ok; = +a@1 acked; 1> idle"),
    (
        "live del",
        "LIVE; +a; 1> add a; 1< ok; = +a@1 acked; -a; 1> del a; 1< ok; = -a@1 acked; 1> idle",
    ),
    (
        "a pod that is kept cannot be told when live",
        "LIVE; ?a; 1> idle; open 2; hello 2; 2> keep a",
    ),
    ("a known netns stays known", "+a; ?a; open 1; hello 1; 1> add a"),
    (
        "a kept pod whose netns turns up",
        "?a; open 1; hello 1; 1> keep a; 1< ok; 1> done; live 1; +a; 1> add a; 1< ok; = +a@1 acked",
    ),
    (
        "a kept pod that goes",
        "?a; open 1; hello 1; 1> keep a; 1< ok; 1> done; live 1; -a; 1> del a; 1< ok; = -a@1 acked; 1> idle",
    ),
    (
        "add and remove cancel before they are sent",
        "LIVE; +a; -a; = +a@1 superseded; 1> idle; = -a@1 acked",
    ),
    (
        "remove and add cancel to an add",
        "LIVE; +a; 1> add a; 1< ok; = +a@1 acked; -a; +a; = -a@1 superseded; 1> add a; 1< ok; = +a@1 acked; 1> idle",
    ),
    (
        "remove while the add is in flight",
        "LIVE; +a; 1> add a; -a; = +a@1 superseded; 1< ok; 1> del a; 1< ok; = -a@1 acked; 1> idle",
    ),
    (
        "add while the del is in flight",
        "LIVE; +a; 1> add a; 1< ok; = +a@1 acked; -a; 1> del a; +a; = -a@1 superseded; 1< ok; 1> add a; 1< ok; = +a@1 acked; 1> idle",
    ),
    (
        "add twice: both are told",
        "LIVE; +a; +a; 1> add a; 1< ok; = +a@1 acked; = +a@1 acked; 1> idle",
    ),
    (
        "a newer add is not settled by the older's ack",
        "LIVE; +a; 1> add a; +a; 1< ok; = +a@1 acked; 1> add a; 1< ok; = +a@1 acked; 1> idle",
    ),
    ("removing what was never told", "LIVE; -a; 1> idle; = -a@1 acked"),
    (
        "an add during the snapshot comes after the marker",
        "+a; open 1; hello 1; 1> add a; +b; 1< ok; 1> done; live 1; 1> add b; 1< ok; = +b@1 acked; 1> idle",
    ),
    (
        "a pod removed before its turn in the snapshot",
        "+a; +b; open 1; hello 1; 1> add a; -b; 1< ok; 1> done; live 1; 1> idle; = -b@1 acked",
    ),
    (
        "a pod removed after its turn in the snapshot",
        "+a; +b; open 1; hello 1; 1> add a; 1< ok; -a; 1> add b; 1< ok; 1> done; live 1; 1> del a; 1< ok; = -a@1 acked; 1> idle",
    ),
    (
        "a pod added again before its turn in the snapshot is sent once",
        "+a; open 1; hello 1; +a; 1> add a; 1< ok; = +a@1 acked; 1> done; live 1; 1> idle",
    ),
    (
        "a nack is retried with back-off",
        "LIVE; +a; 1> add a; 1< bad; = +a@1 nacked; 1> idle 1; wait 1; 1> add a; 1< bad; 1> idle 2; wait 2; 1> add a; 1< bad; 1> idle 4; wait 4; 1> add a; 1< bad; 1> idle 4; wait 4; 1> add a; 1< ok; 1> idle",
    ),
    (
        "a nack in the snapshot is retried when live",
        "+a; open 1; hello 1; 1> add a; 1< bad; wait 9; 1> done; live 1; 1> add a; 1< ok; 1> idle",
    ),
    (
        "a refused pod that goes is deleted and not retried",
        "LIVE; +a; 1> add a; 1< bad; = +a@1 nacked; -a; 1> del a; 1< ok; = -a@1 acked; wait 9; 1> idle",
    ),
    (
        "a refused keep is not retried",
        "?a; open 1; hello 1; 1> keep a; 1< bad; 1> done; live 1; wait 9; 1> idle",
    ),
    (
        "a refused del is over",
        "LIVE; +a; 1> add a; 1< ok; = +a@1 acked; -a; 1> del a; 1< bad; = -a@1 nacked; wait 9; 1> idle",
    ),
    (
        "adds go to the newest, dels to all",
        "+a; LIVE1A; LIVE2A; +b; 1> idle; 2> add b; 2< ok; = +b@2 acked; -a; 1> del a; 2> del a; 1< ok; 2< ok; = -a@1 acked; = -a@2 acked",
    ),
    (
        "who has not said hello is not the newest",
        "LIVE; open 2; +a; 1> add a; 1< ok; = +a@1 acked",
    ),
    (
        "the newest goes: the other catches up with what it missed",
        "+a; LIVE1A; LIVE2A; +b; 2> add b; 2< ok; = +b@2 acked; close 2; 1> add b; 1< ok; 1> idle",
    ),
    (
        "the newest goes: a netns that changed meanwhile is told",
        "+a; LIVE1A; LIVE2A; +a; 2> add a; close 2; = +a@2 disconnected; 1> add a; 1< ok; 1> idle",
    ),
    (
        "the newest goes: nothing missed, nothing told",
        "+a; LIVE1A; LIVE2A; close 2; 1> idle",
    ),
    (
        "the older goes: nothing happens",
        "+a; LIVE1A; LIVE2A; close 1; 2> idle",
    ),
    (
        "the older goes: its removal is over too",
        "+a; LIVE1A; LIVE2A; -a; close 1; = -a@1 disconnected; 2> del a; 2< ok; = -a@2 acked",
    ),
    (
        "no answer in time: only what was in flight is late",
        "LIVE; +a; +b; 1> add a; late 1; = +a@1 deadline; = +b@1 disconnected; open 2; hello 2; 2> add a; 2< ok; 2> add b; 2< ok; 2> done",
    ),
];

#[test]
fn scripts() {
    for (name, script) in SCRIPTS {
        let script = script
            .replace("LIVE1A", "open 1; hello 1; 1> add a; 1< ok; 1> done; live 1")
            .replace("LIVE2A", "open 2; hello 2; 2> add a; 2< ok; 2> done; live 2")
            .replace("LIVE", LIVE_1);
        eprintln!("{name}: {script}");
        let mut bench = Bench::new();
        for step in script.split("; ") {
            eprintln!("  {step}");
            bench.step(step);
        }
        assert!(
            bench.told.is_empty(),
            "{name}: callers were told more: {:?}",
            bench.told
        );
    }
}
