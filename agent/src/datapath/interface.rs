//! Programs at interfaces: pinned TCX links where the kernel has them, filters of a clsact qdisc where not.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use aya::Ebpf;
use aya::programs::{SchedClassifier, TcAttachType};
use aya::util::KernelVersion;
use clap::ValueEnum;
use serde::Deserialize;

use super::links::Order;
use super::stock::Kind;
use super::sys::{AttachType, Target};
use super::{Datapath, DatapathError, filter, links, object, programs};
use crate::inside;

/// The first kernel with TCX.
const TCX: KernelVersion = KernelVersion::new(6, 6, 0);

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
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

    const fn program(self, link: Link) -> &'static str {
        match link {
            Link::Ethernet => self.ethernet,
            Link::Ip => self.ip,
        }
    }

    /// Whether one of its programs has this name, of which the kernel may have kept only the beginning.
    pub(super) fn is_named(self, name: &str) -> bool {
        !name.is_empty() && (self.ethernet.starts_with(name) || self.ip.starts_with(name))
    }

    /// Name of the pin. By index, because names change, and may hold dots, which pins may not.
    pub(super) fn pin(self, index: u32) -> String {
        format!("{}_{index}", self.ethernet)
    }

    /// The index of the interface that a pin of this role is for.
    pub(super) fn index_of_pin(self, pin: &str) -> Option<u32> {
        pin.strip_prefix(self.ethernet)?.strip_prefix('_')?.parse().ok()
    }

    pub(super) fn failed<E>(self, interface: &str) -> impl FnOnce(E) -> DatapathError
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
        interfaces: &[Interface],
    ) -> Result<(), DatapathError> {
        if interfaces.is_empty() && self.hook == Hook::Tcx {
            // Links are taken away from anywhere.
            return self.clear(cookie, role, interfaces);
        }
        inside::run(netns, || {
            if !interfaces.is_empty() {
                self.put_at(cookie, role, interfaces)?;
            }
            self.clear(cookie, role, interfaces)
        })?
    }

    fn put_at(&self, cookie: u64, role: Role, interfaces: &[Interface]) -> Result<(), DatapathError> {
        self.pins.create_pod_directory(cookie)?;
        let pin = |interface: &Interface| self.pins.pod_link(cookie, &role.pin(interface.index));
        let mut programs = interfaces.iter().map(|interface| role.program(interface.link));
        if self.hook == Hook::Tcx && programs.all(|program| program == Kind::Guard.program()) {
            let guard = self.instance(Kind::Guard, cookie)?;
            let mut interfaces = interfaces.iter();
            return interfaces
                .try_for_each(|interface| link(&pin(interface), guard.program(), role, interface));
        }
        let mut object = self.loader.load_for_pod(object::TC, cookie)?;
        let mut interfaces = interfaces.iter();
        interfaces.try_for_each(|interface| put(&mut object, &pin(interface), role, self.hook, interface))
    }

    /// Takes the role's programs away from all other interfaces of the namespace that the calling thread is in.
    pub(super) fn clear(&self, cookie: u64, role: Role, kept: &[Interface]) -> Result<(), DatapathError> {
        let kept: BTreeSet<u32> = kept.iter().map(|interface| interface.index).collect();
        for pin in self.pins.pod_links(cookie)? {
            let stale = role
                .index_of_pin(&pin)
                .is_some_and(|index| !kept.contains(&index));
            if stale || (self.hook == Hook::Clsact && role.index_of_pin(&pin).is_some()) {
                links::remove(&self.pins.pod_link(cookie, &pin))?;
            }
        }
        if self.hook == Hook::Clsact {
            filter::clear(role, &kept)
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
        Hook::Tcx => {
            let program = program.fd().map_err(role.failed(&interface.name))?;
            link(pin, program.as_fd(), role, interface)
        }
        Hook::Clsact => filter::upsert(program, role, &interface.name),
    }
}

/// Takes the role's program away from an interface of the namespace that the calling thread is in; one that is gone has
/// taken it with it.
pub(super) fn take_away(pin: &Path, role: Role, hook: Hook, interface: u32) -> Result<(), DatapathError> {
    links::remove(pin)?;
    if hook == Hook::Tcx {
        return Ok(());
    }
    filter::remove_at(role, interface)
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

/// First, so that nobody's program can take a packet out of its sight.
fn link(pin: &Path, program: BorrowedFd<'_>, role: Role, interface: &Interface) -> Result<(), DatapathError> {
    let attach = match role.direction {
        TcAttachType::Egress => AttachType::TCX_EGRESS,
        _ => AttachType::TCX_INGRESS,
    };
    let target = Target::Interface(interface.index);
    links::upsert(pin, program, target, attach, Order::First).map_err(role.failed(&interface.name))
}
