//! Programs at interfaces: pinned TCX links where the kernel has them, filters of a clsact qdisc where not.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use aya::Ebpf;
use aya::programs::links::{FdLink, Link as Detach};
use aya::programs::tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType};
use aya::util::KernelVersion;
use nix::net::if_::if_nameindex;

use super::stock::Kind;
use super::{Datapath, DatapathError, links, programs, sys};
use crate::inside;

/// The first kernel with TCX.
const TCX: KernelVersion = KernelVersion::new(6, 6, 0);
/// Where our filters are on an interface without TCX: early.
const FILTER_PRIORITY: u16 = 1;
/// And under handles that are nobody else's: this ("WE") and a role's own number.
const FILTER_OWNER: u16 = 0x5745;

/// What the packets of an interface begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Link {
    /// An Ethernet header.
    Ethernet,
    /// The IP header, as on tunnels.
    Ip,
}

/// An interface in a pod's netns.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interface {
    /// Its index there.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What its packets begin with.
    pub link: Link,
}

/// The kernel's two ways to run a program at an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Links, in an order with other people's (kernel 6.6).
    Tcx,
    /// Filters of a clsact qdisc.
    Clsact,
}

impl Hook {
    /// The better one that this kernel has.
    #[must_use]
    pub fn of_this_kernel() -> Self {
        match KernelVersion::current() {
            Ok(version) if version >= TCX => Self::Tcx,
            _ => Self::Clsact,
        }
    }
}

/// A program at an interface: a name, its variant for packets without Ethernet header, its direction, and the number
/// of its filter. Several may be at one interface, each under a number of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Role {
    pub ethernet: &'static str,
    pub ip: &'static str,
    pub direction: TcAttachType,
    pub filter: u16,
}

impl Role {
    /// A program that needs an Ethernet header, and is only put where there is one.
    pub(super) const fn of_ethernet(program: &'static str, direction: TcAttachType, filter: u16) -> Self {
        Self {
            ethernet: program,
            ip: program,
            direction,
            filter,
        }
    }

    const fn handle(self) -> TcHandle {
        TcHandle::new(FILTER_OWNER, self.filter)
    }

    const fn program(self, link: Link) -> &'static str {
        match link {
            Link::Ethernet => self.ethernet,
            Link::Ip => self.ip,
        }
    }

    /// Name of the pin. By index, because names change, and may hold dots, which pins may not.
    pub(super) fn pin(self, index: u32) -> String {
        format!("{}_{index}", self.ethernet)
    }

    /// The index of the interface that a pin of this role is for.
    pub(super) fn index_of_pin(self, pin: &str) -> Option<u32> {
        pin.strip_prefix(self.ethernet)?.strip_prefix('_')?.parse().ok()
    }

    fn failed<E>(self, interface: &str) -> impl FnOnce(E) -> DatapathError
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (program, interface) = (self.ethernet, interface.to_owned());
        move |source| DatapathError::Interface {
            program,
            interface,
            source: source.into(),
        }
    }
}

impl Datapath {
    /// Makes the role's programs run at exactly these interfaces of the pod; new ones replace older ones in place.
    pub(super) fn place(
        &self,
        netns: BorrowedFd<'_>,
        cookie: u64,
        role: Role,
        hook: Hook,
        interfaces: &[Interface],
    ) -> Result<(), DatapathError> {
        if interfaces.is_empty() && hook == Hook::Tcx {
            // Links are taken away from anywhere.
            return self.clear(cookie, role, hook, interfaces);
        }
        inside::run(netns, || {
            if !interfaces.is_empty() {
                self.pins.create_pod_directory(cookie)?;
                let mut object = self.instance(Kind::Guard, cookie)?;
                for interface in interfaces {
                    let pin = self.pins.pod_link(cookie, &role.pin(interface.index));
                    put(&mut object, &pin, role, hook, interface)?;
                }
            }
            self.clear(cookie, role, hook, interfaces)
        })?
    }

    /// Takes the role's programs away from all other interfaces of the namespace that the calling thread is in.
    pub(super) fn clear(
        &self,
        cookie: u64,
        role: Role,
        hook: Hook,
        kept: &[Interface],
    ) -> Result<(), DatapathError> {
        let kept: BTreeSet<u32> = kept.iter().map(|interface| interface.index).collect();
        for pin in self.pins.pod_links(cookie)? {
            let stale = role
                .index_of_pin(&pin)
                .is_some_and(|index| !kept.contains(&index));
            if stale || (hook == Hook::Clsact && role.index_of_pin(&pin).is_some()) {
                links::remove(&self.pins.pod_link(cookie, &pin))?;
            }
        }
        if hook == Hook::Clsact {
            clear_filters(role, &kept)
        } else {
            Ok(())
        }
    }
}

/// Makes the role's program run at an interface of the namespace that the calling thread is in.
pub(super) fn put(
    object: &mut Ebpf,
    pin: &Path,
    role: Role,
    hook: Hook,
    interface: &Interface,
) -> Result<(), DatapathError> {
    let program = classifier(object, role.program(interface.link))?;
    match hook {
        Hook::Tcx => upsert_link(pin, program, role, &interface.name),
        Hook::Clsact => upsert_filter(program, role, &interface.name).map_err(role.failed(&interface.name)),
    }
}

/// Takes the role's program away from an interface of the namespace that the calling thread is in; one that is gone has
/// taken it with it.
pub(super) fn take_away(pin: &Path, role: Role, hook: Hook, interface: u32) -> Result<(), DatapathError> {
    links::remove(pin)?;
    if hook == Hook::Tcx {
        return Ok(());
    }
    let interfaces = if_nameindex().map_err(role.failed("(all)"))?;
    let found = interfaces.iter().find(|found| found.index() == interface);
    found.map_or(Ok(()), |found| {
        remove_filter(role, &found.name().to_string_lossy())
    })
}

/// The loaded program; each is loaded once, however many interfaces it serves.
fn classifier<'a>(
    object: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut SchedClassifier, DatapathError> {
    let program = object.program_mut(name).ok_or(DatapathError::NoProgram(name))?;
    programs::loaded(name, program)?;
    program.try_into().map_err(|_| DatapathError::NoProgram(name))
}

fn upsert_link(
    pin: &Path,
    program: &mut SchedClassifier,
    role: Role,
    interface: &str,
) -> Result<(), DatapathError> {
    if let Some(link) = links::open(pin)? {
        let fd = program.fd().map_err(role.failed(interface))?;
        match sys::link_update(link.as_fd(), fd.as_fd(), None) {
            Ok(()) => return Ok(()),
            // The interface that it was attached to is gone; the pin is a shell.
            Err(error) if error.is_gone() => {
                fs::remove_file(pin).map_err(DatapathError::io(pin))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let link = new_link(program, role, interface).map_err(role.failed(interface))?;
    let link = FdLink::try_from(link).map_err(role.failed(interface))?;
    // The pin holds the link from here on.
    link.pin(pin).map_err(role.failed(interface)).map(drop)
}

/// First, so that nobody's program can take a packet out of its sight.
fn new_link(
    program: &mut SchedClassifier,
    role: Role,
    interface: &str,
) -> Result<SchedClassifierLink, ProgramError> {
    let order = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program.attach_with_options(interface, role.direction, order)?;
    program.take_link(id)
}

/// The qdisc stays when the filter goes: others may have come to use it.
fn upsert_filter(program: &mut SchedClassifier, role: Role, interface: &str) -> Result<(), ProgramError> {
    match tc::qdisc_add_clsact(interface) {
        Err(error) if !is_there(&error) => return Err(error.into()),
        _ => {}
    }
    let id = match program.attach_to_link(filter(role, interface)?) {
        Err(error) if is_absent(&error) => {
            let options = TcAttachOptions::Netlink(NlOptions {
                priority: FILTER_PRIORITY,
                handle: role.handle(),
                classid: None,
            });
            program.attach_with_options(interface, role.direction, options)?
        }
        other => other?,
    };
    // Dropping the handle would remove the filter, which has to outlive this process.
    std::mem::forget(program.take_link(id)?);
    Ok(())
}

/// Takes the role's filters away from all other interfaces of the namespace that the calling thread is in.
pub(super) fn clear_filters(role: Role, kept: &BTreeSet<u32>) -> Result<(), DatapathError> {
    let interfaces = if_nameindex().map_err(role.failed("(all)"))?;
    for interface in &interfaces {
        if kept.contains(&interface.index()) {
            continue;
        }
        remove_filter(role, &interface.name().to_string_lossy())?;
    }
    Ok(())
}

fn remove_filter(role: Role, interface: &str) -> Result<(), DatapathError> {
    let removed = filter(role, interface)
        .map_err(ProgramError::from)
        .and_then(Detach::detach);
    match removed {
        Err(error) if !is_absent(&error) => Err(role.failed(interface)(error)),
        _ => Ok(()),
    }
}

/// The handle of our filter, whether it exists or not.
fn filter(role: Role, interface: &str) -> Result<SchedClassifierLink, TcError> {
    Ok(SchedClassifierLink::attached(
        interface,
        role.direction,
        FILTER_PRIORITY,
        role.handle(),
        None,
    )?)
}

fn is_there(error: &TcError) -> bool {
    match error {
        TcError::AlreadyAttached => true,
        TcError::NetlinkError(error) => error.raw_os_error() == Some(libc::EEXIST),
        _ => false,
    }
}

/// No filter, no chain, no qdisc, or no interface any more.
fn is_absent(error: &ProgramError) -> bool {
    let code = match error {
        ProgramError::NetlinkError(error) | ProgramError::TcError(TcError::NetlinkError(error)) => {
            error.raw_os_error()
        }
        ProgramError::TcError(TcError::IoError(error)) => error.raw_os_error(),
        _ => None,
    };
    matches!(code, Some(libc::ENOENT | libc::EINVAL | libc::ENODEV))
}
