//! A netns that may be ztunnel's: whether it listens there, and has all that it needs.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

use super::{KeeperConfig, Kept};
use crate::datapath::Datapath;
use crate::enroll::EnrollError;
use crate::enroll::redirect::ztunnel::{self, Listening};
use crate::enroll::redirect::{Current, Site};
use crate::inside;
use crate::pods::netns::{Netns, find_by_proc};
use crate::pods::pod::PodUid;

/// Where a ztunnel may be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whereabouts {
    Path(PathBuf),
    Pod(PodUid, Option<PathBuf>),
}

/// A netns that may be ztunnel's.
pub(super) struct Candidate {
    name: String,
    pub(super) netns: Option<(Arc<OwnedFd>, u64)>,
    /// Its slot and where it is, while it listens and has all that it needs.
    pub(super) ready: Option<(u32, Current)>,
    /// Where it is, if it has two sides.
    pub(super) divided: Option<Arc<Site>>,
    complaint: Option<String>,
}

impl Candidate {
    /// Nobody has looked yet.
    pub(super) const fn new(name: String) -> Self {
        Self {
            name,
            netns: None,
            ready: None,
            divided: None,
            complaint: None,
        }
    }

    /// Looks whether it listens, and gives it what it needs: once, and where `mends` says so.
    pub(super) fn look(
        &mut self,
        config: &KeeperConfig,
        datapath: &Datapath,
        place: &Whereabouts,
        mends: bool,
    ) {
        let complaint = self.try_look(config, datapath, place, mends).err();
        let complaint = complaint.map(|error| error.to_string());
        if complaint.is_some() && complaint != self.complaint {
            warn!(ztunnel = self.name, error = complaint, "ztunnel cannot be used");
        }
        self.complaint = complaint;
    }

    fn try_look(
        &mut self,
        config: &KeeperConfig,
        datapath: &Datapath,
        place: &Whereabouts,
        mends: bool,
    ) -> Result<(), LookError> {
        if self.netns.is_none() {
            self.netns = open(config, place)?;
        }
        let Some((netns, cookie)) = &self.netns else {
            return Ok(());
        };
        let ready = self.ready.take();
        match ztunnel::listening(netns.as_fd())? {
            Listening::No => return Ok(()),
            Listening::Opaque => return Err(LookError::Opaque),
            Listening::Yes => {}
        }
        self.ready = match ready {
            Some(ready) if !mends => Some(ready),
            _ => {
                let (slot, site) = ztunnel::place(datapath, config.host.as_fd(), (netns.as_fd(), *cookie))?;
                let ready = Some((slot, Current::at(*cookie, &site)));
                let is_divided = site.joint.is_some() && site.beside.is_some();
                self.divided = is_divided.then(|| Arc::new(site));
                ready
            }
        };
        Ok(())
    }

    /// What is known of it, if this slot takes new connections.
    pub(super) fn kept(&self, chosen: Option<u32>) -> Kept {
        let slot = self.ready.map(|(slot, _)| slot);
        Kept {
            name: self.name.clone(),
            listening: slot.is_some(),
            current: slot.is_some() && slot == chosen,
            connected: self.ready.map(|(_, current)| current.for_choice()),
            complaint: self.complaint.clone(),
        }
    }
}

/// Why a ztunnel cannot be used.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Netns(#[from] crate::pods::netns::NetnsError),
    #[error(transparent)]
    Inside(#[from] inside::InsideError),
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    #[error("its listeners take no connections to foreign addresses: run it without ENABLE_ORIG_SRC=false")]
    Opaque,
}

/// A pod whose processes do not run yet has no netns that could be found.
fn open(config: &KeeperConfig, place: &Whereabouts) -> Result<Option<(Arc<OwnedFd>, u64)>, LookError> {
    let netns: OwnedFd = match place {
        Whereabouts::Path(path) | Whereabouts::Pod(_, Some(path)) => {
            Netns::open(path, config.host_id)?.into()
        }
        Whereabouts::Pod(uid, None) => {
            match find_by_proc(Path::new("/proc"), uid, config.host_id, |_| true) {
                Ok(found) => found.into(),
                Err(_) => return Ok(None),
            }
        }
    };
    let cookie = inside::cookie(netns.as_fd())?;
    Ok(Some((Arc::new(netns), cookie)))
}
