//! Reads facts, by netlink.

mod address;
mod error;
mod far;
mod inside;
mod link;
mod netfilter;
mod node;
mod nsid;
mod program;
mod route;
mod rule;

use std::os::fd::BorrowedFd;

use rtnetlink::Handle;

pub use error::ReadError;
pub use far::far_ends;
pub use link::interface_of;
pub use node::node;
pub use program::filter_of;
pub use route::route_of;
pub use rule::rule_of;

use crate::facts::{DefaultRoutes, NetnsId, PodFacts};
use nsid::Numbers;

/// Namespaces in which the other ends of interfaces are looked for.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    host: BorrowedFd<'a>,
    others: Vec<BorrowedFd<'a>>,
}

impl<'a> Known<'a> {
    /// The node's own.
    #[must_use]
    pub const fn new(host: BorrowedFd<'a>) -> Self {
        Self {
            host,
            others: Vec::new(),
        }
    }

    /// And this one, such as ztunnel's, or that in which a fabric's devices are.
    #[must_use]
    pub fn and(mut self, other: BorrowedFd<'a>) -> Self {
        self.others.push(other);
        self
    }
}

/// Reads what there is in a network namespace, on a thread that is made for it and ends there.
///
/// # Errors
/// [`ReadError`] if it cannot be entered (that takes `CAP_SYS_ADMIN`), or the kernel does not answer.
pub fn pod(netns: BorrowedFd<'_>, known: &Known<'_>) -> Result<PodFacts, ReadError> {
    let id = NetnsId::of(netns).map_err(ReadError::Identify)?;
    inside::run(netns, async |handle| pod_with(handle, id, known).await)
}

/// Reads what there is in the network namespace that a netlink socket was made in.
///
/// # Errors
/// [`ReadError`] if the kernel does not answer.
pub async fn pod_with(handle: &Handle, netns: NetnsId, known: &Known<'_>) -> Result<PodFacts, ReadError> {
    let mut interfaces = link::interfaces(handle).await?;
    // Asked after the interfaces: listing them is what makes the kernel number the other namespaces.
    let numbers = Numbers::read(handle, netns, known).await?;
    for far_end in interfaces
        .iter_mut()
        .filter_map(|interface| interface.far_end.as_mut())
    {
        far_end.place = numbers.resolve(far_end.place);
    }
    address::fill(handle, &mut interfaces).await?;
    let routes = route::routes(handle).await?;
    Ok(PodFacts {
        netns,
        is_host: numbers.is_host(),
        default_routes: DefaultRoutes::among(&routes),
        interfaces,
        routes,
        rules: rule::rules(handle).await?,
    })
}
