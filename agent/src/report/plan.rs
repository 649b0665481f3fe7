//! What is to be written: a pure decision about times, pods, and what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::annotation::{Annotation, PENDING, Value, wanted};
use super::budget::Budget;
use super::event::{PodEvent, Reason, trouble};
use super::lane::{Gate, Lane, Outcome, Turn};
use super::pace::Pace;
use crate::api_server::Patience;
use crate::pods::pod::PodUid;
use crate::pods::source::kubernetes::Redirections;
use crate::run::registry::{PodState, PodStatus};

/// How long a pod may be on its way before it says so: most are for some milliseconds.
const STEADY: Duration = Duration::from_secs(2);
/// How often trouble that stays is told of again.
const REPEAT: Duration = Duration::from_secs(3600);

/// How long trouble must have lasted to be told of.
const fn lasting(reason: Reason) -> Duration {
    match reason {
        Reason::NotEnrolled => Duration::from_secs(5),
        Reason::Waiting => Duration::from_secs(60),
        Reason::NotRedirected | Reason::NotCaptured | Reason::Enrolled => Duration::ZERO,
    }
}

/// Something to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Write {
    Annotation(Annotation),
    Event(PodEvent),
}

impl Write {
    pub(super) const fn lane(&self) -> Lane {
        match self {
            Self::Annotation(_) => Lane::Annotation,
            Self::Event(_) => Lane::Event,
        }
    }
}

/// One pod, as far as reports go.
#[derive(Debug)]
struct Reported {
    wanted: (Value, Instant),
    pace: Pace,
    trouble: Option<(Reason, Instant)>,
    told: Option<(Reason, Instant)>,
}

/// What has been written, and may be.
#[derive(Debug)]
pub(super) struct Plan {
    pods: BTreeMap<PodUid, Reported>,
    budget: Budget,
    annotations: Gate,
    events: Gate,
}

/// When the plan is to be asked again.
#[derive(Debug, Default)]
struct Next(Option<Instant>);

impl Next {
    /// Whether `at` has come; if not, it is waited for.
    fn has_come(&mut self, now: Instant, at: Instant) -> bool {
        if at > now {
            self.0 = Some(self.0.map_or(at, |next| next.min(at)));
        }
        at <= now
    }
}

impl Plan {
    pub(super) fn new(now: Instant, patience: Patience) -> Self {
        let gate = || Gate::new(patience.first_pause, patience.longest_pause);
        Self {
            pods: BTreeMap::new(),
            budget: Budget::new(now),
            annotations: gate(),
            events: gate(),
        }
    }

    /// What is to be written now, and when to ask again although nothing has changed.
    pub(super) fn due(
        &mut self,
        now: Instant,
        pods: &[PodStatus],
        redirections: &Redirections,
    ) -> (Vec<Write>, Option<Instant>) {
        let living: BTreeSet<&PodUid> = pods.iter().map(|pod| &pod.uid).collect();
        self.pods.retain(|uid, _| living.contains(uid));
        let mut next = Next::default();
        let mut writes = Vec::new();
        for pod in pods {
            self.look_at(now, pod);
            if let Some(said) = redirections.get(&pod.uid) {
                writes.extend(self.annotation(now, pod, said.as_deref(), &mut next));
            }
            writes.extend(self.event(now, pod, &mut next));
        }
        (writes, next.0)
    }

    fn look_at(&mut self, now: Instant, pod: &PodStatus) {
        let wanted = wanted(&pod.state);
        let reported = self.pods.entry(pod.uid.clone()).or_insert(Reported {
            wanted: (wanted, now),
            pace: Pace::default(),
            trouble: None,
            told: None,
        });
        if reported.wanted.0 != wanted {
            reported.wanted = (wanted, now);
        }
        let reason = trouble(pod).map(|(reason, _)| reason);
        if reported.trouble.map(|(reason, _)| reason) != reason {
            reported.trouble = reason.map(|reason| (reason, now));
        }
    }

    fn annotation(
        &self,
        now: Instant,
        pod: &PodStatus,
        said: Option<&str>,
        next: &mut Next,
    ) -> Option<Write> {
        let reported = self.pods.get(&pod.uid)?;
        let (value, since) = reported.wanted;
        if value == said {
            return None;
        }
        let steady = if value == PENDING { since + STEADY } else { since };
        let allowed = reported.pace.next().unwrap_or(now);
        let open = self.annotations.closed_until(now).unwrap_or(now);
        next.has_come(now, steady.max(allowed).max(open)).then(|| {
            Write::Annotation(Annotation {
                uid: pod.uid.clone(),
                name: pod.name.clone(),
                value,
            })
        })
    }

    fn event(&self, now: Instant, pod: &PodStatus, next: &mut Next) -> Option<Write> {
        let reported = self.pods.get(&pod.uid)?;
        let (reason, note, at) = match (trouble(pod), reported.trouble, reported.told) {
            (Some((reason, note)), Some((_, since)), told) => {
                let repeated = told
                    .filter(|(before, _)| *before == reason)
                    .map(|(_, at)| at + REPEAT);
                (reason, note, repeated.unwrap_or(since + lasting(reason)))
            }
            (None, _, Some(_)) if pod.state == PodState::Enrolled => {
                let note = "its connections are captured and reach ztunnel".to_owned();
                (Reason::Enrolled, note, now)
            }
            _ => return None,
        };
        let open = self.events.closed_until(now).unwrap_or(now);
        next.has_come(now, at.max(open).max(self.budget.next())).then(|| {
            Write::Event(PodEvent {
                uid: pod.uid.clone(),
                name: pod.name.clone(),
                reason,
                note,
            })
        })
    }

    /// Whether a write is still to be made, after those before it in the same round.
    pub(super) fn is_open(&self, now: Instant, write: &Write) -> bool {
        match write {
            Write::Annotation(_) => self.annotations.closed_until(now).is_none(),
            Write::Event(_) => self.events.closed_until(now).is_none() && self.budget.next() <= now,
        }
    }

    /// Notes how a write ended.
    pub(super) fn note(&mut self, now: Instant, write: &Write, outcome: &Outcome) -> Turn {
        let done = !matches!(outcome, Outcome::Blocked);
        match write {
            Write::Annotation(annotation) => {
                if let Some(reported) = self.pods.get_mut(&annotation.uid).filter(|_| done) {
                    reported.pace.note(now);
                }
                self.annotations.note(now, outcome)
            }
            Write::Event(event) => {
                self.budget.spend(now);
                if let Some(reported) = self.pods.get_mut(&event.uid).filter(|_| done) {
                    reported.told = match event.reason {
                        Reason::Enrolled => None,
                        trouble => Some((trouble, now)),
                    };
                }
                self.events.note(now, outcome)
            }
        }
    }
}

#[cfg(test)]
mod tests;
