//! Changes of one file, seen through its directory.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use futures::StreamExt;
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchMask};

use super::FileError;

/// A watch on the directory of one file.
pub(super) struct DirectoryWatch {
    path: PathBuf,
    directory: PathBuf,
    /// The entry of the directory that the file, being a link, leads through: `..data` in a mounted ConfigMap.
    link: Option<OsString>,
    events: EventStream<[u8; 4096]>,
}

impl fmt::Debug for DirectoryWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectoryWatch")
            .field("path", &self.path)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl DirectoryWatch {
    pub(super) fn new(path: &Path) -> Result<Self, FileError> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = parent.unwrap_or(Path::new(".")).to_owned();
        match watch(&directory) {
            Ok(events) => Ok(Self {
                path: path.to_owned(),
                directory,
                link: None,
                events,
            }),
            Err(source) => Err(FileError::Watch { directory, source }),
        }
    }

    /// Looks where the file leads now; to be called before each time it is read.
    pub(super) fn note_links(&mut self) {
        self.link = fs::read_link(&self.path)
            .ok()
            .and_then(|target| first_step(&target));
    }

    /// Waits until the file, or a link on the way to it, may be another. Can be cancelled without losing a change.
    pub(super) async fn changed(&mut self) -> Result<(), FileError> {
        let gone = EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED | EventMask::UNMOUNT;
        loop {
            match self.events.next().await {
                Some(Ok(event)) if event.mask.intersects(gone) => return Err(self.gone()),
                Some(Ok(event)) if self.concerns_file(&event) => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(source)) => {
                    return Err(FileError::Watch {
                        directory: self.directory.clone(),
                        source,
                    });
                }
                None => return Err(self.gone()),
            }
        }
    }

    fn gone(&self) -> FileError {
        FileError::DirectoryGone {
            directory: self.directory.clone(),
        }
    }

    fn concerns_file(&self, event: &EventOwned) -> bool {
        // After an overflow anything may have happened.
        event.mask.contains(EventMask::Q_OVERFLOW)
            || event.name.as_deref().is_some_and(|name| self.leads_to_file(name))
    }

    /// Whether the directory's entry `name` is the file, or is on the way to it.
    pub(super) fn leads_to_file(&self, name: &OsStr) -> bool {
        self.path.file_name() == Some(name) || self.link.as_deref() == Some(name)
    }
}

/// Not `MODIFY`: a file that is written in place is read once, when its writer closes it.
fn watch(directory: &Path) -> io::Result<EventStream<[u8; 4096]>> {
    let changes = WatchMask::CLOSE_WRITE | WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVE;
    let inotify = Inotify::init()?;
    inotify.watches().add(
        directory,
        changes | WatchMask::DELETE_SELF | WatchMask::MOVE_SELF | WatchMask::ONLYDIR,
    )?;
    inotify.into_event_stream([0; 4096])
}

fn first_step(target: &Path) -> Option<OsString> {
    // An absolute target leaves the directory.
    let mut steps = target.components().skip_while(|step| *step == Component::CurDir);
    match steps.next()? {
        Component::Normal(name) => Some(name.to_owned()),
        _ => None,
    }
}
