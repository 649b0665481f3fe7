//! Installs, and goes on installing.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{info, warn};

use super::plan::{Plan, plan, refuse_istio};
use super::replace::replace;
use super::watch::DirectoryWatch;
use super::{CONFLIST, ConfError, InstallConfig, PLUGIN, directory};
use crate::run::health::Health;

/// How often the directories are looked at although nothing seems to have changed.
const INTERVAL: Duration = Duration::from_secs(30);
/// Between attempts.
const RETRY: Duration = Duration::from_secs(2);
/// Somebody who takes our file away each time is not answered more often than this.
const PAUSE: Duration = Duration::from_millis(100);
/// The primary CNI's file may hold secrets, so ours is as closed.
const CONFLIST_MODE: u32 = 0o600;
const PLUGIN_MODE: u32 = 0o755;
/// What the agent misses while the plugin is not in the chain.
const PART: &str = "the CNI plugin's installation";

/// Installs the plugin.
#[derive(Clone, Debug)]
pub struct Installer {
    config: Arc<InstallConfig>,
    ended: Arc<Mutex<bool>>,
}

impl Installer {
    /// Nothing is touched yet.
    #[must_use]
    pub fn new(config: InstallConfig) -> Self {
        Self {
            config: Arc::new(config),
            ended: Arc::default(),
        }
    }

    /// Whether the agent may start at all on this node.
    ///
    /// # Errors
    /// [`ConfError::Istio`].
    pub fn check(&self) -> Result<(), ConfError> {
        match directory::read(&self.config.conf_dir) {
            Ok(found) => refuse_istio(&found, self.config.take_over),
            // A directory that is not there yet will be waited for.
            Err(_) => Ok(()),
        }
    }

    /// From now on nothing is installed: whoever removes it would see it come back.
    pub fn end(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Brings everything up to date: first the plugin, then the chain that calls it.
    ///
    /// # Errors
    /// [`ConfError`]; what was there before is still there.
    pub fn install(&self) -> Result<(), ConfError> {
        // Held until all is done, so that nothing is half installed when the end has come.
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if *ended {
            return Ok(());
        }
        self.install_plugin()?;
        let found = directory::read(&self.config.conf_dir)?;
        match plan(&found, &self.config.entry()?, self.config.take_over)? {
            Plan::Nothing => Ok(()),
            Plan::Write { primary, text } => {
                replace(&self.config.conf_dir, CONFLIST, text.as_bytes(), CONFLIST_MODE)?;
                info!(primary, file = CONFLIST, "the CNI plugin is in the chain");
                Ok(())
            }
        }
    }

    fn install_plugin(&self) -> Result<(), ConfError> {
        let source = &self.config.plugin;
        let plugin = fs::read(source).map_err(ConfError::at("read", source))?;
        // One that cannot be read is replaced like one that is different.
        if fs::read(self.config.bin_dir.join(PLUGIN)).is_ok_and(|installed| installed == plugin) {
            return Ok(());
        }
        replace(&self.config.bin_dir, PLUGIN, &plugin, PLUGIN_MODE)?;
        info!(directory = %self.config.bin_dir.display(), "the CNI plugin is installed");
        Ok(())
    }
}

/// Notes that the plugin is not in the chain as long as [`keep`] has not put it there.
pub fn note_missing(health: &Health) {
    health.set(PART, Some("it has not been tried yet".to_owned()));
}

/// Installs and keeps installed, until it is dropped.
pub async fn keep(installer: Installer, health: Health) {
    let config = installer.config.clone();
    loop {
        // Before they are read, so that no change falls between the two; anew each time, because a directory may be.
        let mut watch = DirectoryWatch::new(&[&config.conf_dir, &config.bin_dir]);
        let attempt = installer.clone();
        let trouble = match spawn_blocking(move || attempt.install()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(panicked) => Some(panicked.to_string()),
        };
        if let Some(trouble) = &trouble
            && health.get(PART).as_ref() != Some(trouble)
        {
            warn!(
                error = trouble,
                "pods of the mesh may start past it; trying again"
            );
        }
        let pause = if trouble.is_some() { RETRY } else { INTERVAL };
        health.set(PART, trouble);
        sleep(PAUSE).await;
        tokio::select! {
            () = watch.changed() => {}
            () = sleep(pause) => {}
        }
    }
}
