//! Rules, which choose the table in which a route is looked up.

use ipnetwork::IpNetwork;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};

use crate::netlink::{Error, Netlink, refused};

/// A routing rule that looks up a table by mark, by source, or always.
#[derive(Clone, Debug)]
pub struct Rule {
    family: AddressFamily,
    table: u32,
    preference: u32,
    mark: Option<(u32, u32)>,
    from: Option<IpNetwork>,
    to: Option<IpNetwork>,
}

impl Rule {
    /// A rule for IPv4.
    pub fn v4(preference: u32, table: u32) -> Self {
        Self {
            family: AddressFamily::Inet,
            table,
            preference,
            mark: None,
            from: None,
            to: None,
        }
    }

    /// A rule for IPv6.
    pub fn v6(preference: u32, table: u32) -> Self {
        Self {
            family: AddressFamily::Inet6,
            ..Self::v4(preference, table)
        }
    }

    /// Only packets with this mark under this mask.
    pub fn mark(mut self, mark: u32, mask: u32) -> Self {
        self.mark = Some((mark, mask));
        self
    }

    /// Only packets from this network, which must be of the rule's family.
    pub fn from(mut self, source: IpNetwork) -> Self {
        self.from = Some(source);
        self
    }

    /// Only packets to this network, which must be of the rule's family.
    pub fn to(mut self, destination: IpNetwork) -> Self {
        self.to = Some(destination);
        self
    }

    fn fill(&self, message: &mut RuleMessage) {
        message.header.family = self.family;
        message.header.action = RuleAction::ToTable;
        message.attributes.push(RuleAttribute::Table(self.table));
        message.attributes.push(RuleAttribute::Priority(self.preference));
        if let Some((mark, mask)) = self.mark {
            message
                .attributes
                .extend([RuleAttribute::FwMark(mark), RuleAttribute::FwMask(mask)]);
        }
        if let Some(source) = self.from {
            message.header.src_len = source.prefix();
            message.attributes.push(RuleAttribute::Source(source.ip()));
        }
        if let Some(destination) = self.to {
            message.header.dst_len = destination.prefix();
            message
                .attributes
                .push(RuleAttribute::Destination(destination.ip()));
        }
    }
}

impl Netlink {
    /// Adds a rule.
    pub async fn add_rule(&self, rule: &Rule) -> Result<(), Error> {
        let mut request = self.handle.rule().add();
        rule.fill(request.message_mut());
        let object = format!("rule {} to table {}", rule.preference, rule.table);
        request.execute().await.map_err(refused("add", object))
    }

    /// Removes a rule.
    pub async fn delete_rule(&self, rule: &Rule) -> Result<(), Error> {
        let mut message = RuleMessage::default();
        rule.fill(&mut message);
        let object = format!("rule {} to table {}", rule.preference, rule.table);
        let removed = self.handle.rule().del(message).execute().await;
        removed.map_err(refused("remove", object))
    }
}
