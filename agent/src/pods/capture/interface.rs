//! Names of network interfaces.

use std::fmt;

/// A name that the kernel would accept for an interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// Longest name, without the terminating zero (`IFNAMSIZ` - 1).
    pub const MAX_LENGTH: usize = 15;

    /// Checks `name` by the kernel's rules; control characters, which it allows, are refused too.
    pub fn new(name: impl Into<String>) -> Result<Self, InterfaceNameError> {
        let name = name.into();
        let is_allowed = |c: char| !c.is_whitespace() && !c.is_control() && c != '/' && c != ':';
        let is_name = !matches!(name.as_str(), "" | "." | "..")
            && name.len() <= Self::MAX_LENGTH
            && name.chars().all(is_allowed);
        if is_name {
            Ok(Self(name))
        } else {
            Err(InterfaceNameError { name })
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// No interface can have this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no interface name: use 1 to 15 bytes without blanks, '/' or ':'")]
pub struct InterfaceNameError {
    /// What was given.
    pub name: String,
}
