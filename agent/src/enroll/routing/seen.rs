//! Rules that are there, as far as they matter.

use weir_common::mark::TABLE;

use super::LOOPED;
use crate::enroll::requests::number_of;

const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
/// `struct fib_rule_hdr`.
const RULE_HEADER: usize = 12;

/// What matters of a rule that is there.
pub(super) struct Seen {
    /// Its family and preference.
    pub(super) place: (u8, u32),
    pub(super) is_ours: bool,
    /// Whether it is one of [`super::RULES`].
    pub(super) loops: bool,
}

impl Seen {
    /// `struct fib_rule_hdr`, and its attributes.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let attributes = message.get(RULE_HEADER..)?;
        let number = |wanted| number_of(attributes, wanted);
        let is_ours = number(FRA_TABLE) == Some(TABLE);
        let marked = (number(FRA_FWMARK), number(FRA_FWMASK));
        Some(Self {
            // The first of all is not told.
            place: (*message.first()?, number(FRA_PRIORITY).unwrap_or(0)),
            is_ours,
            loops: is_ours && marked == (Some(LOOPED.0), Some(LOOPED.1)),
        })
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::AddressFamily;
    use netlink_packet_route::rule::RuleAttribute;
    use rtnetlink::packet_core::Emitable as _;
    use weir_common::mark::{MASK, TO_ZTUNNEL};

    use super::{LOOPED, Seen};
    use crate::enroll::routing::{RULES, rule};

    fn seen(marked: (u32, u32), alter: impl FnOnce(&mut Vec<RuleAttribute>)) -> Seen {
        let (preference, action) = RULES[0];
        let mut rule = rule(AddressFamily::Inet6, (marked, preference, action), None);
        alter(&mut rule.attributes);
        let mut bytes = vec![0; rule.buffer_len()];
        rule.emit(&mut bytes);
        Seen::read(&bytes).unwrap()
    }

    #[test]
    fn our_rules_are_known_by_table_and_mark() {
        let ours = seen(LOOPED, |_| {});
        let place = (u8::from(AddressFamily::Inet6), RULES[0].0);
        assert_eq!((ours.place, ours.is_ours, ours.loops), (place, true, true));
        let another = seen((TO_ZTUNNEL, MASK), |_| {});
        assert_eq!((another.is_ours, another.loops), (true, false));
        let theirs = seen(LOOPED, |attributes| {
            attributes.retain(|attribute| !matches!(attribute, RuleAttribute::Table(_)));
            attributes.push(RuleAttribute::Table(254));
        });
        assert_eq!((theirs.is_ours, theirs.loops), (false, false));
        let first = seen(LOOPED, |attributes| {
            attributes.retain(|attribute| !matches!(attribute, RuleAttribute::Priority(_)));
        });
        assert_eq!(first.place.1, 0);
        assert!(Seen::read(&[2, 0, 0]).is_none());
    }
}
