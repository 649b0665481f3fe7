//! What the way in which a pod is connected means for its capture at the sockets.

use std::os::fd::BorrowedFd;

use rtnetlink::Handle;
use weir_netdetect::choose::{ChoiceConfig, Contract, InterfacePlan, Leg, Plan, choose};
use weir_netdetect::facts::{KernelFacts, NetnsId};
use weir_netdetect::read::{self, Known};

use super::{EnrollError, Way};

/// What the way in which a pod is connected means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// How the pod's connections get to ztunnel, if that is known.
    pub way: Option<Way>,
    /// What of the pod's traffic is not captured, and why.
    pub uncaptured: Vec<String>,
    /// What may get in the way.
    pub cautions: Vec<String>,
}

/// That the facts cannot be read is told too, but is no reason to leave a pod in clear.
pub(super) async fn told_of(
    handle: &Handle,
    (netns, host): (BorrowedFd<'_>, BorrowedFd<'_>),
    virtual_interfaces: &[String],
) -> Told {
    match plan(handle, (netns, host), virtual_interfaces).await {
        Ok(plan) => of_plan(&plan),
        Err(error) => Told {
            cautions: vec![format!("it is not known how the pod is connected: {error}")],
            ..Told::default()
        },
    }
}

async fn plan(
    handle: &Handle,
    (netns, host): (BorrowedFd<'_>, BorrowedFd<'_>),
    virtual_interfaces: &[String],
) -> Result<Plan, EnrollError> {
    let id = NetnsId::of(netns).map_err(read::ReadError::Identify)?;
    let facts = read::pod_with(handle, id, &Known::new(host)).await?;
    let kernel = KernelFacts::of_this_kernel().map_err(EnrollError::Kernel)?;
    let config = ChoiceConfig {
        virtual_interfaces: virtual_interfaces.to_vec(),
        ..ChoiceConfig::default()
    };
    Ok(choose(&facts, Contract::InPod, &kernel, &config))
}

fn of_plan(plan: &Plan) -> Told {
    Told {
        way: Way::of(plan),
        uncaptured: plan.interfaces.iter().filter_map(of_interface).collect(),
        cautions: plan.cautions.iter().map(ToString::to_string).collect(),
    }
}

fn of_interface(plan: &InterfacePlan) -> Option<String> {
    let legs = [("by", &plan.outbound), ("to", &plan.inbound)];
    let (direction, leg) = legs.into_iter().find(|(_, leg)| !leg.path.captures())?;
    Some(uncaptured(direction, &plan.name, leg))
}

/// The sentence about connections by or to an interface that are not captured.
pub(super) fn uncaptured(direction: &str, interface: &str, leg: &Leg) -> String {
    format!(
        "connections {direction} {interface} are not captured: {}",
        told(leg)
    )
}

/// Why, and what would help.
pub(super) fn told(leg: &Leg) -> String {
    let remedy = leg.remedy.as_ref();
    let remedy = remedy.map_or_else(String::new, |remedy| format!("; it takes {remedy}"));
    format!("{}{remedy}", leg.why)
}
