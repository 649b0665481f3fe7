//! Routing rules, and those that get in the way of ours.

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use weir_common::mark::{self, MASK, RULE_PREFERENCE, TABLE};

use super::Family;

/// The last preference that Weir's own rules have.
const LAST_PREFERENCE: u32 = RULE_PREFERENCE + 2;
/// Marks that mean something to Weir in a pod.
const MARKS: [u32; 4] = [mark::OUTBOUND, mark::VIRTUAL, mark::TO_APPLICATION, mark::ZTUNNEL];
/// The rule that istio-cni leaves in pods: its mark, mask, and table.
const ISTIO: (u32, u32, u32) = (0x111, 0xfff, 100);

/// A rule that somebody added: the three that every namespace begins with are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its family.
    pub family: Family,
    /// Its preference; smaller ones are asked first.
    pub preference: u32,
    /// The mark that it asks for.
    pub mark: Option<u32>,
    /// Under which mask; all bits where the kernel says none.
    pub mask: Option<u32>,
    /// The source that it asks for.
    pub source: Option<IpNetwork>,
    /// The destination that it asks for.
    pub destination: Option<IpNetwork>,
    /// The interface by which packets have to arrive.
    pub interface: Option<String>,
    /// The table that it leads to.
    pub table: u32,
}

/// Whose rule it is, as far as it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleOwner {
    /// Weir's.
    Weir,
    /// istio-cni's.
    IstioCni,
    /// Somebody else's.
    Other,
}

/// How a rule gets in the way of Weir's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clash {
    /// It has one of our preferences: enrolment will be refused.
    Preference,
    /// It is asked before ours, and takes packets with our marks.
    Before,
    /// It asks for one of our marks, but is asked after ours.
    After,
}

impl Rule {
    /// Whose it is.
    #[must_use]
    pub fn owner(&self) -> RuleOwner {
        match (self.mark, self.mask, self.table) {
            (_, _, TABLE) => RuleOwner::Weir,
            (Some(mark), mask, table) if (mark, mask.unwrap_or(u32::MAX), table) == ISTIO => {
                RuleOwner::IstioCni
            }
            _ => RuleOwner::Other,
        }
    }

    /// Whether and how it gets in the way of Weir's rules.
    #[must_use]
    pub fn clash(&self) -> Option<Clash> {
        if self.owner() == RuleOwner::Weir {
            return None;
        }
        match self.preference {
            RULE_PREFERENCE..=LAST_PREFERENCE => Some(Clash::Preference),
            0..RULE_PREFERENCE if self.takes_our_marks() => Some(Clash::Before),
            0..RULE_PREFERENCE => None,
            _ if self.mark.is_some() && self.takes_our_marks() => Some(Clash::After),
            _ => None,
        }
    }

    /// Whether a packet with one of our marks, and no other bits, would match.
    fn takes_our_marks(&self) -> bool {
        let Some(mark) = self.mark else {
            return true;
        };
        let mask = self.mask.unwrap_or(u32::MAX);
        MARKS.iter().any(|ours| ours & MASK & mask == mark & mask)
    }
}

#[cfg(test)]
mod tests {
    use super::{Clash, Family, Rule, RuleOwner};
    use weir_common::mark::TABLE;

    fn rule(preference: u32, mark: Option<(u32, u32)>, table: u32) -> Rule {
        Rule {
            family: Family::V4,
            preference,
            mark: mark.map(|(mark, _)| mark),
            mask: mark.map(|(_, mask)| mask),
            source: None,
            destination: None,
            interface: None,
            table,
        }
    }

    #[test]
    fn rules_clash_by_preference_and_by_mark() {
        for (rule, clash) in [
            (rule(15, Some((0x222, 0xfef)), TABLE), None),
            (rule(16, Some((0x8000, 0x8000)), 7), Some(Clash::Preference)),
            (rule(17, None, 7), Some(Clash::Preference)),
            (rule(14, None, 7), Some(Clash::Before)),
            (rule(14, Some((0x222, 0xfff)), 7), Some(Clash::Before)),
            (rule(14, Some((0x4000, 0x4000)), 7), None),
            (rule(32764, Some((0x111, 0xfff)), 100), None),
            (rule(32764, Some((0x2, 0x2)), 7), Some(Clash::After)),
            (rule(18, None, 7), None),
            (rule(20, Some((0x222, u32::MAX)), 7), Some(Clash::After)),
        ] {
            assert_eq!(rule.clash(), clash, "{rule:?}");
        }
    }

    #[test]
    fn istio_s_rule_is_known() {
        assert_eq!(
            rule(32764, Some((0x111, 0xfff)), 100).owner(),
            RuleOwner::IstioCni
        );
        assert_eq!(rule(32764, Some((0x111, 0xfff)), 101).owner(), RuleOwner::Other);
        assert_eq!(rule(15, Some((0x222, 0xfff)), TABLE).owner(), RuleOwner::Weir);
    }
}
