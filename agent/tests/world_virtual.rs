//! Virtual machines in a pod: their TCP connections reach ztunnel as the pod's outbound traffic, whatever the pod's
//! netns is set to.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod enrolled;
mod own_datapath;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use enrolled::{DEADLINE, Pod, connect, default_route};
use own_datapath::OwnDatapath;
use socket2::{Domain, Socket, Type};
use weir_agent::enroll::filters::Filters;
use weir_agent::enroll::interfaces::{self, Wanted};
use weir_agent::enroll::{netlink, routing};
use weir_common::filter::{EXCLUDE, OUTBOUND};
use weir_common::mark;
use weir_common::node::NodeSettings;
use weir_common::ports;
use weir_common::reason::Reason;
use weir_testbeds::netns::Netns;
use weir_testbeds::route::Route;

const INNER: &str = "k6t-eth0";
const MACHINE_V4: &str = "10.0.2.2";
const MACHINE_V6: &str = "fd02::2";

/// This process in the programs' cgroup: they see the sockets that it makes. One test at a time.
struct Joined {
    before: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Joined {
    fn new(cgroup: &Path) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let membership = fs::read_to_string("/proc/self/cgroup").unwrap();
        let before = membership
            .lines()
            .find_map(|line| line.strip_prefix("0::/"))
            .unwrap();
        let joined = Self {
            before: cgroup.parent().unwrap().join(before),
            _turn: turn,
        };
        enter(cgroup).unwrap();
        joined
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        if let Err(error) = enter(&self.before) {
            eprintln!("this process stays in the test's cgroup: {error}");
        }
    }
}

fn enter(cgroup: &Path) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string())
}

/// A pod with a machine behind [`INNER`].
struct Home {
    joined: Option<Joined>,
    own: OwnDatapath,
    pod: Pod,
    machine: Netns,
}

impl Home {
    fn new(label: &str, filters: &Filters) -> Self {
        let own = OwnDatapath::new(label);
        let home = Self {
            joined: Some(Joined::new(&own.cgroup)),
            own,
            pod: Pod::new(),
            machine: Netns::new().unwrap(),
        };
        home.own.set_flags(NodeSettings::TRUST_MARK_ALONE);
        connect(
            &home.pod.netns,
            (INNER, &["10.0.2.1/24", "fd02::1/64"]),
            &home.machine,
            ("eth0", &["10.0.2.2/24", "fd02::2/64"]),
        );
        for gateway in ["10.0.2.1", "fd02::1"] {
            default_route(&home.machine, gateway);
        }
        for (network, gateway) in [("10.0.2.0/24", "10.66.0.2"), ("fd02::/64", "fd66::2")] {
            let network: ipnetwork::IpNetwork = network.parse().unwrap();
            let route = Route::to(network).via(gateway.parse().unwrap());
            home.pod
                .world
                .netlink(async |link| link.add_route(&route).await)
                .unwrap();
        }
        home.pod.netns.sysctl_set("net.ipv4.ip_forward", "1").unwrap();
        home.pod
            .netns
            .sysctl_set("net.ipv6.conf.all.forwarding", "1")
            .unwrap();
        let filters = Filters {
            virtual_interfaces: vec![INNER.to_owned()],
            ..filters.clone()
        };
        home.pod.enroll(&home.own, &filters);
        home.ensure();
        home
    }

    fn ensure(&self) {
        self.pod.ensure(
            &self.own,
            &Wanted {
                guard: true,
                virtual_interfaces: vec![INNER.to_owned(), "not-there-yet".to_owned()],
            },
        );
    }

    /// Connects from the machine.
    fn dial(&self, to: SocketAddr) -> io::Result<TcpStream> {
        self.dial_from(0, to)
    }

    fn dial_from(&self, port: u16, to: SocketAddr) -> io::Result<TcpStream> {
        self.dial_with(port, to, DEADLINE)
    }

    fn dial_with(&self, port: u16, to: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
        let from = SocketAddr::new(machine_like(to), port);
        self.machine.run(|| {
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
            socket.bind(&from.into())?;
            socket.connect_timeout(&to.into(), patience)?;
            socket.set_read_timeout(Some(DEADLINE))?;
            Ok(socket.into())
        })
    }

    fn count(&self, reason: Reason) -> u64 {
        self.own.count(self.pod.cookie, reason)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Out of the cgroup before it is removed.
        self.joined.take();
    }
}

fn machine_like(other: SocketAddr) -> std::net::IpAddr {
    let machine = if other.is_ipv4() { MACHINE_V4 } else { MACHINE_V6 };
    machine.parse().unwrap()
}

/// Makes the stand-in close its side first.
const CLOSE_FIRST: &[u8] = b"close first";

/// Listens as ztunnel does, and answers each connection with where it believes that it goes to and comes from, then
/// with what it is sent.
struct Ztunnel {
    listener: Socket,
    thread: Option<JoinHandle<()>>,
}

impl Ztunnel {
    fn new(netns: &Netns) -> Self {
        let listener = netns.run(|| {
            let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
            socket.set_mark(mark::ZTUNNEL).unwrap();
            socket.set_ip_transparent_v4(true).unwrap();
            let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, ports::OUTBOUND));
            socket.bind(&any.into()).unwrap();
            socket.listen(128).unwrap();
            socket
        });
        let accepting = listener.try_clone().unwrap();
        let thread = std::thread::spawn(move || {
            while let Ok((connection, _)) = accepting.accept() {
                serve(connection.into()).ok();
            }
        });
        Self {
            listener,
            thread: Some(thread),
        }
    }
}

fn serve(mut connection: TcpStream) -> io::Result<()> {
    let (to, from) = (connection.local_addr()?, connection.peer_addr()?);
    writeln!(connection, "{} {}", plain(to), plain(from))?;
    let mut bytes = Vec::new();
    connection.set_read_timeout(Some(DEADLINE))?;
    let mut buffer = [0; 65536];
    loop {
        match connection.read(&mut buffer)? {
            0 => return connection.write_all(&bytes),
            length => bytes.extend(&buffer[..length]),
        }
        if bytes == CLOSE_FIRST {
            return Ok(());
        }
    }
}

fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl Drop for Ztunnel {
    fn drop(&mut self) {
        self.listener.shutdown(Shutdown::Both).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Sends much and expects ztunnel's greeting and the same back.
fn assert_served_by_ztunnel(mut connection: TcpStream, to: SocketAddr, context: &str) {
    let from = connection.local_addr().unwrap();
    let sent: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let mut writer = connection.try_clone().unwrap();
    let mut received = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            writer.write_all(&sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        connection
            .read_to_end(&mut received)
            .unwrap_or_else(|error| panic!("{context}: {error}"));
    });
    let greeting = format!("{to} {from}\n");
    assert!(
        received.starts_with(greeting.as_bytes()),
        "{context}: greeted as {}",
        line(&received)
    );
    assert!(
        received[greeting.len()..] == sent,
        "{context}: the data comes back"
    );
}

fn line(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

const DESTINATIONS: [&str; 2] = ["10.66.0.1:8080", "[fd66::1]:8080"];

#[test]
fn ztunnel_gets_a_machines_connections_with_both_addresses_kept() {
    let home = Home::new("machine", &Filters::default());
    let _ztunnel = Ztunnel::new(&home.pod.netns);
    let strict = ["net.ipv4.conf.all.rp_filter", "net.ipv4.conf.k6t-eth0.rp_filter"];
    let settings: [(&str, &[&str], &str); 4] = [
        ("as it is", &[], ""),
        ("strict rp_filter", &strict, "1"),
        ("src_valid_mark", &["net.ipv4.conf.all.src_valid_mark"], "1"),
        ("SYN cookies", &["net.ipv4.tcp_syncookies"], "2"),
    ];
    for (context, keys, value) in settings {
        for key in keys {
            home.pod.netns.sysctl_set(key, value).unwrap();
        }
        for to in DESTINATIONS {
            let to: SocketAddr = to.parse().unwrap();
            let connection = home
                .dial(to)
                .unwrap_or_else(|error| panic!("{context}, {to}: {error}"));
            assert_served_by_ztunnel(connection, to, context);
        }
    }
    // More if the machine had to ask twice.
    assert!(home.count(Reason::Outbound) >= 8);
    assert_eq!(home.count(Reason::Leaked), 0);
}

#[test]
fn a_port_can_be_used_again_while_ztunnels_side_of_it_is_closing() {
    let home = Home::new("again", &Filters::default());
    let _ztunnel = Ztunnel::new(&home.pod.netns);
    let to: SocketAddr = DESTINATIONS[0].parse().unwrap();
    let mut first = home.dial_from(5001, to).unwrap();
    first.write_all(CLOSE_FIRST).unwrap();
    first.read_to_end(&mut Vec::new()).unwrap();
    drop(first);
    let end = Instant::now() + DEADLINE;
    while !waits_for_the_last_packets(&home.pod.netns) {
        assert!(Instant::now() < end, "nothing is in TIME_WAIT");
        std::thread::yield_now();
    }
    let second = loop {
        match home.dial_from(5001, to) {
            // The machine's own side takes a moment to be closed.
            Err(error) if is_in_use(&error) && Instant::now() < end => std::thread::yield_now(),
            other => break other.unwrap(),
        }
    };
    assert_served_by_ztunnel(second, to, "again");
}

fn waits_for_the_last_packets(netns: &Netns) -> bool {
    const TIME_WAIT: &str = "06";
    let table = netns
        .run(|| fs::read_to_string("/proc/thread-self/net/tcp6"))
        .unwrap();
    table
        .lines()
        .any(|line| line.split_whitespace().nth(3) == Some(TIME_WAIT))
}

fn is_in_use(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable
    )
}

#[test]
fn what_annotations_exclude_reaches_the_world_from_the_machine_itself() {
    let filters = Filters {
        ports: BTreeMap::from([((OUTBOUND, 3306), EXCLUDE)]),
        ..Filters::default()
    };
    let home = Home::new("direct", &filters);
    let _ztunnel = Ztunnel::new(&home.pod.netns);
    // Somebody in the pod who listens on that port must not get hold of it.
    let _bystander = home.pod.netns.run(|| TcpListener::bind("[::]:3306")).unwrap();
    for address in ["10.66.0.1:3306", "[fd66::1]:3306"] {
        let (listener, address) = home.pod.serve(address);
        let mut connection = home.dial(address).unwrap();
        let (mut accepted, from) = accept(&listener);
        assert_eq!(from.ip(), machine_like(address));
        connection.write_all(b"query").unwrap();
        accepted.set_read_timeout(Some(DEADLINE)).unwrap();
        accepted.read_exact(&mut [0; 5]).unwrap();
    }
    assert!(home.count(Reason::ExcludedPort) >= 2);
    assert_eq!(home.count(Reason::Leaked), 0);
}

/// The next connection, for which nobody waits for ever.
fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let listener = Socket::from(listener.try_clone().unwrap());
    // On a listening socket this limits accepting.
    listener.set_read_timeout(Some(DEADLINE)).unwrap();
    let (connection, from) = listener.accept().unwrap();
    (connection.into(), from.as_socket().unwrap())
}

#[test]
fn without_ztunnel_nothing_reaches_the_world() {
    let home = Home::new("alone", &Filters::default());
    for address in DESTINATIONS {
        let (listener, address) = home.pod.serve(address);
        home.dial_with(0, address, Duration::from_millis(500))
            .unwrap_err();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
    assert_eq!(home.count(Reason::NoListener), 2);
}

#[test]
fn without_its_rule_nothing_leaves_the_pod() {
    let home = Home::new("ruleless", &Filters::default());
    let _ztunnel = Ztunnel::new(&home.pod.netns);
    let netns = home.pod.netns.as_fd();
    netlink::run(netns, async |handle| routing::ensure_virtual(handle, &[]).await).unwrap();
    let (listener, address) = home.pod.serve(DESTINATIONS[0]);
    std::thread::scope(|scope| {
        // It goes on to try until the rule is back.
        let dialling = scope.spawn(|| home.dial(address).unwrap());
        home.pod.wait_for(&home.own, Reason::Unrouted, 1);
        home.ensure();
        assert_served_by_ztunnel(dialling.join().unwrap(), address, "the rule is back");
    });
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn datagrams_pass_and_so_does_everything_after_removal() {
    let home = Home::new("datagrams", &Filters::default());
    let server = home.pod.world.run(|| UdpSocket::bind("10.66.0.1:53")).unwrap();
    server.set_read_timeout(Some(DEADLINE)).unwrap();
    let client = home.machine.run(|| UdpSocket::bind((MACHINE_V4, 0))).unwrap();
    client.send_to(b"query", "10.66.0.1:53").unwrap();
    let mut buffer = [0; 16];
    let (length, from) = server.recv_from(&mut buffer).unwrap();
    assert_eq!(
        (&buffer[..length], from),
        (&b"query"[..], client.local_addr().unwrap())
    );

    interfaces::remove(&home.own.datapath, home.pod.netns.as_fd(), home.pod.cookie).unwrap();
    let (_listener, address) = home.pod.serve(DESTINATIONS[0]);
    home.dial(address).unwrap();
    assert_eq!(home.count(Reason::Outbound), 0);
}
