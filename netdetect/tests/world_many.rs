//! How a pod is connected is read without a look at the rest of the node: a thousand pods are not read a thousand times.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::BufMut;
use rtnetlink::Handle;
use rtnetlink::packet_core::NetlinkBuffer;
use rtnetlink::sys::{AsyncSocket, Socket, SocketAddr, TokioSocket};
use weir_netdetect::facts::{NetnsId, PodFacts};
use weir_netdetect::read::{self, Known, ReadError};
use weir_testbeds::netns::Netns;
use weir_testbeds::world::{Family, Wiring, World};

/// Among how many.
const FEW: usize = 2;
const MANY: usize = 30;

/// A pod's own interface and loopback.
const OF_POD: usize = 2;

#[test]
fn what_is_read_of_a_pod_and_its_node_does_not_grow_with_the_node() {
    // The peer and its bridge, the peer, the parent.
    for (wiring, of_node) in [
        (Wiring::Bridge, 2),
        (Wiring::PointToPoint, 1),
        (Wiring::MacvlanBridge, 1),
    ] {
        let [few, many] = [FEW, MANY].map(|pods| Scene::with(wiring, pods).read());
        assert_eq!(few.links_of_pod, OF_POD, "{wiring:?}");
        assert_eq!(few.links_of_node, of_node, "{wiring:?}");
        assert_eq!(
            few, many,
            "{wiring:?}: messages among {FEW} pods, and among {MANY}"
        );
    }
}

#[test]
fn what_the_pod_leads_to_is_what_the_node_has() {
    for wiring in Wiring::ALL {
        let scene = Scene::with(wiring, FEW);
        let node = read::node(scene.world.node.netns.as_fd()).unwrap();
        let pod = scene.pod();
        let ends = scene.ends(&pod);
        for interface in &pod.interfaces {
            let Some(index) = interface.host_peer().or(interface.host_parent()) else {
                continue;
            };
            let [seen, whole] = [ends.get(&index), node.interface(index)].map(Option::unwrap);
            assert_eq!((&seen.name, seen.mac), (&whole.name, whole.mac), "{wiring:?}");
            assert_eq!(
                (&seen.kind, seen.controller),
                (&whole.kind, whole.controller),
                "{wiring:?}"
            );
            if let Some(bridge) = seen.controller {
                let [seen, whole] = [ends.get(&bridge), node.interface(bridge)].map(Option::unwrap);
                assert_eq!((&seen.kind, seen.mac), (&whole.kind, whole.mac), "{wiring:?}");
            }
        }
    }
}

#[test]
fn a_far_end_that_has_gone_is_left_out() {
    let scene = Scene::with(Wiring::Bridge, FEW);
    let mut pod = scene.pod();
    let eth0 = pod
        .interfaces
        .iter_mut()
        .find(|interface| interface.host_peer().is_some());
    eth0.unwrap().far_end.as_mut().unwrap().index = 0x7fff;
    assert_eq!(scene.ends(&pod).len(), 0);
}

/// What was read of one of a node's pods.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    links_of_pod: usize,
    links_of_node: usize,
    all: usize,
}

struct Scene {
    world: World,
}

impl Scene {
    fn with(wiring: Wiring, pods: usize) -> Self {
        let names: Vec<_> = (0..pods).map(|pod| format!("pod{pod}")).collect();
        let world = World::builder("many").wiring(wiring).family(Family::Dual);
        let world = world.pods(names.iter().map(String::as_str)).build().unwrap();
        Self { world }
    }

    fn read(&self) -> Read {
        let (facts, of_pod) = self.pod_and_count();
        let (_, of_node) = counted(&self.world.node.netns, async |handle| {
            read::far_ends(handle, &facts).await
        });
        Read {
            links_of_pod: of_pod.links,
            links_of_node: of_node.links,
            all: of_pod.all + of_node.all,
        }
    }

    fn pod(&self) -> PodFacts {
        self.pod_and_count().0
    }

    fn pod_and_count(&self) -> (PodFacts, Counts) {
        let (netns, host) = (&self.world.pod("pod0").netns, &self.world.node.netns);
        let id = NetnsId::of(netns.as_fd()).unwrap();
        counted(netns, async |handle| {
            read::pod_with(handle, id, &Known::new(host.as_fd())).await
        })
    }

    fn ends(&self, pod: &PodFacts) -> std::collections::BTreeMap<u32, weir_netdetect::facts::Interface> {
        counted(&self.world.node.netns, async |handle| {
            read::far_ends(handle, pod).await
        })
        .0
    }
}

/// How many messages the kernel sent.
struct Counts {
    links: usize,
    all: usize,
}

fn counted<T: Send>(
    netns: &Netns,
    work: impl AsyncFnOnce(&Handle) -> Result<T, ReadError> + Send,
) -> (T, Counts) {
    netns.run_async(async || {
        let (mut connection, handle, _) = rtnetlink::new_connection_with_socket::<Counting>().unwrap();
        let heard = Arc::clone(&connection.socket_mut().heard);
        tokio::spawn(connection);
        let done = work(&handle).await.unwrap();
        let counts = Counts {
            links: heard.links.load(Ordering::Relaxed),
            all: heard.all.load(Ordering::Relaxed),
        };
        (done, counts)
    })
}

#[derive(Default)]
struct Heard {
    links: AtomicUsize,
    all: AtomicUsize,
}

impl Heard {
    fn count(&self, mut datagram: &[u8]) {
        const NEW_LINK: u16 = 16;
        while let Ok(message) = NetlinkBuffer::new_checked(datagram) {
            self.all.fetch_add(1, Ordering::Relaxed);
            if message.message_type() == NEW_LINK {
                self.links.fetch_add(1, Ordering::Relaxed);
            }
            let length = (message.length() as usize).next_multiple_of(4);
            datagram = datagram.get(length..).unwrap_or_default();
        }
    }
}

/// Counts what it receives.
struct Counting {
    socket: TokioSocket,
    heard: Arc<Heard>,
}

impl AsyncSocket for Counting {
    fn socket_ref(&self) -> &Socket {
        self.socket.socket_ref()
    }

    fn socket_mut(&mut self) -> &mut Socket {
        self.socket.socket_mut()
    }

    fn new(protocol: isize) -> io::Result<Self> {
        Ok(Self {
            socket: TokioSocket::new(protocol)?,
            heard: Arc::default(),
        })
    }

    fn poll_send(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_send(context, bytes)
    }

    fn poll_send_to(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
        address: &SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_send_to(context, bytes, address)
    }

    fn poll_recv<B: BufMut>(&self, context: &mut Context<'_>, buffer: &mut B) -> Poll<io::Result<()>> {
        self.poll_recv_from(context, buffer)
            .map(|received| received.map(drop))
    }

    fn poll_recv_from<B: BufMut>(
        &self,
        context: &mut Context<'_>,
        buffer: &mut B,
    ) -> Poll<io::Result<SocketAddr>> {
        let (datagram, sender) = ready!(self.poll_recv_from_full(context))?;
        buffer.put_slice(&datagram);
        Poll::Ready(Ok(sender))
    }

    fn poll_recv_from_full(&self, context: &mut Context<'_>) -> Poll<io::Result<(Vec<u8>, SocketAddr)>> {
        let received = ready!(self.socket.poll_recv_from_full(context))?;
        self.heard.count(&received.0);
        Poll::Ready(Ok(received))
    }
}
