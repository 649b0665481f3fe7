//! Programs at interfaces: TCX, filters of clsact qdiscs, XDP.

use std::collections::BTreeMap;

use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType, loaded_programs};
use futures::TryStreamExt as _;
use netlink_packet_route::tc::{TcAttribute, TcFilterBpfOption, TcMessage, TcOption};
use rtnetlink::Handle;

use super::ReadError;
use crate::facts::{Attached, Direction, Hook, Interface, KernelFacts, Owner};

/// All programs at these interfaces of the namespace that handle and thread are in, by interface and direction, in the
/// order in which packets meet them.
pub(super) async fn programs(
    handle: &Handle,
    interfaces: &[Interface],
    unread: &mut Vec<String>,
) -> Result<Vec<Attached>, ReadError> {
    let mut all = xdp(interfaces, unread);
    if KernelFacts::of_this_kernel().is_ok_and(|kernel| kernel.tcx) {
        for interface in interfaces {
            all.extend(tcx(interface, unread));
        }
    }
    for (index, directions) in with_filters(handle).await? {
        all.extend(clsact(handle, index, directions).await?);
    }
    all.sort_by_key(|attached| {
        (
            attached.interface,
            attached.direction,
            attached.hook,
            attached.order,
        )
    });
    Ok(all)
}

fn tcx(interface: &Interface, unread: &mut Vec<String>) -> Vec<Attached> {
    let mut found = Vec::new();
    for (direction, attach) in [
        (Direction::Ingress, TcAttachType::Ingress),
        (Direction::Egress, TcAttachType::Egress),
    ] {
        match SchedClassifier::query_tcx(&interface.name, attach) {
            Ok((_, programs)) => found.extend((0..).zip(&programs).map(|(order, program)| {
                attached(
                    interface.index,
                    direction,
                    Hook::Tcx,
                    order,
                    Some(program.id()),
                    &name(program),
                )
            })),
            // Reading continues: an interface may have gone, and without rights there is still the rest.
            Err(error) => unread.push(format!(
                "tcx programs at {} ({direction}): {error}",
                interface.name
            )),
        }
    }
    found
}

/// Interfaces with a qdisc for filters, and the directions that it has.
async fn with_filters(handle: &Handle) -> Result<BTreeMap<i32, &'static [Direction]>, ReadError> {
    let qdiscs: Vec<TcMessage> = handle
        .qdisc()
        .get()
        .execute()
        .try_collect()
        .await
        .map_err(ReadError::netlink("list qdiscs"))?;
    let found = qdiscs.iter().filter_map(|qdisc| {
        let mut attributes = qdisc.attributes.iter();
        let directions = attributes.find_map(|attribute| match attribute {
            TcAttribute::Kind(kind) => directions(kind),
            _ => None,
        })?;
        Some((qdisc.header.index, directions))
    });
    Ok(found.collect())
}

/// The kernel answers for `ingress` too when it is asked for what leaves: with the filters of what arrives.
fn directions(qdisc: &str) -> Option<&'static [Direction]> {
    match qdisc {
        "clsact" => Some(&[Direction::Ingress, Direction::Egress]),
        "ingress" => Some(&[Direction::Ingress]),
        _ => None,
    }
}

async fn clsact(handle: &Handle, index: i32, directions: &[Direction]) -> Result<Vec<Attached>, ReadError> {
    let mut found = Vec::new();
    for &direction in directions {
        let mut filters = handle.traffic_filter(index);
        let request = match direction {
            Direction::Ingress => filters.get().ingress(),
            Direction::Egress => filters.get().egress(),
        };
        let messages: Result<Vec<TcMessage>, _> = request.execute().try_collect().await;
        match messages {
            Ok(messages) => found.extend(
                messages
                    .iter()
                    .filter_map(|message| filter_of(message, direction)),
            ),
            // Interfaces come and go.
            Err(rtnetlink::Error::NetlinkError(_)) => {}
            Err(error) => return Err(ReadError::netlink("list filters")(error)),
        }
    }
    Ok(found)
}

/// The facts in a message about a filter; nothing for what is only the head of a list of filters.
#[must_use]
pub fn filter_of(message: &TcMessage, direction: Direction) -> Option<Attached> {
    let interface = u32::try_from(message.header.index).ok()?;
    // The upper half is the priority, the lower one the protocol.
    let order = message.header.info >> 16;
    let kind = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Kind(kind) => Some(kind.as_str()),
        _ => None,
    })?;
    let options = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    })?;
    let (mut id, mut name) = (None, kind.to_owned());
    for option in options {
        match option {
            TcOption::Bpf(TcFilterBpfOption::ProgId(number)) => id = Some(*number),
            TcOption::Bpf(TcFilterBpfOption::ProgName(text)) => name.clone_from(text),
            _ => {}
        }
    }
    Some(attached(interface, direction, Hook::Clsact, order, id, &name))
}

fn xdp(interfaces: &[Interface], unread: &mut Vec<String>) -> Vec<Attached> {
    if interfaces.iter().all(|interface| interface.xdp.is_empty()) {
        return Vec::new();
    }
    let names = names(unread);
    let all = interfaces
        .iter()
        .flat_map(|interface| interface.xdp.iter().map(|id| (interface.index, *id)));
    all.map(|(interface, id)| {
        let name = names.get(&id).map_or("", String::as_str);
        attached(interface, Direction::Ingress, Hook::Xdp, 0, Some(id), name)
    })
    .collect()
}

fn names(unread: &mut Vec<String>) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    for program in loaded_programs() {
        match program {
            Ok(program) => {
                names.insert(program.id(), name(&program));
            }
            Err(error) => {
                unread.push(format!("names of XDP programs: {error}"));
                break;
            }
        }
    }
    names
}

fn name(program: &ProgramInfo) -> String {
    String::from_utf8_lossy(program.name()).into_owned()
}

fn attached(
    interface: u32,
    direction: Direction,
    hook: Hook,
    order: u32,
    id: Option<u32>,
    name: &str,
) -> Attached {
    Attached {
        interface,
        direction,
        hook,
        order,
        id,
        name: name.to_owned(),
        owner: Owner::of_name(name),
    }
}
