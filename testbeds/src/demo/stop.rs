//! Signals end the demo between two steps, so that everything is taken down in order.

use std::io::{self, BufRead as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use futures::future::select_all;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Whether somebody wants the demo to end.
#[derive(Debug)]
pub(super) struct Stop {
    raised: Arc<AtomicBool>,
    told: Receiver<()>,
    teller: Sender<()>,
}

impl Stop {
    /// From here on SIGINT, SIGTERM and SIGHUP do not kill the process.
    pub(super) fn listen() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let signals = {
            let _context = runtime.enter();
            [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ]
        };
        let (teller, told) = mpsc::channel();
        let raised = Arc::new(AtomicBool::new(false));
        let (flag, by_signal) = (Arc::clone(&raised), teller.clone());
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || wait_for_signal(&runtime, signals, &flag, &by_signal))?;
        Ok(Self { raised, told, teller })
    }

    pub(super) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Relaxed)
    }

    /// Waits for a signal, or for Enter. An input that has ended says nothing.
    pub(super) fn wait(&self) {
        let by_enter = self.teller.clone();
        thread::spawn(move || {
            let read = io::stdin().lock().read_line(&mut String::new());
            if read.is_ok_and(|bytes| bytes > 0) {
                // Nobody listens any more if a signal was faster.
                by_enter.send(()).unwrap_or_default();
            }
        });
        // Cannot fail: this end keeps a sender.
        self.told.recv().unwrap_or_default();
    }
}

fn wait_for_signal(runtime: &Runtime, mut signals: [Signal; 3], raised: &AtomicBool, teller: &Sender<()>) {
    runtime.block_on(select_all(
        signals.iter_mut().map(|signal| Box::pin(signal.recv())),
    ));
    raised.store(true, Ordering::Relaxed);
    // The demo may be over.
    teller.send(()).unwrap_or_default();
}
