//! A TCP server that greets with what it saw, echoes, and remembers everyone who came.

use std::io::{self, BufWriter, Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::{SockRef, Socket, Type};

use super::failure::{Failure, Step};
use super::socket;
use crate::deadline::{Expired, eventually};
use crate::netns::Netns;

/// What a server is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerSpec {
    /// The name it greets with.
    pub name: String,
    /// Where it listens; port 0 lets the kernel choose.
    pub bind: SocketAddr,
    /// Whether it sets `SO_REUSEADDR` before it binds.
    pub reuse_address: bool,
    /// Whether it sets `SO_REUSEPORT` before it binds.
    pub reuse_port: bool,
    /// Whether it sets `IP_TRANSPARENT`.
    pub transparent: bool,
    /// The mark on its listening socket.
    pub mark: Option<u32>,
}

impl ServerSpec {
    /// A server as most are: `SO_REUSEADDR`, and nothing else.
    pub fn new(name: &str, bind: SocketAddr) -> Self {
        Self {
            name: name.to_owned(),
            bind,
            reuse_address: true,
            reuse_port: false,
            transparent: false,
            mark: None,
        }
    }
}

/// What a server says about a connection: its greeting, one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerReport {
    /// The server's name.
    pub server: String,
    /// The address the connection arrived at, in its IPv4 form if it has one.
    pub local: SocketAddr,
    /// The address it came from, likewise.
    pub peer: SocketAddr,
}

/// A connection a server has accepted, as it stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Who came, and to which address.
    pub report: ServerReport,
    /// How many bytes have come.
    pub received: u64,
    /// Whether the connection has ended.
    pub closed: bool,
}

/// A running server; dropping it closes its listener and its connections.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    guests: Arc<Mutex<Vec<Guest>>>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Guest {
    report: ServerReport,
    /// Whoever echoes holds it, and closes it in the end: servers under load see more guests than a process has files.
    stream: Weak<TcpStream>,
    progress: Arc<Progress>,
    echoing: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Progress {
    received: AtomicU64,
    closed: AtomicBool,
}

impl Server {
    /// Starts a server in a namespace.
    pub fn start(netns: &Netns, spec: &ServerSpec) -> Result<Self, Failure> {
        let listener = netns.run(|| listen(spec))?;
        Self::serve(spec, listener)
    }

    /// Starts a server at every address of a namespace, of both families.
    pub fn anywhere(netns: &Netns, port: u16) -> Result<Self, Failure> {
        let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        Self::start(netns, &ServerSpec::new("application", any))
    }

    /// Starts a server in the calling thread's namespace.
    pub fn start_here(spec: &ServerSpec) -> Result<Self, Failure> {
        Self::serve(spec, listen(spec)?)
    }

    // A socket stays in the namespace where it was made, so the threads can be anywhere.
    fn serve(spec: &ServerSpec, listener: TcpListener) -> Result<Self, Failure> {
        let address = listener
            .local_addr()
            .map_err(Failure::at(Step::Listen, spec.bind))?;
        let listener = Arc::new(listener);
        let guests = Arc::new(Mutex::new(Vec::new()));
        let accepting = {
            let (name, listener, guests) = (spec.name.clone(), Arc::clone(&listener), Arc::clone(&guests));
            thread::spawn(move || accept_all(&name, &listener, &guests))
        };
        Ok(Self {
            address,
            listener,
            guests,
            accepting: Some(accepting),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everyone who has come, in order.
    pub fn connections(&self) -> Vec<Accepted> {
        lock(&self.guests).iter().map(Guest::accepted).collect()
    }

    /// Waits until the connections so far satisfy a condition, and returns them.
    pub fn settle(
        &self,
        deadline: Duration,
        condition: impl Fn(&[Accepted]) -> bool,
    ) -> Result<Vec<Accepted>, Expired> {
        eventually(deadline, || Some(self.connections()).filter(|all| condition(all)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // On Linux this wakes the thread that is in accept; failure means the listener is dead already.
        SockRef::from(&*self.listener)
            .shutdown(Shutdown::Both)
            .unwrap_or_default();
        if let Some(accepting) = self.accepting.take() {
            accepting.join().unwrap_or_default();
        }
        for guest in &mut *lock(&self.guests) {
            if let Some(stream) = guest.stream.upgrade() {
                stream.shutdown(Shutdown::Both).unwrap_or_default();
            }
            if let Some(echoing) = guest.echoing.take() {
                echoing.join().unwrap_or_default();
            }
        }
    }
}

impl Guest {
    fn welcome(name: &str, stream: TcpStream) -> io::Result<Self> {
        let report = ServerReport {
            server: name.to_owned(),
            local: socket::canonical(stream.local_addr()?),
            peer: socket::canonical(stream.peer_addr()?),
        };
        let progress = Arc::new(Progress::default());
        let stream = Arc::new(stream);
        let held = Arc::downgrade(&stream);
        let echoing = {
            let (report, progress) = (report.clone(), Arc::clone(&progress));
            thread::spawn(move || {
                // The client sees and reports what goes wrong here.
                echo(&report, &stream, &progress.received).unwrap_or_default();
                progress.closed.store(true, Ordering::Release);
            })
        };
        Ok(Self {
            report,
            stream: held,
            progress,
            echoing: Some(echoing),
        })
    }

    fn accepted(&self) -> Accepted {
        Accepted {
            report: self.report.clone(),
            received: self.progress.received.load(Ordering::Acquire),
            closed: self.progress.closed.load(Ordering::Acquire),
        }
    }
}

fn listen(spec: &ServerSpec) -> Result<TcpListener, Failure> {
    let at = |step| Failure::at(step, spec.bind);
    let socket = prepare(spec).map_err(at(Step::Prepare))?;
    socket.bind(&spec.bind.into()).map_err(at(Step::Bind))?;
    socket.listen(1024).map_err(at(Step::Listen))?;
    Ok(socket.into())
}

fn prepare(spec: &ServerSpec) -> io::Result<Socket> {
    let socket = socket::open(Type::STREAM, spec.bind)?;
    socket.set_reuse_address(spec.reuse_address)?;
    socket.set_reuse_port(spec.reuse_port)?;
    if spec.transparent {
        socket::make_transparent(&socket, spec.bind)?;
    }
    if let Some(mark) = spec.mark {
        socket.set_mark(mark)?;
    }
    Ok(socket)
}

fn accept_all(name: &str, listener: &TcpListener, guests: &Mutex<Vec<Guest>>) {
    loop {
        match listener.accept() {
            // A guest that has left again before it was welcomed is nobody's loss.
            Ok((stream, _)) => lock(guests).extend(Guest::welcome(name, stream)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => return,
        }
    }
}

fn echo(report: &ServerReport, mut stream: &TcpStream, received: &AtomicU64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut greeting = BufWriter::new(stream);
    serde_json::to_writer(&mut greeting, report)?;
    greeting.write_all(b"\n")?;
    greeting.flush()?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return stream.shutdown(Shutdown::Write);
        }
        received.fetch_add(length as u64, Ordering::Release);
        stream.write_all(&buffer[..length])?;
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // A list is as good after a panic elsewhere as it was before.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
