//! What bringing a pod in asks rtnetlink, without a runtime to wait in: the kernel carries a request out before it
//! returns from sending, so several go at once and their answers are there.

use std::io;

use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

use super::EnrollError;

/// The kernel sends no longer datagrams than it has been asked for before, or a page,
const USUAL: usize = 8 << 10;
/// but for interfaces, of which it makes one as long as the longest takes.
const LONGEST: usize = 32 << 10;
/// `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_GETLINK: u16 = 18;
const RTM_GETADDR: u16 = 22;
const RTM_GETRULE: u16 = 34;
/// `struct ifinfomsg`, the longest of the three questions' headers; what is not said is zero.
const QUESTION: usize = 16;

/// Before the number of the first request: answers are told by it from what else a socket hears that has subscribed to
/// something.
const BEFORE_FIRST: u32 = u32::from_be_bytes(*b"weir");

/// A socket of the namespace that it is made in.
pub struct Requests {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
    heard: bool,
}

/// What is to be made, and which of the kernel's refusals are fine.
pub struct Making {
    /// A route or a rule.
    pub message: RouteNetlinkMessage,
    /// Whether it takes the place of one that is there.
    pub replaces: bool,
    /// What is done by it.
    pub step: &'static str,
    /// Error numbers that are no errors.
    pub fine: &'static [i32],
}

impl Requests {
    /// In the namespace that the calling thread is in.
    ///
    /// # Errors
    /// [`EnrollError::NetlinkSocket`].
    pub fn new() -> Result<Self, EnrollError> {
        let open = || {
            let socket = Socket::new(NETLINK_ROUTE)?;
            // This gives it an address too.
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        };
        let socket = open().map_err(EnrollError::NetlinkSocket)?;
        Ok(Self::by(socket))
    }

    /// By a socket that may have subscribed to something.
    #[must_use]
    pub fn by(socket: Socket) -> Self {
        Self {
            socket,
            sequence: BEFORE_FIRST,
            buffer: Vec::with_capacity(USUAL),
            heard: false,
        }
    }

    /// The socket, when nothing more is to be asked.
    #[must_use]
    pub fn into_socket(self) -> Socket {
        self.socket
    }

    /// Whether anything but answers came.
    #[must_use]
    pub const fn has_heard(&self) -> bool {
        self.heard
    }

    /// What `read` makes of all addresses: of what follows the header of each message. So it is with what is listed
    /// below too: there are many attributes, and who wants a few had better look for them.
    ///
    /// # Errors
    /// [`EnrollError::Refused`].
    pub fn addresses<T>(&mut self, read: impl Fn(&[u8]) -> Option<T>) -> Result<Vec<T>, EnrollError> {
        self.list(RTM_GETADDR, "list addresses", read)
    }

    /// The rules of all families.
    ///
    /// # Errors
    /// [`EnrollError::Refused`].
    pub fn rules<T>(&mut self, read: impl Fn(&[u8]) -> Option<T>) -> Result<Vec<T>, EnrollError> {
        self.list(RTM_GETRULE, "list routing rules", read)
    }

    /// All interfaces.
    ///
    /// # Errors
    /// [`EnrollError::Refused`].
    pub fn links<T>(&mut self, read: impl Fn(&[u8]) -> Option<T>) -> Result<Vec<T>, EnrollError> {
        self.buffer.reserve(LONGEST);
        self.list(RTM_GETLINK, "list interfaces", read)
    }

    fn list<T>(
        &mut self,
        kind: u16,
        step: &'static str,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, EnrollError> {
        let mut found = Vec::new();
        let mut listed = || {
            self.sequence += 1;
            self.socket.send(&question(kind, self.sequence), 0)?;
            while self.receive(|kind, message| match kind {
                NLMSG_DONE => Ok(true),
                NLMSG_ERROR => refusal(message).map(|()| true),
                _ => {
                    found.extend(message.get(HEADER..).and_then(&read));
                    Ok(false)
                }
            })? {}
            Ok(())
        };
        listed().map_err(EnrollError::refused(step))?;
        Ok(found)
    }

    /// Makes all of these, one after the other, whether or not those before could be made.
    ///
    /// # Errors
    /// The first [`EnrollError::Refused`].
    pub fn make(&mut self, all: Vec<Making>) -> Result<(), EnrollError> {
        let mut steps = Vec::with_capacity(all.len());
        let mut together = Vec::new();
        let (first, last) = (self.sequence + 1, self.sequence + all.len() as u32);
        for Making {
            message,
            replaces,
            step,
            fine,
        } in all
        {
            self.sequence += 1;
            let way = if replaces { NLM_F_REPLACE } else { NLM_F_EXCL };
            // The kernel tells of what it refuses in any case, and of the last when it is through with all.
            let asked = if self.sequence == last { NLM_F_ACK } else { 0 };
            let flags = NLM_F_REQUEST | NLM_F_CREATE | way | asked;
            append(&mut together, message, flags, self.sequence);
            steps.push((step, fine));
        }
        if steps.is_empty() {
            return Ok(());
        }
        let send = "send netlink requests";
        self.socket
            .send(&together, 0)
            .map_err(EnrollError::refused(send))?;
        let mut refused = None;
        loop {
            let goes_on = self.receive(|kind, message| {
                let index =
                    number(message, HEADER + 4 + 8).map(|sequence| sequence.wrapping_sub(first) as usize);
                let step = index.and_then(|index| steps.get(index).zip(Some(index)));
                let (NLMSG_ERROR, Some(((step, fine), index))) = (kind, step) else {
                    return Ok(false);
                };
                if let Err(error) = refusal(message)
                    && !error.raw_os_error().is_some_and(|code| fine.contains(&code))
                {
                    refused.get_or_insert(EnrollError::refused(step)(error));
                }
                Ok(index + 1 == steps.len())
            });
            if !goes_on.map_err(EnrollError::refused(send))? {
                break;
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Takes one datagram, message by message with its kind; says whether more are to come, that is, whether `take` has
    /// not said of any that it is the last.
    fn receive(&mut self, mut take: impl FnMut(u16, &[u8]) -> io::Result<bool>) -> io::Result<bool> {
        self.buffer.clear();
        // Without room for what it has subscribed to an answer may be lost too: that fails, and is tried again.
        self.socket.recv(&mut self.buffer, 0)?;
        let mut rest = self.buffer.as_slice();
        let mut goes_on = true;
        while let Some(length) = number(rest, 0).map(|length| length as usize) {
            let Some(message) = rest.get(..length).filter(|message| message.len() >= HEADER) else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            let kind = u16::from_ne_bytes([message[4], message[5]]);
            let is_answer =
                number(message, 8).is_some_and(|number| (BEFORE_FIRST..=self.sequence).contains(&number));
            if is_answer {
                goes_on &= !take(kind, message)?;
            } else {
                self.heard = true;
            }
            rest = after(rest, length);
        }
        Ok(goes_on)
    }
}

/// More came than the socket could hold.
pub(super) fn was_overrun(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOBUFS)
}

/// Of all families.
fn question(kind: u16, sequence: u32) -> [u8; HEADER + QUESTION] {
    let mut question = [0; HEADER + QUESTION];
    question[..4].copy_from_slice(&((HEADER + QUESTION) as u32).to_ne_bytes());
    question[4..6].copy_from_slice(&kind.to_ne_bytes());
    question[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    question[8..12].copy_from_slice(&sequence.to_ne_bytes());
    question
}

fn append(to: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16, sequence: u32) {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let begin = to.len();
    to.resize(begin + message.buffer_len().next_multiple_of(4), 0);
    message.serialize(&mut to[begin..]);
}

/// The number in an error message; zero is an acknowledgement.
fn refusal(message: &[u8]) -> io::Result<()> {
    match number(message, HEADER).map_or(libc::EPROTO, |code| -code.cast_signed()) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// The value of the first attribute of this type.
pub(super) fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let [low, high, kind @ ..]: [u8; 4] = *attributes.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([low, high]));
        let value = attributes.get(4..length)?;
        if u16::from_ne_bytes(kind) == wanted {
            return Some(value);
        }
        attributes = after(attributes, length);
    }
}

/// A number among attributes.
pub(super) fn number_of(attributes: &[u8], wanted: u16) -> Option<u32> {
    number(attribute(attributes, wanted)?, 0)
}

/// What follows something of this length; the next begins at a multiple of four.
pub(super) fn after(bytes: &[u8], length: usize) -> &[u8] {
    bytes.get(length.next_multiple_of(4)..).unwrap_or_default()
}

pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::{after, attribute, refusal};

    #[test]
    fn attributes_are_found_and_junk_is_none() {
        let two = [5, 0, 1, 0, b'x', 0, 0, 0, 8, 0, 3, 0, b'e', b't', b'h', 0];
        assert_eq!(attribute(&two, 1), Some(&b"x"[..]));
        assert_eq!(attribute(&two, 3), Some(&b"eth\0"[..]));
        for junk in [&two[..9], &[0, 0, 3, 0], &[9, 0, 3, 0, 1], &[]] {
            assert_eq!(attribute(junk, 3), None, "{junk:?}");
        }
        assert!(after(&two, 100).is_empty());
    }

    #[test]
    fn a_refusal_is_told_from_an_acknowledgement() {
        let answer = |code: i32| [&[0; 16][..], &code.to_ne_bytes()].concat();
        assert!(refusal(&answer(0)).is_ok());
        let refused = refusal(&answer(-libc::EEXIST)).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EEXIST));
        assert!(refusal(&[0; 3]).is_err(), "cut short");
    }
}
