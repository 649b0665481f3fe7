//! Where probes and metrics are answered.

use std::net::SocketAddr;
use std::str::FromStr;

use serde::Deserialize;

/// An address to listen on, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HttpAddress(pub Option<SocketAddr>);

/// The text is no such address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no address to listen on: write ADDRESS:PORT, such as [::]:15014, or none")]
pub struct HttpAddressError {
    text: String,
}

impl FromStr for HttpAddress {
    type Err = HttpAddressError;

    fn from_str(text: &str) -> Result<Self, HttpAddressError> {
        if text == "none" {
            return Ok(Self(None));
        }
        match text.parse() {
            Ok(address) => Ok(Self(Some(address))),
            Err(_) => Err(HttpAddressError {
                text: text.to_owned(),
            }),
        }
    }
}

impl TryFrom<String> for HttpAddress {
    type Error = HttpAddressError;

    fn try_from(text: String) -> Result<Self, HttpAddressError> {
        text.parse()
    }
}
