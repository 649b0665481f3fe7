//! What can be proved of pods while no agent runs: that what the kernel holds of them is whole, and that ztunnel still
//! takes their connections. Nobody knows names and annotations then, so an entry's flags are taken as they are; and
//! nothing is mended.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use weir_common::names::map;
use weir_common::pod::PodEntry;

use super::check::{Check, Problem};
use super::facts::{self, NodeFacts, Wanted};
use super::look::Looked;
use super::{look, problems, redirected};
use crate::api::VERSION;
use crate::api::verify::{PinnedReport, VerifiedEntry};
use crate::cgroups::Hierarchy;
use crate::datapath::{Datapath, DatapathError, Pins, maps};
use crate::enroll::EnrollError;
use crate::enroll::filters::Filters;
use crate::enroll::interfaces;
use crate::enroll::redirect::inspect;
use crate::pods::netns::{ListError, find_by_cookies, open_host};
use crate::status;

/// Why nothing can be proved.
#[derive(Debug, thiserror::Error)]
pub enum PinnedError {
    /// The pins cannot be read.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// The node's namespaces cannot be listed.
    #[error(transparent)]
    List(#[from] ListError),
}

/// Looks at all pods that the kernel side knows, from the node whose namespace this is a handle of.
///
/// # Errors
/// [`PinnedError`]; what is wrong with a single pod is in the report.
pub fn report(pins: &Pins, host_netns: &Path) -> Result<PinnedReport, PinnedError> {
    let datapath = Datapath::adopt(pins.clone());
    let entries = entries(&datapath)?;
    let namespaces = find_by_cookies(&entries.keys().copied().collect::<BTreeSet<_>>())?;
    let round = Round {
        node: look::node(&datapath, datapath.missing()?)?,
        covers_all: Hierarchy::find().is_ok_and(|all| datapath.covers(&all.root).unwrap_or(false)),
        host: open_host(host_netns)?,
        datapath,
    };
    let pods = entries.into_iter().map(|(netns, entry)| VerifiedEntry {
        netns,
        problems: round
            .problems(netns, entry, namespaces.get(&netns))
            .iter()
            .map(status::problem)
            .collect(),
    });
    Ok(PinnedReport {
        api_version: VERSION,
        agent: None,
        pods: pods.collect(),
    })
}

fn entries(datapath: &Datapath) -> Result<BTreeMap<u64, PodEntry>, DatapathError> {
    let pods = datapath.maps().pods()?;
    pods.iter()
        .map(|record| {
            let (netns, record) = record.map_err(maps::wrap(map::PODS))?;
            Ok((netns, record.entry))
        })
        .collect()
}

struct Round {
    datapath: Datapath,
    host: OwnedFd,
    node: NodeFacts,
    /// What is tried from a pod would else leave it in clear.
    covers_all: bool,
}

impl Round {
    fn problems(&self, cookie: u64, entry: PodEntry, netns: Option<&OwnedFd>) -> Vec<Problem> {
        let Some(netns) = netns else {
            let detail = "no process and no name leads to its network namespace: it is gone, and nobody has cleared up";
            return vec![Problem::new(Check::Entry, detail)];
        };
        if entry.has(PodEntry::DRAINING) {
            // It has left the mesh, and open connections go on.
            return Vec::new();
        }
        let looked = if entry.has(PodEntry::NODE) {
            self.redirected(netns.as_fd(), cookie, entry)
        } else {
            self.captured(netns.as_fd(), cookie, entry)
        };
        looked.unwrap_or_else(|error| vec![Problem::unreadable(&error)])
    }

    fn captured(
        &self,
        netns: BorrowedFd<'_>,
        cookie: u64,
        entry: PodEntry,
    ) -> Result<Vec<Problem>, EnrollError> {
        let connects = self.covers_all && !entry.has(PodEntry::OUTBOUND_FILTER);
        let looked = Looked {
            filters: &Filters::default(),
            // Only the agent knows.
            at_interfaces: &interfaces::Wanted::default(),
            late_settings: true,
            connects,
        };
        let found = look::pod(&self.datapath, (netns, cookie), &looked)?;
        let flags = entry.flags | PodEntry::CAPTURING;
        Ok(problems(Wanted { cookie, flags }, &self.node, &found))
    }

    fn redirected(
        &self,
        netns: BorrowedFd<'_>,
        cookie: u64,
        entry: PodEntry,
    ) -> Result<Vec<Problem>, EnrollError> {
        let found = inspect::pod(&self.datapath, self.host.as_fd(), netns, cookie)?;
        let flags = entry.flags | PodEntry::REDIRECTING;
        let mut problems = Vec::new();
        problems.extend(facts::entry(Wanted { cookie, flags }, Some(entry)));
        problems.extend(facts::addresses(Some(&found.addresses), &found.wanted));
        problems.extend(redirected::unattached(&found.unattached));
        Ok(problems)
    }
}
