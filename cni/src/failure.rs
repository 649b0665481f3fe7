//! Errors as runtimes read them.

use std::fmt::Display;

use serde::Serialize;

/// What kind of failure it is; below 100 the specification says what a number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The configuration is of a version that the plugin does not speak.
    IncompatibleVersion,
    /// A variable of the environment is missing or wrong.
    Environment,
    /// Something could not be read or written.
    Io,
    /// The configuration is not JSON.
    Decode,
    /// The configuration is JSON, but not the plugin's.
    Config,
    /// The same call may succeed in a moment; kubelet repeats it by itself.
    TryAgainLater,
    /// The agent cannot bring the pod into the mesh.
    Refused,
    /// The agent's answer makes no sense to this plugin.
    Answer,
    /// The pod is not captured although it should be.
    NotCaptured,
    /// A mistake in the plugin.
    Internal,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::IncompatibleVersion,
        Self::Environment,
        Self::Io,
        Self::Decode,
        Self::Config,
        Self::TryAgainLater,
        Self::Refused,
        Self::Answer,
        Self::NotCaptured,
        Self::Internal,
    ];

    /// The number in the error object.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::IncompatibleVersion => 1,
            Self::Environment => 4,
            Self::Io => 5,
            Self::Decode => 6,
            Self::Config => 7,
            Self::TryAgainLater => 11,
            Self::Refused => 100,
            Self::Answer => 101,
            Self::NotCaptured => 102,
            Self::Internal => 103,
        }
    }
}

/// A failure, for the error object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its kind.
    pub code: Code,
    /// What went wrong.
    pub message: String,
    /// Why, or what to do about it.
    pub details: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorObject<'a> {
    cni_version: &'a str,
    code: u32,
    msg: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    details: &'a str,
}

impl Failure {
    /// A failure without details.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: String::new(),
        }
    }

    /// The same, with details.
    #[must_use]
    pub fn because(mut self, details: impl Display) -> Self {
        self.details = details.to_string();
        self
    }

    /// The error object that the specification wants on stdout.
    #[must_use]
    pub fn object(&self, version: &str) -> String {
        let object = ErrorObject {
            cni_version: version,
            code: self.code.number(),
            msg: &self.message,
            details: &self.details,
        };
        // Text and a number cannot fail to be JSON.
        serde_json::to_string(&object).unwrap_or_default()
    }
}
