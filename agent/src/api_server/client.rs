//! What requests are sent by.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::{Client, Config};

/// The client, until the server does not accept it. `kube` reads a token's file again when the wall clock says so, which
/// may have been set back since; a new client reads it at once.
pub(super) struct CurrentClient {
    config: Config,
    client: Mutex<Option<Arc<Client>>>,
}

impl CurrentClient {
    /// Made at once, to see whether it can be.
    pub(super) fn new(config: Config) -> kube::Result<Self> {
        let client = Client::try_from(config.clone())?;
        Ok(Self {
            config,
            client: Mutex::new(Some(Arc::new(client))),
        })
    }

    /// The one that there is, or a new one.
    pub(super) fn get(&self) -> kube::Result<Arc<Client>> {
        let mut current = self.lock();
        if let Some(client) = &*current {
            return Ok(client.clone());
        }
        let client = Arc::new(Client::try_from(self.config.clone())?);
        *current = Some(client.clone());
        Ok(client)
    }

    /// It is not used again. Who was refused with the one before says nothing of the present one.
    pub(super) fn give_up(&self, refused: &Arc<Client>) {
        self.lock().take_if(|client| Arc::ptr_eq(client, refused));
    }

    /// A panic elsewhere leaves a whole client behind, or none.
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Client>>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
