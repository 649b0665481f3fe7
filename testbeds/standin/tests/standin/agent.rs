//! A node agent of a few lines, which sends what a test tells it to.

use std::fs;
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use socket2::{Domain, SockAddr, Socket, Type};
use weir_standin::zds::wire::{HELLO, Request, Workload, decode_ack};
use weir_testbeds::deadline::PATIENCE;
use weir_testbeds::netns::Netns;
use weir_testbeds::unique;

/// Listens where the proxy connects to.
pub struct Agent {
    listener: Socket,
    path: PathBuf,
}

/// A connected proxy that has said hello.
pub struct Session {
    socket: Socket,
}

impl Agent {
    pub fn new() -> Self {
        Self::at(&std::env::temp_dir().join(unique::name("zds.sock")))
    }

    /// Takes the place of an earlier one.
    pub fn at(path: &Path) -> Self {
        let listener = Socket::new(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        listener.set_read_timeout(Some(PATIENCE)).unwrap();
        listener.bind(&SockAddr::unix(path).unwrap()).unwrap();
        listener.listen(8).unwrap();
        Self {
            listener,
            path: path.to_owned(),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn accept(&self) -> Session {
        let (socket, _) = self.listener.accept().expect("the proxy connects");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut session = Session { socket };
        assert_eq!(session.receive(), HELLO);
        session
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        fs::remove_file(&self.path).unwrap_or_default();
    }
}

impl Session {
    /// Announces a pod and expects that it is taken.
    pub fn add(&mut self, uid: &str, netns: &Netns) {
        assert_eq!(self.try_add(uid, netns), "");
    }

    /// Announces a pod and returns the error in the answer.
    pub fn try_add(&mut self, uid: &str, netns: &impl AsFd) -> String {
        self.send_with(&add(uid).encode(), netns);
        self.answer()
    }

    /// Sends a request and expects that it is carried out.
    pub fn request(&mut self, request: &Request) {
        assert_eq!(self.try_request(request), "", "{request:?}");
    }

    /// Sends a request without a descriptor and returns the error in the answer.
    pub fn try_request(&mut self, request: &Request) -> String {
        self.send(&request.encode());
        self.answer()
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    pub fn send_with(&mut self, bytes: &[u8], descriptor: &impl AsFd) {
        let descriptors = [descriptor.as_fd().as_raw_fd()];
        let control = [ControlMessage::ScmRights(&descriptors)];
        let (socket, parts) = (self.socket.as_raw_fd(), [IoSlice::new(bytes)]);
        sendmsg::<()>(socket, &parts, &control, MsgFlags::empty(), None).unwrap();
    }

    pub fn answer(&mut self) -> String {
        decode_ack(&self.receive()).unwrap()
    }

    /// The proxy has closed the connection.
    pub fn expect_end(&mut self) {
        assert_eq!(self.receive(), b"");
    }

    fn receive(&mut self) -> Vec<u8> {
        let mut buffer = vec![0; 4096];
        let length = self.socket.read(&mut buffer).expect("the proxy answers");
        buffer.truncate(length);
        buffer
    }
}

pub fn add(uid: &str) -> Request {
    let workload = Workload {
        name: uid.to_owned(),
        namespace: "default".to_owned(),
        service_account: "default".to_owned(),
    };
    Request::Add {
        uid: uid.to_owned(),
        workload: Some(workload),
    }
}

pub fn keep(uid: &str) -> Request {
    Request::Keep { uid: uid.to_owned() }
}

pub fn del(uid: &str) -> Request {
    Request::Del { uid: uid.to_owned() }
}
