//! What comes to a pod by tunnel (15008).

use std::net::{IpAddr, SocketAddr};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{Failure, Instance, Upstream};
use crate::preface::{Answer, Connect, read_line};
use crate::record::{Learnt, Record};
use crate::route;
use crate::sockets::canonical;

impl Instance {
    pub(super) async fn hbone(
        &self,
        client: &mut TcpStream,
        peer: SocketAddr,
        record: &mut Record,
    ) -> Result<Upstream, Failure> {
        // This listener never asks SO_ORIGINAL_DST: the tunnel must have come to the pod's own address.
        let accepted = canonical(client.local_addr()?).ip();
        let (asked, to_upstream): (Connect, _) = read_line(client).await?;
        record.original_destination = Some(asked.destination);
        record.learnt = Some(Learnt::LocalAddress);
        record.identity = asked.identity;
        let connected = self.application(accepted, asked.destination, peer, record).await;
        let answer = match &connected {
            Ok(_) => Answer::Ok,
            Err(failure) => Answer::No(failure.to_string()),
        };
        client.write_all(answer.to_string().as_bytes()).await?;
        Ok(Upstream {
            to_upstream,
            ..connected?.into()
        })
    }

    async fn application(
        &self,
        accepted: IpAddr,
        asked: SocketAddr,
        client: SocketAddr,
        record: &mut Record,
    ) -> Result<TcpStream, Failure> {
        let route = route::tunnel(accepted, asked)?;
        self.dial_application(route, client, record).await
    }
}
