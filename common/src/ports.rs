//! ztunnel's ports inside a pod.

/// Outbound capture.
pub const OUTBOUND: u16 = 15001;
/// Inbound plaintext capture.
pub const INBOUND: u16 = 15006;
/// HBONE: peers dial it, nothing is redirected to it.
pub const HBONE: u16 = 15008;
/// DNS capture, on loopback only.
pub const DNS_CAPTURE: u16 = 15053;
/// DNS.
pub const DNS: u16 = 53;

/// Ports that only ztunnel serves: the pod's own processes may not dial them.
#[must_use]
#[inline(always)]
pub const fn is_ztunnel(port: u16) -> bool {
    matches!(port, OUTBOUND | INBOUND | HBONE)
}

/// Ports whose listeners captured connections are handed to.
#[must_use]
#[inline(always)]
pub const fn takes_captured(port: u16) -> bool {
    matches!(port, OUTBOUND | INBOUND)
}
