//! Where the ztunnel of the node contract is: at the path that was given, or where the agent has found it.

use std::fmt;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use hyper::Method;
use weir_agent::admin::client;
use weir_agent::api::status::{AgentStatus, Status};
use weir_agent::enroll::redirect;
use weir_agent::pods::netns::{Netns, NetnsId};
use weir_netdetect::choose::{MacvlanOutbound, Ztunnel};

use crate::cli::asking::{self, Where};

/// What plans for the node contract depend on besides pods.
#[derive(Default)]
pub struct Site {
    /// How ztunnel is connected, if that is known.
    pub ztunnel: Option<Ztunnel>,
    /// How pods on macvlan get there, if an agent says.
    pub macvlan_outbound: Option<MacvlanOutbound>,
    /// Who says so.
    pub source: Source,
}

/// Who says where ztunnel is.
#[derive(Default)]
pub enum Source {
    /// Whoever asks.
    Named(PathBuf),
    /// The agent, with the name of ztunnel's pod.
    Agent(String),
    /// The agent knows of none that listens.
    NoneListens,
    /// Nobody.
    #[default]
    Nobody,
}

/// Looks at the namespace at `named`, or else asks the agent.
pub fn site(named: Option<&Path>, at: &Where, (host, path): (BorrowedFd<'_>, &Path)) -> Result<Site> {
    let asked = asking::wait_for(client::ask::<Status>(&at.admin_socket, Method::GET, "/status"))?;
    let agent = asked.ok().map(|status| status.agent);
    let Some(named) = named else {
        return Ok(agent.map_or_else(Site::default, of_agent));
    };
    let netns = Netns::open(named, NetnsId::of_host(path)?)?;
    let ztunnel = redirect::ztunnel_in(netns.as_fd(), host).with_context(|| named.display().to_string())?;
    Ok(Site {
        ztunnel: Some(ztunnel),
        macvlan_outbound: agent.map(|agent| agent.macvlan_outbound),
        source: Source::Named(named.to_owned()),
    })
}

fn of_agent(agent: AgentStatus) -> Site {
    let current = agent.node_ztunnels.into_iter().find(|ztunnel| ztunnel.current);
    let (ztunnel, source) = match current {
        Some(current) => (current.connected, Source::Agent(current.name)),
        None => (None, Source::NoneListens),
    };
    Site {
        ztunnel,
        macvlan_outbound: Some(agent.macvlan_outbound),
        source,
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(path) => write!(f, "{}", path.display()),
            Self::Agent(name) => write!(f, "{name}, the agent says"),
            Self::NoneListens => f.write_str("the agent knows of none that listens"),
            Self::Nobody => {
                f.write_str("no agent tells where it is; name its network namespace with --ztunnel-netns")
            }
        }
    }
}
