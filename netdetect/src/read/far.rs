//! What a pod's interfaces lead to on the node.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use nix::libc::ENODEV;
use rtnetlink::Handle;

use super::{ReadError, link};
use crate::facts::{Interface, PodFacts};

/// Reads the peers and parents of a pod's interfaces on the node whose namespace a netlink socket was made in, and the
/// bridges or bonds that those are ports of: by index, and without addresses. Each is asked for by itself, so that it
/// does not matter how many interfaces the node has. What has gone is left out.
///
/// # Errors
/// [`ReadError`] if the kernel does not answer.
pub async fn far_ends(handle: &Handle, pod: &PodFacts) -> Result<BTreeMap<u32, Interface>, ReadError> {
    let mut found = BTreeMap::new();
    let mut wanted: Vec<u32> = pod
        .interfaces
        .iter()
        .filter_map(|interface| interface.host_peer().or(interface.host_parent()))
        .collect();
    while let Some(index) = wanted.pop() {
        if found.contains_key(&index) {
            continue;
        }
        if let Some(interface) = one(handle, index).await? {
            wanted.extend(interface.controller);
            found.insert(index, interface);
        }
    }
    Ok(found)
}

async fn one(handle: &Handle, index: u32) -> Result<Option<Interface>, ReadError> {
    let request = link::without_counts(handle.link().get()).match_index(index);
    let answer = request.execute().try_next().await;
    match answer {
        Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code().wrapping_neg() == ENODEV => Ok(None),
        Err(error) => Err(ReadError::netlink("read an interface")(error)),
        Ok(message) => Ok(message.as_ref().map(link::interface_of)),
    }
}
