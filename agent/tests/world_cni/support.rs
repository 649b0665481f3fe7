//! A mesh on whose node a container runtime calls the plugin.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use weir_agent::datapath::{Maps, Pins};
use weir_agent::inside;
use weir_common::pod::PodEntry;
use weir_testbeds::cni::{self, Runtime, Sandbox};
use weir_testbeds::deadline::eventually;
use weir_testbeds::mesh::{Mesh, PodLine, program};
use weir_testbeds::netns::Netns;
use weir_testbeds::traffic::{Client, ClientSpec, Exchange, Server, ServerSpec};
use weir_testbeds::unique;
use weir_testbeds::world::{Pod, Wiring};

pub const PORT: u16 = 8080;
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A directory of this test's own, gone with it.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(label: &str) -> Self {
        let path = std::env::temp_dir().join(unique::name(label));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn directory(&self, name: &str) -> PathBuf {
        fs::create_dir_all(self.path(name)).unwrap();
        self.path(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}

/// The mesh, a server outside of it, and the runtime.
pub struct Scene {
    pub mesh: Mesh,
    pub runtime: Runtime,
    pub server: Server,
    pub scratch: Scratch,
}

impl Scene {
    pub fn new(label: &str) -> Self {
        Self::with_flags(label, &[])
    }

    /// With flags for the agent.
    pub fn with_flags(label: &str, flags: &[&str]) -> Self {
        let scratch = Scratch::new(label);
        let socket = scratch.path("cni.sock");
        let mut builder = Mesh::builder(label).outside("server");
        for flag in flags.iter().chain(&["--cni-socket", socket.to_str().unwrap()]) {
            builder = builder.flag(flag);
        }
        let mesh = builder.start().unwrap();
        let server = serve(&mesh, "server");
        let runtime = Runtime::new(
            &mesh.world.node.netns,
            &configurations(&scratch, &socket),
            &[&plugins(&scratch), &directory_of("weir-cni")],
        );
        let scene = Self {
            mesh,
            runtime,
            server,
            scratch,
        };
        scene.wait_for_socket();
        scene
    }

    pub fn socket(&self) -> PathBuf {
        self.scratch.path("cni.sock")
    }

    /// There is none before the agent has its first list of pods, but that of an agent before it, where nobody listens.
    pub fn wait_for_socket(&self) {
        eventually(PATIENCE, || UnixStream::connect(self.socket()).ok()).unwrap();
    }

    /// Adds a pod to the world, for which the agent has only its line.
    pub fn pod(&mut self, name: &str) -> Pod {
        self.mesh.world.add_pod(name, Wiring::Bridge).unwrap().clone()
    }

    /// Whether the kernel side takes the pod's connections.
    pub fn is_capturing(&self, pod: &Pod) -> bool {
        let cookie = inside::cookie(pod.netns.as_fd()).unwrap();
        let maps = Maps::adopt(&Pins::new(self.mesh.agent.pin_root()));
        let entry = maps.pods().unwrap().get(&cookie, 0);
        entry.is_ok_and(|known| known.entry.has(PodEntry::CAPTURING))
    }

    /// What comes of a pod's first connection.
    pub fn first_connection(&self, pod: &Pod) -> Result<Exchange, String> {
        connect(&pod.netns, self.server.address().ip())
    }
}

pub fn connect(netns: &Netns, to: IpAddr) -> Result<Exchange, String> {
    let spec = ClientSpec::to(SocketAddr::new(to, PORT)).deadline(PATIENCE);
    Client::exchange(netns, &spec).map_err(|error| error.to_string())
}

/// A proxy makes a connection of its own, from another port.
pub fn was_redirected(seen: &Exchange) -> bool {
    seen.server.peer.port() != seen.local.port()
}

pub fn serve(mesh: &Mesh, pod: &str) -> Server {
    let pod = mesh.pod(pod);
    let spec = ServerSpec::new("server", SocketAddr::new(pod.address(), PORT));
    Server::start(&pod.netns, &spec).unwrap()
}

/// A line of a pod that is to be in the mesh.
pub fn awaited(name: &str) -> PodLine {
    let mut line = PodLine::awaited(name, &uid(name));
    line.enrol();
    line
}

pub fn uid(pod: &str) -> String {
    format!("uid-of-{pod}")
}

/// The sandbox of a pod, as the runtime makes it.
pub fn sandbox(pod: &Pod) -> Sandbox {
    Sandbox {
        id: format!("sandbox-of-{}", pod.uid),
        netns: pod.netns.path(),
        namespace: "default".to_owned(),
        pod: pod.name.clone(),
        uid: uid(&pod.name),
    }
}

fn configurations(scratch: &Scratch, socket: &Path) -> PathBuf {
    let directory = scratch.directory("net.d");
    cni::write_chain(&directory, socket).unwrap();
    directory
}

fn plugins(scratch: &Scratch) -> PathBuf {
    let directory = scratch.directory("bin");
    cni::write_wired(&directory).unwrap();
    directory
}

pub fn directory_of(name: &str) -> PathBuf {
    program(name).unwrap().parent().unwrap().to_owned()
}
