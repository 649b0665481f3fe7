//! Captured connections that are still open in a pod's netns.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use weir_common::address::Address;

use super::EnrollError;
use super::socket_table::{self, States};

/// How many sockets captured connections have in the netns of a pod with the addresses `own`. It is by their local
/// address that they are known: ztunnel answers for the world there, and connects from its clients' addresses.
///
/// # Errors
/// [`EnrollError::Netns`], [`EnrollError::SocketTable`].
pub fn sockets(netns: BorrowedFd<'_>, own: &[Address]) -> Result<usize, EnrollError> {
    let sockets = socket_table::read(netns, States::CONNECTED)?;
    Ok(sockets
        .iter()
        .filter(|socket| is_captured(socket.local, own))
        .count())
}

fn is_captured(local: SocketAddr, own: &[Address]) -> bool {
    let address = local.ip();
    !address.is_loopback() && !address.is_unspecified() && !own.contains(&Address::from(address))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use weir_common::address::Address;

    use super::is_captured;

    #[test]
    fn connections_with_foreign_local_addresses_are_captured() {
        let own = ["10.244.0.11", "fd00::b"].map(|own| Address::from(own.parse::<IpAddr>().unwrap()));
        let captured = |local: &str| is_captured(local.parse::<SocketAddr>().unwrap(), &own);
        assert!(captured("10.244.0.10:8080"));
        assert!(captured("[fd00::a]:8080"));
        for local in [
            "10.244.0.11:8080",
            "[fd00::b]:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
            "0.0.0.0:8080",
        ] {
            assert!(!captured(local), "{local}");
        }
    }
}
