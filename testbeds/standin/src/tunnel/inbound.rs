//! What comes to a pod in plain TCP (15006).

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::{Failure, Instance, Upstream};
use crate::original_dst::original_destination;
use crate::record::Record;
use crate::route;

impl Instance {
    pub(super) async fn inbound(
        &self,
        client: &TcpStream,
        peer: SocketAddr,
        record: &mut Record,
    ) -> Result<Upstream, Failure> {
        let found = original_destination(client)?;
        record.original_destination = Some(found.address);
        record.learnt = Some(found.learnt);
        let route = route::inbound(found.address)?;
        Ok(self.dial_application(route, peer, record).await?.into())
    }
}
