//! What the agent tells the operator's commands: JSON over the admin socket. Fields are only ever added; when one has
//! to change its meaning, [`VERSION`] does too.

pub mod status;
pub mod time;
pub mod trace;
pub mod verify;

use serde::{Deserialize, Serialize};

/// Version of everything here; it is in each answer.
pub const VERSION: u32 = 1;

/// Why a request was not answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// A sentence.
    pub error: String,
}
