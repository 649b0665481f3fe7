//! The tasks that run for as long as the agent does.

use futures::future::select_all;
use tokio::task::JoinHandle;

/// What a task does, and the task.
pub(super) type Task = (&'static str, JoinHandle<()>);

/// All of them. None ends by itself: one that does has panicked, and nobody would do its work any more.
pub(super) struct Tasks(Vec<Task>);

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

    /// Waits until one ends that has been told to, if it is there.
    pub(super) async fn end_of(&mut self, what: &str) {
        for (_, task) in self.0.extract_if(.., |(other, _)| *other == what) {
            // One that panicked instead has been reported.
            task.await.ok();
        }
    }

    /// Ends all of them.
    pub(super) fn abort(&self) {
        for (_, task) in &self.0 {
            task.abort();
        }
    }
}

impl FromIterator<Task> for Tasks {
    fn from_iter<I: IntoIterator<Item = Task>>(tasks: I) -> Self {
        Self(tasks.into_iter().collect())
    }
}

impl Extend<Task> for Tasks {
    fn extend<I: IntoIterator<Item = Task>>(&mut self, tasks: I) {
        self.0.extend(tasks);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::Tasks;

    #[tokio::test]
    async fn one_that_panics_is_named() {
        let mut tasks = Tasks::from_iter([
            ("looks", tokio::spawn(pending())),
            ("counts", tokio::spawn(async { panic!("as a test") })),
        ]);
        tasks.add("sweeps", tokio::spawn(pending()));
        assert_eq!(tasks.first_end().await, "counts");
    }
}
