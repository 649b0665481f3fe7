//! The socket path of the node contract: connections of pods without a host side, turned to ztunnel's address.
//!
//! Attached only once some pod needs it, and each program at the narrowest cgroup that covers what it must see.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use aya::Ebpf;
use weir_common::names::map;

use super::links::Order;
use super::pins::remove_tree;
use super::sys::{AttachType, Target};
use super::{Datapath, DatapathError, links, object, programs};

/// What runs for the pods. What remembers destinations comes before what makes it necessary.
const OF_PODS: [(&str, AttachType); 5] = [
    ("weir_departure", AttachType::SOCK_OPS),
    ("weir_shown4", AttachType::GETPEERNAME4),
    ("weir_shown6", AttachType::GETPEERNAME6),
    ("weir_detour4", AttachType::CONNECT4),
    ("weir_detour6", AttachType::CONNECT6),
];

/// What runs for ztunnel alone.
const OF_ZTUNNEL: [(&str, AttachType); 4] = [
    ("weir_original", AttachType::GETSOCKOPT),
    ("weir_arrival", AttachType::SOCK_OPS),
    ("weir_source4", AttachType::BIND4),
    ("weir_source6", AttachType::BIND6),
];

impl Datapath {
    /// Attaches what detours need: at ztunnel's cgroup first, then at the pods'. No connection makes the detour until
    /// its pod is in the map of detours. Repeating it brings the programs up to date.
    ///
    /// # Errors
    /// [`DatapathError`] names the program or the cgroup.
    pub fn attach_detours(&self, ztunnel: &Path) -> Result<(), DatapathError> {
        let mut object = self.loader.load(object::DETOUR)?;
        let id = id(ztunnel)?;
        self.pins.create_ztunnel_directory(id)?;
        let pins = &self.pins;
        attach(&mut object, &OF_ZTUNNEL, ztunnel, |name| {
            pins.ztunnel_link(id, name)
        })?;
        attach(&mut object, &OF_PODS, &self.cgroup, |name| pins.link(name))
    }

    /// Takes the programs away from the cgroups of ztunnels that are not among these.
    ///
    /// # Errors
    /// [`DatapathError`] if a pin cannot be removed.
    pub fn retire_ztunnels(&self, kept: &BTreeSet<u64>) -> Result<(), DatapathError> {
        let directory = self.pins.ztunnels();
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(DatapathError::io(&directory))?,
        };
        for entry in entries.filter_map(Result::ok) {
            let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if id.is_none_or(|id| !kept.contains(&id)) {
                remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Detaches and removes all that detours need: first what turns connections. Nothing to remove is fine.
    ///
    /// # Errors
    /// [`DatapathError`] if a pin cannot be removed.
    pub fn detach_detours(&self) -> Result<(), DatapathError> {
        for (name, _) in OF_PODS.iter().rev() {
            links::remove(&self.pins.link(name))?;
        }
        self.retire_ztunnels(&BTreeSet::new())?;
        for name in map::OF_DETOURS {
            let pin = self.pins.map(name);
            match fs::remove_file(&pin) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(DatapathError::io(pin)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn attach(
    object: &mut Ebpf,
    wanted: &[(&'static str, AttachType)],
    cgroup: &Path,
    pin: impl Fn(&str) -> std::path::PathBuf,
) -> Result<(), DatapathError> {
    let directory = File::open(cgroup).map_err(DatapathError::io(cgroup))?;
    for &(name, attach) in wanted {
        let program = object.program_mut(name).ok_or(DatapathError::NoProgram(name))?;
        let fd = programs::load(name, program)?;
        let target = Target::Fd(directory.as_fd());
        links::upsert(&pin(name), fd, target, attach, order(attach))?;
    }
    Ok(())
}

/// A socket load balancer must find nothing to balance any more: ztunnel has to see the service.
fn order(attach: AttachType) -> Order {
    match attach {
        AttachType::CONNECT4 | AttachType::CONNECT6 => Order::First,
        _ => Order::Any,
    }
}

/// The id by which programs know a cgroup.
fn id(cgroup: &Path) -> Result<u64, DatapathError> {
    Ok(fs::metadata(cgroup).map_err(DatapathError::io(cgroup))?.ino())
}
