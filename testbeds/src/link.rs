//! Interfaces: making, finding, moving and setting them up.

use rtnetlink::LinkUnspec;

use crate::netlink::{Error, Netlink, refused};

impl Netlink {
    /// Sets an interface up.
    pub async fn up(&self, name: &str) -> Result<(), Error> {
        let change = LinkUnspec::new_with_name(name).up().build();
        self.handle
            .link()
            .set(change)
            .execute()
            .await
            .map_err(refused("set up", name))
    }
}
