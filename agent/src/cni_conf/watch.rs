//! Changes in directories.

use std::io;
use std::path::Path;

use futures::StreamExt as _;
use inotify::{EventStream, Inotify, WatchMask};

/// A watch on directories; without one, changes are found by looking from time to time.
pub(super) struct DirectoryWatch(Option<EventStream<[u8; 4096]>>);

impl DirectoryWatch {
    pub(super) fn new(directories: &[&Path]) -> Self {
        Self(watch(directories).ok())
    }

    /// Waits for a change; for ever, if no directory can be watched.
    pub(super) async fn changed(&mut self) {
        match &mut self.0 {
            Some(events) => {
                if !matches!(events.next().await, Some(Ok(_))) {
                    self.0 = None;
                }
            }
            None => std::future::pending().await,
        }
    }
}

fn watch(directories: &[&Path]) -> io::Result<EventStream<[u8; 4096]>> {
    let changes = WatchMask::CLOSE_WRITE | WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVE;
    let inotify = Inotify::init()?;
    for directory in directories {
        // One that is not there is no reason not to watch the others.
        inotify
            .watches()
            .add(directory, changes | WatchMask::ONLYDIR)
            .ok();
    }
    inotify.into_event_stream([0; 4096])
}
