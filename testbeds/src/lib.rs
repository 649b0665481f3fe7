//! Network worlds in namespaces.
#![forbid(unsafe_code)]
