//! The two kinds of reports. What keeps one from the server need not keep the other.

use std::time::Duration;

use tokio::time::Instant;

use crate::api_server::{ApiError, Pause};

/// A kind of report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// The annotation on the pod.
    Annotation,
    /// An event.
    Event,
}

impl Lane {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Annotation, Self::Event];

    /// The word for it in the log and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Annotation => "annotation",
            Self::Event => "event",
        }
    }
}

/// Whether a kind of report can be written.
#[derive(Debug)]
pub(super) struct Gate {
    pause: Pause,
    closed: Option<Instant>,
}

/// How an attempt to write ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is written.
    Written,
    /// The object is gone, or its namespace is about to be: nothing is lost.
    Moot,
    /// The server does not take this one, whenever it comes.
    Invalid,
    /// No report of this kind can be written now.
    Blocked,
}

impl Outcome {
    pub(super) fn of(written: &Result<(), ApiError>) -> Self {
        match written {
            Ok(()) => Self::Written,
            Err(ApiError::NotFound { .. } | ApiError::Refused { code: 409, .. }) => Self::Moot,
            // A pod of the same name has taken its place.
            Err(ApiError::Refused {
                code: 422, message, ..
            }) if message.contains("metadata.uid") => Self::Moot,
            Err(ApiError::Refused { code: 400 | 422, .. }) => Self::Invalid,
            Err(ApiError::Forbidden { message, .. }) if message.contains("being terminated") => Self::Moot,
            Err(_) => Self::Blocked,
        }
    }
}

/// What an attempt changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    None,
    Closed,
    Opened,
}

impl Gate {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            pause: Pause::new(first, longest),
            closed: None,
        }
    }

    /// Until when nothing is attempted.
    pub(super) fn closed_until(&self, now: Instant) -> Option<Instant> {
        self.closed.filter(|until| *until > now)
    }

    pub(super) fn note(&mut self, now: Instant, outcome: &Outcome) -> Turn {
        match outcome {
            Outcome::Written | Outcome::Moot | Outcome::Invalid => {
                self.pause.reset();
                match self.closed.take() {
                    Some(_) => Turn::Opened,
                    None => Turn::None,
                }
            }
            Outcome::Blocked => {
                let until = now + self.pause.after_failure();
                match self.closed.replace(until) {
                    Some(_) => Turn::None,
                    None => Turn::Closed,
                }
            }
        }
    }
}
