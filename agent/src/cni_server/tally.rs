//! Counts what plugins have asked and been answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use weir_cni::protocol;

use crate::run::registry::EnrolmentTimes;

/// What is asked, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the commands of the CNI specification")]
pub enum Command {
    Add,
    Del,
    Check,
    Gc,
}

/// How it is answered, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "those of the protocol")]
pub enum Outcome {
    Enrolled,
    Outside,
    Done,
    Later,
    Refused,
    NotCaptured,
}

impl Command {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Add, Self::Del, Self::Check, Self::Gc];

    /// Which it is.
    #[must_use]
    pub const fn of(command: &protocol::Command) -> Self {
        match command {
            protocol::Command::Add(_) => Self::Add,
            protocol::Command::Del(_) => Self::Del,
            protocol::Command::Check(_) => Self::Check,
            protocol::Command::Gc { .. } => Self::Gc,
        }
    }

    /// The label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Del => "del",
            Self::Check => "check",
            Self::Gc => "gc",
        }
    }
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Enrolled,
        Self::Outside,
        Self::Done,
        Self::Later,
        Self::Refused,
        Self::NotCaptured,
    ];

    /// Which it is.
    #[must_use]
    pub const fn of(outcome: &protocol::Outcome) -> Self {
        match outcome {
            protocol::Outcome::Enrolled => Self::Enrolled,
            protocol::Outcome::Outside { .. } => Self::Outside,
            protocol::Outcome::Done => Self::Done,
            protocol::Outcome::Later { .. } => Self::Later,
            protocol::Outcome::Refused { .. } => Self::Refused,
            protocol::Outcome::NotCaptured { .. } => Self::NotCaptured,
        }
    }

    /// The label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enrolled => "enrolled",
            Self::Outside => "outside",
            Self::Done => "done",
            Self::Later => "later",
            Self::Refused => "refused",
            Self::NotCaptured => "not_captured",
        }
    }
}

/// What was counted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Questions by what was asked and how it was answered.
    pub answers: BTreeMap<(Command, Outcome), u64>,
    /// Questions that could not be read.
    pub malformed: u64,
    /// How long pods of the mesh waited for their answer.
    pub adds: EnrolmentTimes,
}

/// Counts; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct CniTally(Arc<Mutex<Tally>>);

impl CniTally {
    pub(super) fn count(&self, command: Command, outcome: Outcome, took: Duration) {
        let mut tally = self.lock();
        *tally.answers.entry((command, outcome)).or_default() += 1;
        if (command, outcome) == (Command::Add, Outcome::Enrolled) {
            tally.adds.record(took);
        }
    }

    pub(super) fn count_malformed(&self) {
        self.lock().malformed += 1;
    }

    /// What was counted so far.
    #[must_use]
    pub fn read(&self) -> Tally {
        self.lock().clone()
    }

    /// A panic elsewhere leaves plain data behind, which is still true.
    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
