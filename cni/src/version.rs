//! Versions of the CNI specification.

/// The versions that the plugin speaks, oldest first.
pub const SUPPORTED: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// The last of them: what is answered in when the caller's version is not known.
pub const NEWEST: &str = SUPPORTED[SUPPORTED.len() - 1];

/// Whether the plugin speaks it.
#[must_use]
pub fn is_supported(version: &str) -> bool {
    SUPPORTED.contains(&version)
}
