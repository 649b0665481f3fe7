//! A pod, the world it talks to, and its enrolment.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_agent::enroll::Enroller;
use weir_agent::enroll::filters::Filters;
use weir_agent::enroll::interfaces::{self, Wanted};
use weir_agent::inside;
use weir_common::reason::Reason;
use weir_netdetect::choose::Contract;
use weir_testbeds::link::Device;
use weir_testbeds::netns::Netns;
use weir_testbeds::route::Route;

use crate::own_datapath::OwnDatapath;

pub const DEADLINE: Duration = Duration::from_secs(10);

/// A pod with `eth0` that leads to the world.
pub struct Pod {
    pub netns: Netns,
    pub world: Netns,
    pub cookie: u64,
}

impl Pod {
    pub fn new() -> Self {
        let (netns, world) = (Netns::new().unwrap(), Netns::new().unwrap());
        connect(
            &netns,
            ("eth0", &["10.66.0.2/24", "fd66::2/64"]),
            &world,
            ("pod0", &["10.66.0.1/24", "fd66::1/64"]),
        );
        for gateway in ["10.66.0.1", "fd66::1"] {
            default_route(&netns, gateway);
        }
        let cookie = inside::cookie(netns.as_fd()).unwrap();
        Self { netns, world, cookie }
    }

    /// Enrols the pod and captures its connections.
    pub fn enroll(&self, own: &OwnDatapath, filters: &Filters) {
        let host = inside::current_cookie().unwrap();
        let enroller = Enroller::new(Arc::clone(&own.datapath), host);
        enroller
            .enroll(
                self.netns.as_fd(),
                self.cookie,
                (Contract::InPod, filters),
                None,
                &mut None,
            )
            .and_then(|_| enroller.capture(self.cookie))
            .unwrap_or_else(|error| panic!("{error}"));
    }

    /// Brings the programs at the pod's interfaces up to date.
    pub fn ensure(&self, own: &OwnDatapath, wanted: &Wanted) {
        interfaces::ensure(&own.datapath, self.netns.as_fd(), self.cookie, wanted)
            .unwrap_or_else(|error| panic!("{error}"));
    }

    /// Waits until it has come to this so often.
    pub fn wait_for(&self, own: &OwnDatapath, reason: Reason, count: u64) {
        let end = Instant::now() + DEADLINE;
        loop {
            let now = own.count(self.cookie, reason);
            if now >= count {
                return;
            }
            assert!(
                Instant::now() < end,
                "{} stays at {now}, not {count}",
                reason.name()
            );
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// A listener in the world, and where the pod reaches it.
    pub fn serve(&self, address: &str) -> (TcpListener, SocketAddr) {
        let address: SocketAddr = address.parse().unwrap();
        let listener = self.world.run(|| TcpListener::bind(address)).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }
}

/// An interface's name and addresses.
pub type End<'a> = (&'a str, &'a [&'a str]);

/// Joins two namespaces by a veth pair.
pub fn connect(here: &Netns, near: End<'_>, there: &Netns, far: End<'_>) {
    let pair = (Device::named(near.0), Device::named(far.0));
    here.netlink(async |link| link.add_veth(&pair.0, &pair.1, there).await)
        .unwrap();
    for (netns, (name, addresses)) in [(here, near), (there, far)] {
        netns
            .netlink(async |link| {
                link.up(name).await?;
                for address in addresses {
                    link.add_address(name, address.parse().unwrap()).await?;
                }
                Ok(())
            })
            .unwrap();
    }
}

/// Routes everything of the gateway's family by way of it.
pub fn default_route(netns: &Netns, gateway: &str) {
    let gateway: IpAddr = gateway.parse().unwrap();
    let route = Route::default_via(gateway);
    netns.netlink(async |link| link.add_route(&route).await).unwrap();
}
