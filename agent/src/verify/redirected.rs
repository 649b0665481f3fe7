//! A pod whose connections are redirected on the node: what is found, and what is wrong with it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::AsFd as _;

use weir_common::pod::PodEntry;

use super::check::{Check, Problem};
use super::facts::{self, Wanted};
use super::{active, look};
use crate::enroll::redirect::{detour, inspect};
use crate::enroll::{EnrollError, addresses, netlink};
use crate::inside;
use crate::run::keeper::Kept;
use crate::run::subjects::Subject;
use crate::run::view::View;

/// What is wrong.
pub(super) fn problems(view: &View, subject: &Subject) -> Result<Vec<Problem>, EnrollError> {
    let netns = subject.netns.as_fd();
    let held = netlink::ask(netns, addresses::read)?;
    let targets = active::targets(held.first_v4.is_some(), held.first_v6.is_some(), &subject.filters);
    let tried = inside::run(netns, || look::connect(targets))?;
    let record = view.datapath.maps().pod(subject.cookie)?;
    let entry = record.map(|record| record.entry);
    let wanted = Wanted {
        cookie: subject.cookie,
        flags: subject.filters.entry_flags() | PodEntry::NODE | PodEntry::REDIRECTING | followed(entry),
    };
    let found = inspect::pod(&view.datapath, view.node.handle.as_fd(), netns, subject.cookie)?;
    let mut problems = Vec::new();
    problems.extend(facts::entry(wanted, entry));
    problems.extend(facts::addresses(Some(&found.addresses), &found.wanted));
    problems.extend(facts::shown(record, &held.own));
    problems.extend(unattached(&found.unattached));
    if !detour::is_made(&view.datapath, subject.cookie)? {
        problems.extend(unturned(entry));
    }
    problems.extend(no_ztunnel(&view.kept.all()));
    problems.extend(unexplained(&tried, &problems));
    Ok(problems)
}

/// Flags that follow ztunnel, wherever it is and whether it is.
fn followed(entry: Option<PodEntry>) -> u32 {
    entry.map_or(0, |entry| entry.flags & (PodEntry::DETOURED | PodEntry::OPEN))
}

/// What is wrong with a pod whose connections are not made to ztunnel in the first place.
fn unturned(entry: Option<PodEntry>) -> Option<Problem> {
    entry.filter(|entry| entry.has(PodEntry::DETOURED)).map(|_| {
        let detail =
            "connections out of the pod are not turned to ztunnel: the kernel side has no detour for it";
        Problem::new(Check::Redirect, detail)
    })
}

pub(super) fn unattached(interfaces: &[String]) -> Option<Problem> {
    (!interfaces.is_empty()).then(|| {
        let names = interfaces.join(", ");
        let detail = format!("connections by {names} are not redirected: the programs there are gone");
        Problem::new(Check::Redirect, detail)
    })
}

fn no_ztunnel(kept: &[Kept]) -> Option<Problem> {
    if kept.iter().any(|ztunnel| ztunnel.current) {
        return None;
    }
    let complaints: BTreeSet<&str> = kept
        .iter()
        .filter_map(|ztunnel| ztunnel.complaint.as_deref())
        .collect();
    let why: String = complaints
        .iter()
        .map(|complaint| format!("; {complaint}"))
        .collect();
    let detail = format!("no ztunnel listens in a network namespace of its own{why}");
    Some(Problem::new(Check::Ztunnel, detail))
}

/// Without a ztunnel no connection can succeed.
fn unexplained(tried: &[(IpAddr, Option<String>)], problems: &[Problem]) -> Option<Problem> {
    let explained = problems.iter().any(|problem| problem.check == Check::Ztunnel);
    facts::connections(tried).filter(|_| !explained)
}

#[cfg(test)]
mod tests {
    use weir_common::pod::PodEntry;

    use super::{Check, Kept, followed, no_ztunnel, unattached, unturned};

    #[test]
    fn a_ztunnel_that_cannot_be_used_is_said_to_be_so() {
        let kept = |current, complaint: Option<&str>| Kept {
            connected: None,
            name: "ztunnel".to_owned(),
            listening: current,
            current,
            complaint: complaint.map(str::to_owned),
        };
        assert_eq!(no_ztunnel(&[kept(false, None), kept(true, None)]), None);
        let problem = no_ztunnel(&[kept(false, Some("it is deaf"))]).unwrap();
        assert_eq!(problem.check, Check::Ztunnel);
        assert!(problem.detail.ends_with("; it is deaf"), "{}", problem.detail);
        assert!(no_ztunnel(&[]).is_some());
    }

    #[test]
    fn interfaces_without_programs_are_named() {
        assert_eq!(unattached(&[]), None);
        let problem = unattached(&["eth0".to_owned()]).unwrap();
        assert!(problem.detail.contains("eth0"));
    }

    #[test]
    fn only_pods_that_make_the_detour_miss_it() {
        let entry = |flags| Some(PodEntry { flags, sysctls: 0 });
        let detoured = entry(PodEntry::NODE | PodEntry::DETOURED);
        assert_eq!(unturned(detoured).unwrap().check, Check::Redirect);
        assert_eq!(followed(detoured), PodEntry::DETOURED);
        assert_eq!((unturned(entry(PodEntry::NODE)), unturned(None)), (None, None));
        assert_eq!(followed(None), 0);
    }
}
