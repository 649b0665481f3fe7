//! Where the programs at interfaces run.

use std::fs;
use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use weir_agent::datapath::sys::{self, AttachType, LinkTarget};
use weir_common::names::{LAYOUT_VERSION, OWNER_PREFIX};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netns::Netns;

/// Directories of links of programs that packets run: at pods' interfaces, and at the proxy's.
const AT_INTERFACES: [&str; 2] = ["pods", "places"];

/// A program at an interface.
pub struct Spot {
    pub program: String,
    /// Netns cookie of the pod or the proxy that it is there for.
    pub of: u64,
    /// The kernel's number for the program.
    pub id: u32,
    pub netns: Netns,
    pub interface: u32,
    pub attach: AttachType,
}

/// All that are there.
pub fn all(mesh: &Mesh) -> Result<Vec<Spot>> {
    let pins = mesh.agent.pin_root().join(format!("v{LAYOUT_VERSION}"));
    let mut spots = Vec::new();
    for directory in AT_INTERFACES {
        for cookie in fs::read_dir(pins.join(directory))? {
            let cookie = cookie?;
            let name = cookie.file_name().to_string_lossy().into_owned();
            let netns = name.parse().with_context(|| name.clone())?;
            for pin in fs::read_dir(cookie.path())? {
                spots.extend(of_pin(mesh, netns, &pin?.path())?);
            }
        }
    }
    Ok(spots)
}

fn of_pin(mesh: &Mesh, cookie: u64, pin: &Path) -> Result<Option<Spot>> {
    let link = sys::link_info(sys::obj_get(pin)?.as_fd())?;
    let LinkTarget::Tcx { interface, attach } = link.target else {
        return Ok(None);
    };
    let name = pin.file_name().unwrap_or_default().to_string_lossy();
    let program = program_of(&name).to_owned();
    let netns = match program.as_str() {
        "pod_out" | "pod_in" | "ztunnel_out" | "ztunnel_gate" | "steer_fence" => {
            mesh.world.node.netns.clone()
        }
        "ztunnel_in" | "steer_back" => mesh.proxy_netns().clone(),
        _ => pod(mesh, cookie)?,
    };
    Ok(Some(Spot {
        program,
        of: cookie,
        id: link.program_id,
        netns,
        interface,
        attach,
    }))
}

/// A pin is called after its program and the interface's index.
fn program_of(pin: &str) -> &str {
    let name = pin.strip_prefix(OWNER_PREFIX).unwrap_or(pin);
    name.trim_end_matches(|digit: char| digit.is_ascii_digit())
        .trim_end_matches('_')
}

fn pod(mesh: &Mesh, cookie: u64) -> Result<Netns> {
    for pod in mesh.world.pods() {
        if cookie_of(&pod.netns)? == cookie {
            return Ok(pod.netns.clone());
        }
    }
    anyhow::bail!("no pod has the netns cookie {cookie}")
}

/// By a socket of whichever family the namespace has.
pub fn cookie_of(netns: &Netns) -> Result<u64> {
    netns.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        Ok(sys::netns_cookie(socket.as_fd())?)
    })
}

#[cfg(test)]
mod tests {
    use super::program_of;

    #[test]
    fn a_pin_names_its_program() {
        assert_eq!(program_of("weir_pod_out_12"), "pod_out");
        assert_eq!(program_of("connect4"), "connect");
    }
}
