//! Ethernet addresses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An Ethernet address, written `02:00:00:00:00:01`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

/// A text that is no Ethernet address.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no Ethernet address: six pairs of hexadecimal digits with colons between them are")]
pub struct NotAMac(String);

impl Mac {
    /// From the bytes of a netlink attribute; tunnels have addresses of other lengths.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().map(Self).ok()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl FromStr for Mac {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let bytes: Option<Vec<u8>> = text
            .split(':')
            .map(|pair| {
                (pair.len() == 2)
                    .then(|| u8::from_str_radix(pair, 16).ok())
                    .flatten()
            })
            .collect();
        bytes
            .as_deref()
            .and_then(Self::from_slice)
            .ok_or_else(|| NotAMac(text.to_owned()))
    }
}

impl TryFrom<String> for Mac {
    type Error = NotAMac;

    fn try_from(text: String) -> Result<Self, NotAMac> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::Mac;

    #[test]
    fn what_is_written_can_be_read() {
        let mac = Mac([0xee, 0, 1, 2, 0xab, 0xff]);
        assert_eq!(mac.to_string(), "ee:00:01:02:ab:ff");
        assert_eq!(mac.to_string().parse::<Mac>().unwrap(), mac);
        for wrong in [
            "",
            "ee:00:01:02:ab",
            "ee:00:01:02:ab:ff:00",
            "e:00:01:02:ab:ff",
            "eg:00:01:02:ab:ff",
        ] {
            assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
        }
    }
}
