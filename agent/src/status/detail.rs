//! Everything about one pod.

use futures::TryStreamExt as _;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::Handle;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::PathBuf;

use weir_common::ports;
use weir_netdetect::choose::Contract;

use super::pinned::kernel_state;
use super::{reasons, summary};
use crate::api::VERSION;
use crate::api::status::{Interface, InterfaceWiring, Listeners, PodDetail, Served};
use crate::datapath::counters;
use crate::enroll::{EnrollError, listeners, netlink};
use crate::run::registry::{PodState, PodStatus};
use crate::run::view::View;

/// Everything about a pod.
///
/// # Errors
/// [`EnrollError`] if the kernel's side of it cannot be read.
pub fn of_pod(view: &View, pod: &PodStatus) -> Result<PodDetail, EnrollError> {
    let maps = view.datapath.maps();
    let counts = counters::by_pod(maps)?;
    let counts = pod.netns.and_then(|netns| counts.get(&netns));
    let kernel = pod
        .netns
        .map(|netns| kernel_state(maps, view.datapath.pins(), netns))
        .transpose()?
        .flatten();
    let zds = view.zds.status();
    // By the node contract no ztunnel is told of pods.
    let told = pod.contract == Contract::InPod;
    let served = zds.pods.get(&pod.uid).filter(|_| told);
    let mut told_of = summary(pod, counts);
    told_of.warnings.extend(passed_by(view, pod));
    Ok(PodDetail {
        api_version: VERSION,
        pod: told_of,
        reasons: counts.map(reasons).unwrap_or_default(),
        kernel,
        listeners: pod
            .netns
            .map_or(Ok(Vec::new()), |netns| registered(view, netns))?,
        interfaces: interfaces(view, pod)?,
        wiring: wiring(view, pod),
        netns_path: netns_path(view, pod),
        ztunnel: served.map(|status| Served {
            acked: status.acked,
            nack: status.nack.clone(),
        }),
    })
}

fn registered(view: &View, netns: u64) -> Result<Vec<Listeners>, EnrollError> {
    let known = listeners::registered(view.datapath.maps(), netns)?;
    let count = |port| Listeners {
        port,
        registered: known.get(&port).copied().unwrap_or(0),
    };
    Ok([ports::OUTBOUND, ports::INBOUND].map(count).into())
}

/// A pod that goes while it is looked at has none.
fn wiring(view: &View, pod: &PodStatus) -> Vec<InterfaceWiring> {
    let subject = view.subjects.get(&pod.uid);
    let told = subject.and_then(|subject| view.wiring.pod(subject.netns.as_fd()).ok());
    told.unwrap_or_default()
}

/// Programs come and go without the pod's task, so they are looked for when somebody asks.
fn passed_by(view: &View, pod: &PodStatus) -> Vec<String> {
    if pod.contract != Contract::Node || pod.state != PodState::Enrolled {
        return Vec::new();
    }
    let subject = view.subjects.get(&pod.uid);
    let told = subject.and_then(|subject| view.wiring.passed_by(subject.netns.as_fd()).ok());
    told.unwrap_or_default()
}

fn netns_path(view: &View, pod: &PodStatus) -> Option<PathBuf> {
    let netns = view.subjects.get(&pod.uid)?.netns;
    let path = format!("/proc/{}/fd/{}", std::process::id(), netns.as_raw_fd());
    Some(PathBuf::from(path))
}

fn interfaces(view: &View, pod: &PodStatus) -> Result<Vec<Interface>, EnrollError> {
    match view.subjects.get(&pod.uid) {
        Some(subject) => netlink::run(subject.netns.as_fd(), links),
        None => Ok(Vec::new()),
    }
}

async fn links(handle: &Handle) -> Result<Vec<Interface>, EnrollError> {
    let links = handle.link().get().execute();
    links
        .map_ok(|link| interface(&link))
        .try_collect()
        .await
        .map_err(EnrollError::netlink("list interfaces"))
}

fn interface(link: &LinkMessage) -> Interface {
    let name = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    });
    Interface {
        index: link.header.index,
        name: name.unwrap_or_default(),
        up: link.header.flags.contains(LinkFlags::Up),
    }
}
