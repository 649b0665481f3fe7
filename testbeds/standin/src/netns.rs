//! Where sockets are made: in the proxy's own network namespace, or in a pod's.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, mpsc};
use std::thread;

use nix::sched::{CloneFlags, setns};
use tokio::sync::oneshot;

/// A network namespace in which jobs can be run; clones share it.
#[derive(Clone)]
pub struct Netns {
    place: Place,
}

#[derive(Clone)]
enum Place {
    Own,
    /// The thread that lives there; it ends with the last sender.
    Thread(mpsc::Sender<Job>),
}

type Job = Box<dyn FnOnce() + Send>;

/// What makes a namespace the same one: inode and device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity(u64, u64);

impl Identity {
    /// Of the namespace that `file` is.
    pub fn of(file: &File) -> io::Result<Self> {
        let facts = file.metadata()?;
        Ok(Self(facts.ino(), facts.dev()))
    }
}

impl Netns {
    /// The proxy's own.
    pub fn own() -> Self {
        Self { place: Place::Own }
    }

    /// Another one, entered by a thread made for it.
    pub async fn enter(file: Arc<File>) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (report, entered) = oneshot::channel();
        thread::Builder::new()
            .name("pod-netns".to_owned())
            .spawn(move || {
                let result = setns(&*file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from);
                let inside = result.is_ok();
                // A caller that has gone away needs no report.
                report.send(result).unwrap_or_default();
                if inside {
                    queue.into_iter().for_each(|job| job());
                }
            })?;
        entered.await.map_err(|_| ended())??;
        Ok(Self {
            place: Place::Thread(jobs),
        })
    }

    /// Runs a job inside that does not wait for anything.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        match &self.place {
            Place::Own => job(),
            Place::Thread(jobs) => {
                let (report, done) = oneshot::channel();
                let job = move || {
                    // A caller that has gone away needs no report.
                    report.send(job()).unwrap_or_else(drop);
                };
                jobs.send(Box::new(job)).map_err(|_| ended())?;
                done.await.map_err(|_| ended())?
            }
        }
    }
}

fn ended() -> io::Error {
    io::Error::other("the thread in the pod's network namespace has ended")
}
