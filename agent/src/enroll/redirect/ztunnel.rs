//! The place of a ztunnel that has a netns of its own.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::BorrowedFd;
use std::path::Path;

use weir_common::names::map;
use weir_common::ports;
use weir_common::ztunnel::{NodeContract, SLOTS, ZtunnelPlace};

use super::wiring::{self, Beside, Site};
use super::{local, settings, sides};
use crate::datapath::{Datapath, DatapathError, maps};
use crate::enroll::socket_table::{self, States};
use crate::enroll::{EnrollError, netlink, routing};
use crate::inside;

/// Where redirected connections go.
const PORTS: [u16; 3] = [ports::OUTBOUND, ports::INBOUND, ports::HBONE];

/// Whether a ztunnel listens in a netns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listening {
    /// On all its ports, and for foreign addresses.
    Yes,
    /// Not on all its ports.
    No,
    /// Its listeners take no connections to foreign addresses.
    Opaque,
}

/// Whether a ztunnel listens in the netns.
///
/// # Errors
/// [`EnrollError`] if the sockets cannot be listed.
pub fn listening(netns: BorrowedFd<'_>) -> Result<Listening, EnrollError> {
    let sockets = socket_table::read(netns, States::LISTENING)?;
    let on = |port: u16| sockets.iter().filter(move |socket| socket.local.port() == port);
    if !PORTS.into_iter().all(|port| on(port).next().is_some()) {
        Ok(Listening::No)
    } else if PORTS
        .into_iter()
        .all(|port| on(port).any(|socket| socket.transparent))
    {
        Ok(Listening::Yes)
    } else {
        Ok(Listening::Opaque)
    }
}

/// Makes all that ztunnel needs where it is, and enters its place in a slot; it gets no connections before it is
/// appointed. Repeating it brings the place up to date.
///
/// # Errors
/// [`EnrollError`] names the step; [`EnrollError::TooManyZtunnels`] if no slot is free.
pub fn place(
    datapath: &Datapath,
    host: BorrowedFd<'_>,
    (netns, cookie): (BorrowedFd<'_>, u64),
) -> Result<(u32, Site), EnrollError> {
    datapath.prepare_redirect()?;
    let site = wiring::of_ztunnel(netns, host)?;
    let slot = slot_for(datapath, cookie)?;
    let (joint, beside) = (site.joint.as_ref(), site.beside.as_ref());
    let inner = joint.map(|joint| &joint.inner).into_iter();
    let inner = inner.chain(beside.map(|beside| &beside.inner));
    netlink::run(netns, async |handle| {
        settings::ensure(slot)?;
        for interface in inner {
            routing::ensure_ztunnel(handle, &interface.name).await?;
        }
        Ok(())
    })?;
    if let Some(joint) = joint {
        datapath.attach_ztunnel((host, &joint.peer), (netns, &joint.inner), cookie)?;
    }
    if let Some(beside) = beside {
        steer(datapath, host, (netns, cookie), beside)?;
    }
    local::set_ztunnel(datapath.maps(), cookie, &site)?;
    let place = ZtunnelPlace {
        netns: cookie,
        interface: joint.map_or(0, |joint| joint.peer.index),
        mac: joint.map_or([0; 6], |joint| joint.mac),
        steered: beside.map_or([0; 6], |beside| beside.mac),
    };
    set_place(datapath, slot, place)?;
    sides::divide(datapath, netns, &site, &[])?;
    Ok((slot, site))
}

fn steer(
    datapath: &Datapath,
    host: BorrowedFd<'_>,
    (netns, cookie): (BorrowedFd<'_>, u64),
    beside: &Beside,
) -> Result<(), EnrollError> {
    let own = std::slice::from_ref(&beside.inner);
    datapath.attach_steering_of_ztunnel(netns, cookie, own)?;
    let parent = std::slice::from_ref(&beside.parent);
    Ok(datapath.attach_fence(host, inside::cookie(host)?, parent)?)
}

/// Lets the ztunnel in this slot take new connections, or none.
///
/// # Errors
/// [`EnrollError`].
pub fn appoint(datapath: &Datapath, slot: Option<u32>, fail_open: bool) -> Result<(), EnrollError> {
    datapath.prepare_redirect()?;
    let mut contracts = datapath.maps().contract()?;
    let before = contracts.get(&0, 0).map_err(maps::wrap(map::CONTRACT))?;
    // Frames that are under way carry the secret: it stays as long as the map.
    let secret = match before.secret {
        [0, 0, 0] => new_secret().map_err(EnrollError::Random)?,
        secret => secret,
    };
    let contract = NodeContract {
        current: slot.unwrap_or(SLOTS),
        flags: if fail_open { NodeContract::FAIL_OPEN } else { 0 },
        secret,
        implied: implied(before.implied, slot, &places(datapath)?),
    };
    if contract != before {
        contracts.set(0, contract, 0).map_err(maps::wrap(map::CONTRACT))?;
    }
    Ok(())
}

/// Slot of the ztunnel that has the connections of which nothing is remembered. While somebody is there nobody else can
/// be: those of the others were all remembered, and are from then on only until that one is gone.
fn implied(before: u8, current: Option<u32>, taken: &[(u32, ZtunnelPlace)]) -> u8 {
    if taken.iter().any(|(slot, _)| *slot == u32::from(before)) {
        return before;
    }
    let current = current.and_then(|slot| u8::try_from(slot).ok());
    current.unwrap_or(before)
}

/// All places that are taken, by slot.
///
/// # Errors
/// [`DatapathError`].
pub fn places(datapath: &Datapath) -> Result<Vec<(u32, ZtunnelPlace)>, DatapathError> {
    let places = datapath.maps().places()?;
    let slots = (0..SLOTS).map(|slot| {
        let place = places.get(&slot, 0).map_err(maps::wrap(map::PLACES))?;
        Ok((slot, place))
    });
    let mut taken: Vec<_> = slots.collect::<Result<_, DatapathError>>()?;
    taken.retain(|(_, place)| place.netns != 0);
    Ok(taken)
}

/// Takes away all that a ztunnel needed; with `netns` in its own namespace too.
///
/// # Errors
/// The first [`EnrollError`]; the other steps are taken all the same.
pub fn vacate(
    datapath: &Datapath,
    host: BorrowedFd<'_>,
    netns: Option<BorrowedFd<'_>>,
    (slot, place): (u32, ZtunnelPlace),
) -> Result<(), EnrollError> {
    let emptied = set_place(datapath, slot, ZtunnelPlace::default());
    let inner =
        netns.and_then(|netns| Some((netns, wiring::of_ztunnel(netns, host).ok()?.joint?.inner.index)));
    let detached = datapath.detach_ztunnel((host, place.interface), inner, place.netns);
    let steering = netns.map_or(Ok(()), |netns| {
        datapath.detach_steering_of_ztunnel(netns, place.netns)
    });
    let forgotten = local::forget_addresses(datapath.maps(), place.netns);
    let routes = netns.map_or(Ok(()), |netns| {
        netlink::run(netns, async |handle| {
            let turned = sides::remove(handle).await;
            turned.and(routing::remove(handle).await)
        })
    });
    let restored = netns.map_or(Ok(()), |netns| settings::restore(netns, host, slot));
    emptied?;
    detached?;
    steering?;
    forgotten?;
    routes?;
    restored
}

/// The same for all of these ztunnels, in the namespaces that are found by their cookies, and for what keeps steered
/// frames on the node.
///
/// # Errors
/// Each [`EnrollError`], with the cookie of the namespace where something stays.
pub fn vacate_all<'a>(
    datapath: &Datapath,
    host: BorrowedFd<'_>,
    places: Vec<(u32, ZtunnelPlace)>,
    find: impl Fn(u64) -> Option<BorrowedFd<'a>>,
) -> Vec<(u64, EnrollError)> {
    let mut stays = Vec::new();
    for (slot, place) in places {
        if let Err(error) = vacate(datapath, host, find(place.netns), (slot, place)) {
            stays.push((place.netns, error));
        }
    }
    let cookie = inside::cookie(host);
    let fences = cookie.map_err(|error| (0, error.into())).and_then(|cookie| {
        let detached = datapath.detach_fences(host, cookie);
        detached.map_err(|error| (cookie, error.into()))
    });
    stays.extend(fences.err());
    stays
}

fn slot_for(datapath: &Datapath, cookie: u64) -> Result<u32, EnrollError> {
    let taken = places(datapath)?;
    let own = taken.iter().find(|(_, place)| place.netns == cookie);
    own.map(|(slot, _)| *slot)
        .or_else(|| (0..SLOTS).find(|slot| taken.iter().all(|(other, _)| other != slot)))
        .ok_or(EnrollError::TooManyZtunnels)
}

fn set_place(datapath: &Datapath, slot: u32, place: ZtunnelPlace) -> Result<(), EnrollError> {
    let mut places = datapath.maps().places()?;
    Ok(places.set(slot, place, 0).map_err(maps::wrap(map::PLACES))?)
}

fn new_secret() -> std::io::Result<[u8; 3]> {
    let mut random = File::open(Path::new("/dev/urandom"))?;
    let mut secret = [0; 3];
    // All zero says that there is none yet.
    while secret == [0; 3] {
        random.read_exact(&mut secret)?;
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::{ZtunnelPlace, implied};

    #[test]
    fn the_first_ztunnel_is_implied_until_it_is_gone() {
        let taken = |slots: &[u32]| -> Vec<_> {
            let place = |slot: &u32| (*slot, ZtunnelPlace::default());
            slots.iter().map(place).collect()
        };
        assert_eq!(implied(0, Some(2), &taken(&[2])), 2, "the first");
        assert_eq!(implied(2, Some(0), &taken(&[0, 2])), 2, "an upgrade");
        assert_eq!(implied(2, None, &taken(&[2])), 2, "it listens no more");
        assert_eq!(implied(2, Some(0), &taken(&[0])), 0, "it is gone");
        assert_eq!(implied(0, None, &taken(&[])), 0, "all are gone");
    }
}
