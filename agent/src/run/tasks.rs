//! The tasks that run for as long as the agent does.

use futures::future::select_all;
use tokio::task::JoinHandle;

/// All of them. None ends by itself: one that does has panicked, and nobody would do its work any more.
#[derive(Default)]
pub(super) struct Tasks(Vec<(&'static str, JoinHandle<()>)>);

impl Tasks {
    /// Adds one, by what it does.
    pub(super) fn add(&mut self, what: &'static str, task: JoinHandle<()>) {
        self.0.push((what, task));
    }

    /// Waits until one ends, and says what it did.
    pub(super) async fn first_end(&mut self) -> &'static str {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        let tasks = self.0.iter_mut().map(|(_, task)| task);
        let (_, index, _) = select_all(tasks).await;
        self.0.remove(index).0
    }

    /// Ends all of them.
    pub(super) fn abort(&self) {
        for (_, task) in &self.0 {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::Tasks;

    #[tokio::test]
    async fn one_that_panics_is_named() {
        let mut tasks = Tasks::default();
        tasks.add("looks", tokio::spawn(pending()));
        tasks.add("counts", tokio::spawn(async { panic!("as a test") }));
        tasks.add("sweeps", tokio::spawn(pending()));
        assert_eq!(tasks.first_end().await, "counts");
    }
}
