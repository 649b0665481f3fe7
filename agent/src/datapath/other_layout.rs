//! What an agent of another layout has left, an older one or a newer one, and how pods are taken over from it: its
//! programs stay beside ours until none of its pods is left. Whose a pod is says the other's map of pods.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::info;
use weir_common::names::map;
use weir_common::node::NodeSettings;
use weir_common::pod::PodEntry;

use super::maps::wrap;
use super::pins::{names, remove_tree};
use super::programs::NODE_PROGRAMS;
use super::shapes::Shapes;
use super::sys::{self, MapError, Objects, RawMap};
use super::{Datapath, DatapathError, Maps, Pins, links, lookup, residue};

const KEY_SIZE: usize = size_of::<u64>();

/// The other layouts that something is left of.
#[derive(Debug, Default)]
pub(super) struct OtherLayouts(Mutex<Vec<OtherLayout>>);

/// One of them.
#[derive(Debug)]
pub struct OtherLayout {
    pins: Pins,
    /// Its map of pods; an agent that was cut short may have left none.
    pods: Option<RawMap>,
}

impl OtherLayout {
    /// The one with these pins.
    ///
    /// # Errors
    /// [`DatapathError::Shape`] if pods cannot be told by its map of them.
    pub fn open(pins: Pins) -> Result<Self, DatapathError> {
        let path = pins.map(map::PODS);
        let pods = links::open(&path)?.map(RawMap::new).transpose()?;
        if let Some(pods) = &pods
            && (pods.key_size() != KEY_SIZE || pods.value_size() < PodEntry::HEAD)
        {
            let differs = format!(
                "keys of {} and values of {} bytes",
                pods.key_size(),
                pods.value_size()
            );
            return Err(DatapathError::Shape {
                map: map::PODS,
                path,
                differs,
            });
        }
        Ok(Self { pins, pods })
    }

    /// Its version.
    #[must_use]
    pub const fn layout(&self) -> u32 {
        self.pins.layout()
    }

    /// What it knows of a pod, if the pod is in its hands.
    ///
    /// # Errors
    /// [`DatapathError`] if it cannot be read.
    pub fn entry(&self, cookie: u64) -> Result<Option<PodEntry>, DatapathError> {
        let Some(pods) = &self.pods else { return Ok(None) };
        let value = pods.lookup(&cookie.to_ne_bytes()).map_err(unreadable)?;
        Ok(value.and_then(|value| head(&value)))
    }

    /// The pods that are in its hands, or that have links of it.
    ///
    /// # Errors
    /// [`DatapathError`] if they cannot be read.
    pub fn cookies(&self) -> Result<BTreeSet<u64>, DatapathError> {
        let mut cookies: BTreeSet<u64> = residue::enrolled_netns(&self.pins)?.into_iter().collect();
        let Some(pods) = &self.pods else {
            return Ok(cookies);
        };
        // A key that goes meanwhile begins the walk anew.
        let mut key = pods.next_key(None).map_err(unreadable)?;
        while let Some(last) = key {
            cookies.extend(last.first_chunk().copied().map(u64::from_ne_bytes));
            key = pods.next_key(Some(&last)).map_err(unreadable)?;
        }
        Ok(cookies)
    }

    /// Whether ztunnel is known by its mark alone: it goes on as it was trusted before it connects again.
    fn trusts_mark_alone(&self) -> Result<bool, DatapathError> {
        let Some(node) = links::open(&self.pins.map(map::NODE))? else {
            return Ok(false);
        };
        let settings = RawMap::new(node)?.lookup(&0_u32.to_ne_bytes());
        let settings = settings.map_err(|source| DatapathError::Bytes {
            map: map::NODE,
            source,
        })?;
        let flags = settings.and_then(|settings| word(&settings, NodeSettings::HEAD - size_of::<u32>()));
        Ok(flags.is_some_and(|flags| flags & NodeSettings::TRUST_MARK_ALONE != 0))
    }

    /// Nothing of the node contract can be taken over: what was decided for open connections, and in which layout their
    /// frames are tagged, is known to its programs alone.
    fn expect_no_redirection(&self) -> Result<(), DatapathError> {
        let mut redirects =
            !names(&self.pins.places())?.is_empty() || !names(&self.pins.ztunnels())?.is_empty();
        for cookie in self.cookies()? {
            redirects |= self.entry(cookie)?.is_some_and(|entry| entry.has(PodEntry::NODE));
        }
        if redirects {
            return Err(DatapathError::RedirectedElsewhere {
                layout: self.layout(),
                path: self.pins.base().to_owned(),
            });
        }
        Ok(())
    }

    /// The pod is not its any more: its programs pass the pod by from now on.
    fn disown(&self, cookie: u64) -> Result<(), DatapathError> {
        self.pins.remove_pod(cookie)?;
        if let Some(pods) = &self.pods {
            pods.delete(&cookie.to_ne_bytes()).map_err(unreadable)?;
        }
        Ok(())
    }

    /// Ends it. Its links to the node's cgroup go on with our programs in them, as their places in the order of programs
    /// may be better than those that ours were given.
    fn end(&self, ours: &Pins) -> Result<(), DatapathError> {
        for (name, _) in NODE_PROGRAMS {
            move_link(&self.pins.link(name), &ours.link(name))?;
        }
        for name in names(&self.pins.links())? {
            links::remove(&self.pins.link(&name))?;
        }
        remove_tree(self.pins.base())
    }
}

impl OtherLayouts {
    /// All of them, each fit to be taken over.
    pub(super) fn open(ours: &Pins, shapes: &Shapes) -> Result<Self, DatapathError> {
        let mut others = Vec::new();
        for pins in ours.others()? {
            shapes.expect(&pins, map::HANDED_ON)?;
            let other = OtherLayout::open(pins)?;
            other.expect_no_redirection()?;
            info!(
                layout = other.layout(),
                ours = ours.layout(),
                "takes over from another layout"
            );
            others.push(other);
        }
        Ok(Self(Mutex::new(others)))
    }

    /// Makes the maps ours that are handed on. Those that we have already are the same, or of a time when the other did
    /// not look.
    pub(super) fn hand_on(&self, ours: &Pins) -> Result<(), DatapathError> {
        for other in self.lock().iter().rev() {
            for name in map::HANDED_ON {
                let path = ours.map(name);
                if let Some(map) = links::open(&other.pins.map(name))?
                    && !path.exists()
                {
                    sys::obj_pin(map.as_fd(), &path)?;
                }
            }
        }
        Ok(())
    }

    /// Before any pod is taken over: connections of a ztunnel that is not believed would be captured.
    pub(super) fn hand_on_trust(&self, ours: &Maps) -> Result<(), DatapathError> {
        let others = self.lock();
        let trusts = others.iter().map(OtherLayout::trusts_mark_alone);
        let trusts: Vec<bool> = trusts.collect::<Result<_, _>>()?;
        if !trusts.contains(&true) {
            return Ok(());
        }
        let mut node = ours.node()?;
        let mut settings = node.get(&0, 0).map_err(wrap(map::NODE))?;
        settings.flags |= NodeSettings::TRUST_MARK_ALONE;
        node.set(0, settings, 0).map_err(wrap(map::NODE))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<OtherLayout>> {
        // A panic elsewhere leaves a whole list behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Datapath {
    /// What another layout knows of a pod that is in its hands.
    ///
    /// # Errors
    /// [`DatapathError`] if it cannot be read.
    pub fn entry_elsewhere(&self, cookie: u64) -> Result<Option<PodEntry>, DatapathError> {
        let others = self.others.lock();
        let mut others = others.iter().rev();
        others.try_fold(None, |found, other| Ok(found.or(other.entry(cookie)?)))
    }

    /// The pods that other layouts hold something for.
    ///
    /// # Errors
    /// As [`Self::entry_elsewhere`].
    pub fn netns_elsewhere(&self) -> Result<BTreeSet<u64>, DatapathError> {
        let mut cookies = BTreeSet::new();
        for other in self.others.lock().iter() {
            cookies.extend(other.cookies()?);
        }
        Ok(cookies)
    }

    /// Whether another layout's lookup is attached to the pod's living netns.
    ///
    /// # Errors
    /// As [`Self::entry_elsewhere`].
    pub fn lookup_attached_elsewhere(&self, cookie: u64) -> Result<bool, DatapathError> {
        let others = self.others.lock();
        let mut others = others.iter();
        others.try_fold(false, |found, other| {
            Ok(found | lookup::attached(&other.pins, cookie)?)
        })
    }

    /// Makes a pod's links ours, which then get our programs in place; if we have links there already, those of others
    /// stay until [`Self::disown_elsewhere`].
    ///
    /// # Errors
    /// [`DatapathError`] names the directory.
    pub fn inherit(&self, cookie: u64) -> Result<(), DatapathError> {
        let ours = self.pins.pod(cookie);
        for other in self.others.lock().iter().rev() {
            let theirs = other.pins.pod(cookie);
            if theirs.exists() && !ours.exists() {
                fs::rename(&theirs, &ours).map_err(DatapathError::io(theirs))?;
            }
        }
        Ok(())
    }

    /// Takes a pod, which is ours by now or nobody's any more, out of the hands of other layouts.
    ///
    /// # Errors
    /// [`DatapathError`]; the pod is still in them then.
    pub fn disown_elsewhere(&self, cookie: u64) -> Result<(), DatapathError> {
        self.others
            .lock()
            .iter()
            .try_for_each(|other| other.disown(cookie))
    }

    /// Takes away what is left of other layouts that have no pods any more.
    ///
    /// # Errors
    /// [`DatapathError`]; it can be tried again.
    pub fn end_other_layouts(&self) -> Result<(), DatapathError> {
        let mut others = self.others.lock();
        let mut at = 0;
        while let Some(other) = others.get(at) {
            if other.cookies()?.is_empty() {
                other.end(&self.pins)?;
                info!(layout = other.layout(), "another layout has been taken over");
                others.remove(at);
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    /// Other layouts that hold pods still, and how many.
    ///
    /// # Errors
    /// As [`Self::entry_elsewhere`].
    pub fn other_layouts(&self) -> Result<Vec<(u32, usize)>, DatapathError> {
        let others = self.others.lock();
        let counted = others
            .iter()
            .map(|other| Ok((other.layout(), other.cookies()?.len())));
        counted.collect()
    }
}

/// Has the link at `theirs` run the program of the one at `ours`, whose place it takes. For a moment both do, which the
/// programs bear.
fn move_link(theirs: &Path, ours: &Path) -> Result<(), DatapathError> {
    let (Some(kept), Some(given_up)) = (links::open(theirs)?, links::open(ours)?) else {
        return Ok(());
    };
    let program = sys::link_info(given_up.as_fd())?.program_id;
    let program = sys::fd_by_id(Objects::Programs, program)?;
    match sys::link_update(kept.as_fd(), program.as_fd(), None) {
        // Its cgroup is gone: ours is the one that counts.
        Err(error) if error.is_gone() => return Ok(()),
        other => other?,
    }
    fs::rename(theirs, ours).map_err(DatapathError::io(theirs))?;
    Ok(sys::link_detach(given_up.as_fd())?)
}

fn head(value: &[u8]) -> Option<PodEntry> {
    Some(PodEntry {
        flags: word(value, 0)?,
        sysctls: word(value, 4)?,
    })
}

fn word(value: &[u8], at: usize) -> Option<u32> {
    value.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

fn unreadable(source: MapError) -> DatapathError {
    DatapathError::Bytes {
        map: map::PODS,
        source,
    }
}
