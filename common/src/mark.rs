//! Marks on sockets and packets, and the routing table they lead to.

/// The part of a mark that Weir and ztunnel use; the rest is left to others.
pub const MASK: u32 = 0xfff;
/// Set by ztunnel on every socket it makes in a pod.
pub const ZTUNNEL: u32 = 0x539;
/// An application's connection on its way to ztunnel.
pub const OUTBOUND: u32 = 0x222;
/// A virtual machine's connection on its way to ztunnel. Not the application's mark: the rule for this one names the
/// interface, so that neither answers nor the kernel's check of source addresses follow it.
pub const VIRTUAL: u32 = 0x223;
/// ztunnel's connection to the application, made from the client's address.
pub const TO_APPLICATION: u32 = 0x232;
/// A packet that ztunnel sent in a pod's name, on its way through the node as if the pod had sent it (node contract).
pub const BYPASS: u32 = 0x333;
/// A packet on its way from the node to ztunnel's netns, tagged by us and not by a forger (node contract).
pub const TAGGED: u32 = 0x334;
/// A redirected packet in ztunnel's netns (node contract): a rule leads it to local delivery there.
pub const TO_ZTUNNEL: u32 = 0x400;

/// The part of [`OUTBOUND`] and [`TO_APPLICATION`] that they have in common, and nothing else has: both lead to the same
/// table, by one rule.
pub const LOOPED: u32 = OUTBOUND & LOOPED_MASK;
/// See above.
pub const LOOPED_MASK: u32 = MASK & !(OUTBOUND ^ TO_APPLICATION);

/// The pod's routing table in which every destination is local; "WEIR" in ASCII, so that it is nobody else's.
pub const TABLE: u32 = 0x5745_4952;
/// Preference of the rules that lead to [`TABLE`]: after the local table, before everything that others add.
pub const RULE_PREFERENCE: u32 = 15;

/// `mark` with our part replaced.
#[must_use]
#[inline(always)]
pub const fn replaced(mark: u32, ours: u32) -> u32 {
    (mark & !MASK) | ours
}

/// Our part of `mark`.
#[must_use]
#[inline(always)]
pub const fn ours(mark: u32) -> u32 {
    mark & MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_rule_is_for_the_two_that_go_by_loopback_and_for_no_other() {
        let by_rule = |mark: u32| mark & LOOPED_MASK == LOOPED;
        assert!(by_rule(OUTBOUND) && by_rule(TO_APPLICATION));
        for mark in [ZTUNNEL, VIRTUAL, BYPASS, TAGGED, TO_ZTUNNEL, 0] {
            assert!(!by_rule(mark), "{mark:#x}");
        }
    }
}
