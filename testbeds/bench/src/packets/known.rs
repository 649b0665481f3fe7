//! What a program takes for a packet of a connection that it knows, by the kernel's test runs: nothing else runs, and
//! everything is at hand.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd};

use anyhow::{Context as _, Result, ensure};
use nix::ifaddrs::getifaddrs;
use weir_agent::datapath::sys::{self, Objects, TestInput, prog_test_run};
use weir_agent::datapath::{Maps, Pins};
use weir_common::tag::{self, Direction};
use weir_testbeds::mac::Mac;
use weir_testbeds::netns::Netns;
use weir_testbeds::packet::{ACK, Packet};

use super::Stage;
use super::spot::{self, Spot};
use crate::bpf;
use crate::load::MESSAGE;
use crate::load::server::KEEP_ALIVE_PORT;
use crate::setting::{CLIENT, SERVER};

const REPEAT: u32 = 200_000;
/// Of so many measurements the least counts: what else happens on the machine can only add.
const MEASUREMENTS: usize = 5;

const GO_ON: u32 = u32::MAX;
const REDIRECT: u32 = 7;
/// Where `struct __sk_buff` has the index of the interface, and how long it is.
const INTERFACE: usize = 40;
const CONTEXT: usize = 192;

/// A packet that a program knows, and what becomes of it.
struct Case {
    packet: Packet,
    verdict: u32,
    /// At the interface of the pod with this netns cookie; anywhere if nothing is said.
    of: Option<u64>,
}

/// Nanoseconds per packet, by program, beyond what an empty program takes. Nothing of programs that address a frame so
/// that they would take it for another one the next time.
pub fn costs(stage: &Stage, spots: &[Spot]) -> Result<BTreeMap<String, f64>> {
    let connections = Connections::open(stage)?;
    let mut costs = BTreeMap::new();
    for spot in spots {
        if let Some(case) = connections.case(&spot.program)
            && case.of.is_none_or(|netns| netns == spot.of)
        {
            let net = net(spot, &case).with_context(|| spot.program.clone())?;
            costs.insert(spot.program.clone(), net);
        }
    }
    Ok(costs)
}

/// Connections that are open while this lives.
struct Connections {
    /// From a pod to the world, and from the world to a pod.
    streams: [TcpStream; 2],
    ends: [[SocketAddr; 2]; 2],
    /// Netns cookies of the two pods.
    pods: [u64; 2],
    secret: [u8; 3],
}

impl Connections {
    fn open(stage: &Stage) -> Result<Self> {
        let (client, server) = (&stage.mesh.pod(CLIENT).netns, &stage.mesh.pod(SERVER).netns);
        let [(_, inside), (_, outside)] = stage.servers;
        let pins = Pins::new(stage.mesh.agent.pin_root());
        let streams = [
            open(client, SocketAddr::new(outside, KEEP_ALIVE_PORT))?,
            open(
                &stage.mesh.world.remote.netns,
                SocketAddr::new(inside, KEEP_ALIVE_PORT),
            )?,
        ];
        let [leaving, arriving] = streams.each_ref().map(ends);
        Ok(Self {
            streams,
            ends: [leaving?, arriving?],
            pods: [spot::cookie_of(client)?, spot::cookie_of(server)?],
            secret: Maps::adopt(&pins).contract()?.get(&0, 0)?.secret,
        })
    }

    fn case(&self, program: &str) -> Option<Case> {
        let [leaving, arriving] = self.ends;
        let [client, server] = self.pods;
        let at = |ends: [SocketAddr; 2], verdict, of| Case {
            packet: Packet::syn(ends[0], ends[1]).flags(ACK),
            verdict,
            of,
        };
        let back = |[one, other]: [SocketAddr; 2]| [other, one];
        Some(match program {
            "pod_out" => at(leaving, REDIRECT, Some(client)),
            "pod_in" => at(arriving, REDIRECT, Some(server)),
            "ztunnel_out" => at(back(arriving), REDIRECT, None),
            "ztunnel_gate" | "steer_fence" => at(leaving, GO_ON, None),
            "steer_back" => at(back(leaving), GO_ON, None),
            "ztunnel_in" => {
                let mut case = at(leaving, GO_ON, None);
                let tag = tag::of(Direction::Outbound, self.secret);
                case.packet = case.packet.ethernet(Mac(tag), Mac([0; 6]));
                case
            }
            _ => return None,
        })
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        // So that no end waits for the other.
        for stream in &self.streams {
            stream.shutdown(std::net::Shutdown::Both).unwrap_or_default();
        }
    }
}

/// A connection over which bytes have gone both ways.
fn open(from: &Netns, to: SocketAddr) -> Result<TcpStream> {
    from.run(|| {
        let mut stream = TcpStream::connect(to)?;
        let mut message = [0; MESSAGE];
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        Ok(stream)
    })
}

fn ends(stream: &TcpStream) -> Result<[SocketAddr; 2]> {
    Ok([stream.local_addr()?, stream.peer_addr()?])
}

fn net(spot: &Spot, case: &Case) -> Result<f64> {
    let program = sys::fd_by_id(Objects::Programs, spot.id)?;
    let empty = bpf::empty_program()?;
    let mut context = [0; CONTEXT];
    context[INTERFACE..INTERFACE + 4].copy_from_slice(&spot.interface.to_ne_bytes());
    spot.netns.run(|| {
        let mut packet = case.packet.build();
        // Anything else would not be for this host.
        let own = mac(spot.interface).context("the interface has no Ethernet address")?;
        packet[..own.len()].copy_from_slice(&own);
        let run = |program: BorrowedFd<'_>, repeat| {
            let input = TestInput {
                packet: &packet,
                context: &context,
                repeat,
            };
            prog_test_run(program, &input)
        };
        let verdict = run(program.as_fd(), 1)?.verdict;
        ensure!(
            verdict == case.verdict,
            "the packet is not known: verdict {verdict}"
        );
        let least = |program: BorrowedFd<'_>| -> Result<u32> {
            let mut least = u32::MAX;
            for _ in 0..MEASUREMENTS {
                least = least.min(run(program, REPEAT)?.nanoseconds);
            }
            Ok(least)
        };
        Ok(f64::from(least(program.as_fd())?) - f64::from(least(empty.as_fd())?))
    })
}

/// Ethernet address of an interface of the namespace that the calling thread is in.
fn mac(interface: u32) -> Option<[u8; 6]> {
    getifaddrs().ok()?.find_map(|found| {
        let address = found.address?;
        let link = address.as_link_addr()?;
        (link.ifindex() == interface as usize)
            .then(|| link.addr())
            .flatten()
    })
}
