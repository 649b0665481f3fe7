//! A ztunnel that does what the test says. Blocking: the server runs on other threads.
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use nix::cmsg_space;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::fixtures::{PATIENCE, netns_identity};

pub struct Ztunnel {
    socket: Socket,
}

impl Ztunnel {
    /// Connects and says nothing.
    pub fn connect(path: &Path) -> Self {
        Self::try_connect(path).unwrap()
    }

    pub fn try_connect(path: &Path) -> std::io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(&SockAddr::unix(path)?)?;
        Ok(Self { socket })
    }

    /// Connects and says hello.
    pub fn hello(path: &Path) -> Self {
        let ztunnel = Self::connect(path);
        ztunnel.send(b"\x08\x01");
        ztunnel
    }

    /// Connects, says hello and takes a snapshot of exactly these pods, in this order.
    pub fn live(path: &Path, pods: &[&str]) -> Self {
        let ztunnel = Self::hello(path);
        for uid in pods {
            ztunnel.takes_add(uid);
        }
        ztunnel.takes_marker();
        ztunnel
    }

    pub fn send(&self, datagram: &[u8]) {
        self.socket.send(datagram).unwrap();
    }

    pub fn ack(&self) {
        self.send(b"\x0a\x00");
    }

    pub fn nack(&self, error: &str) {
        let length = u8::try_from(error.len()).unwrap();
        let mut datagram = vec![0x0a, length + 2, 0x0a, length];
        datagram.extend_from_slice(error.as_bytes());
        self.send(&datagram);
    }

    /// The next datagram is this announcement, with the pod's netns.
    pub fn sees_add(&self, uid: &str) {
        let info = [
            string(1, &format!("{uid}-name")),
            string(2, "ns"),
            string(3, "sa"),
        ]
        .concat();
        let add = [string(1, uid), field(2, &info)].concat();
        assert_eq!(
            self.receive(),
            (field(1, &add), vec![netns_identity()]),
            "add {uid}"
        );
    }

    pub fn takes_add(&self, uid: &str) {
        self.sees_add(uid);
        self.ack();
    }

    pub fn sees_keep(&self, uid: &str) {
        assert_eq!(self.receive(), (field(5, &string(1, uid)), vec![]), "keep {uid}");
    }

    pub fn sees_del(&self, uid: &str) {
        assert_eq!(self.receive(), (field(2, &string(2, uid)), vec![]), "del {uid}");
    }

    pub fn sees_marker(&self) {
        assert_eq!(self.receive(), (vec![0x1a, 0], vec![]), "the snapshot marker");
    }

    pub fn takes_marker(&self) {
        self.sees_marker();
        self.ack();
    }

    /// The server has closed the connection.
    pub fn sees_end(&self) {
        let mut buffer = [MaybeUninit::uninit(); 1];
        match self.socket.recv(&mut buffer) {
            Ok(0) => {}
            // What was sent to a closed socket unread comes back as a reset.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => panic!("not the end: {other:?}"),
        }
    }

    /// Nothing comes, for a short while.
    pub fn sees_nothing(&self) {
        let mut wanted = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let quiet = PollTimeout::try_from(Duration::from_millis(60)).unwrap();
        assert_eq!(poll(&mut wanted, quiet), Ok(0), "something came");
    }

    fn receive(&self) -> (Vec<u8>, Vec<(u64, u64)>) {
        let mut buffer = vec![0; 1024];
        let mut space = cmsg_space!([RawFd; 4]);
        let mut iov = [IoSliceMut::new(&mut buffer)];
        let message = recvmsg::<()>(
            self.socket.as_raw_fd(),
            &mut iov,
            Some(&mut space),
            MsgFlags::MSG_CMSG_CLOEXEC,
        )
        .expect("a request in time");
        assert!(
            !message
                .flags
                .intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC)
        );
        let mut passed = Vec::new();
        for control in message.cmsgs().unwrap() {
            if let ControlMessageOwned::ScmRights(descriptors) = control {
                passed.extend(descriptors.into_iter().map(identity_and_close));
            }
        }
        let length = message.bytes;
        buffer.truncate(length);
        (buffer, passed)
    }
}

fn identity_and_close(descriptor: RawFd) -> (u64, u64) {
    let metadata = std::fs::metadata(format!("/proc/self/fd/{descriptor}")).unwrap();
    nix::unistd::close(descriptor).unwrap();
    (metadata.dev(), metadata.ino())
}

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
    bytes.extend_from_slice(content);
    bytes
}

fn string(number: u8, content: &str) -> Vec<u8> {
    field(number, content.as_bytes())
}
