//! Carrying bytes both ways until both ends are done.

use std::io;

use tokio::io::{AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;

use super::Upstream;
use crate::sockets::reset_on_close;

const BUFFER: usize = 64 * 1024;

/// Copies until both ends have closed; an end of file on one side closes only that direction on the other.
pub(super) async fn relay(mut client: TcpStream, mut upstream: Upstream) {
    if carry(&mut client, &mut upstream).await.is_err() {
        // A broken connection must not look like a finished one to the other side.
        reset_on_close(&client);
        reset_on_close(&upstream.stream);
    }
}

async fn carry(client: &mut TcpStream, upstream: &mut Upstream) -> io::Result<()> {
    client.write_all(&upstream.to_client).await?;
    upstream.stream.write_all(&upstream.to_upstream).await?;
    copy_bidirectional_with_sizes(client, &mut upstream.stream, BUFFER, BUFFER).await?;
    Ok(())
}
