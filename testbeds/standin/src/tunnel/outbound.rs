//! What the proxy's own pods open (15001).

use std::net::{IpAddr, SocketAddr};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{Failure, Instance, Serves, Upstream};
use crate::original_dst::original_destination;
use crate::preface::{Answer, Connect, read_line};
use crate::record::Record;
use crate::route::{self, Denial, Route, SameNode};

impl Instance {
    pub(super) async fn outbound(
        &self,
        client: &TcpStream,
        peer: SocketAddr,
        record: &mut Record,
    ) -> Result<Upstream, Failure> {
        let found = original_destination(client)?;
        record.original_destination = Some(found.address);
        record.learnt = Some(found.learnt);
        let identity = self.identity_of(peer.ip())?;
        record.identity = Some(identity.clone());
        let reached = self.peer(found.address.ip());
        let route = route::outbound(peer.ip(), found.address, reached, self.same_node())?;
        let spoofed = self.outbound_source(peer.ip());
        match route {
            Route::Direct(address) => Ok(self.dial(address, spoofed, record).await?.into()),
            Route::Tunnel(address) => {
                let stream = self.dial(address, spoofed, record).await?;
                let asked = Connect {
                    destination: found.address,
                    identity: Some(identity),
                };
                ask(stream, &asked).await
            }
        }
    }

    /// By which identity a source goes: its namespace tells in one contract, its address in the other.
    fn identity_of(&self, source: IpAddr) -> Result<String, Denial> {
        match &self.serves {
            Serves::Pod { identity, .. } => Ok(identity.clone()),
            Serves::Node(_) if self.mesh.is_local(source) => Ok(source.to_string()),
            Serves::Node(_) => Err(Denial::UnknownSource(source)),
        }
    }

    fn same_node(&self) -> SameNode {
        match self.serves {
            Serves::Pod { .. } => SameNode::Hairpin,
            Serves::Node(same_node) => same_node,
        }
    }

    /// In the pod's namespace its address is the source anyway; elsewhere it has to be borrowed.
    fn outbound_source(&self, client: IpAddr) -> Option<IpAddr> {
        match self.serves {
            Serves::Pod { .. } => None,
            Serves::Node(_) => self.original_source.then_some(client),
        }
    }
}

async fn ask(mut stream: TcpStream, asked: &Connect) -> Result<Upstream, Failure> {
    stream.write_all(asked.to_string().as_bytes()).await?;
    let (answer, to_client) = read_line(&mut stream).await?;
    match answer {
        Answer::Ok => Ok(Upstream {
            to_client,
            ..stream.into()
        }),
        Answer::No(why) => Err(Failure::Refused(why)),
    }
}
