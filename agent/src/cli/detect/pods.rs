//! The network namespaces that are to be looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use hyper::Method;
use weir_agent::admin::client;
use weir_agent::api::status::{PodDetail, Status};
use weir_agent::inside;
use weir_agent::pods::netns::{Netns, NetnsId};

use crate::cli::asking::{self, UNKNOWN_POD, Where};

/// What was asked for.
pub enum Wanted<'a> {
    /// The namespace at a path.
    Path(&'a Path),
    /// A pod that the agent knows.
    Pod(&'a str),
    /// All that can be seen.
    All,
}

/// A namespace to look at.
pub struct Found {
    /// By what path it was opened.
    pub path: PathBuf,
    /// It.
    pub netns: Netns,
    /// The pod's name, if it is known.
    pub name: Option<String>,
}

/// Opens what was asked for, or gives the exit code of an answer that is none.
pub fn find(wanted: &Wanted<'_>, at: &Where, host: &Path) -> Result<Result<Vec<Found>, ExitCode>> {
    let host = NetnsId::of_host(host)?;
    match wanted {
        Wanted::Path(path) => open(path, None, host).map(|found| Ok(vec![found])),
        Wanted::Pod(pod) => of_agent(pod, at, host),
        Wanted::All => Ok(Ok(all(at, host))),
    }
}

fn open(path: &Path, name: Option<String>, host: NetnsId) -> Result<Found> {
    Ok(Found {
        netns: Netns::open(path, host)?,
        path: path.to_owned(),
        name,
    })
}

fn of_agent(pod: &str, at: &Where, host: NetnsId) -> Result<Result<Vec<Found>, ExitCode>> {
    let path = asking::path("/status", Some(pod));
    let answer = client::ask::<PodDetail>(&at.admin_socket, Method::GET, &path);
    let detail = match asking::wait_for(answer)? {
        Ok(detail) => detail,
        Err(error) => return asking::no_answer(error).map(Err),
    };
    let name = format!("{}/{}", detail.pod.namespace, detail.pod.name);
    let Some(path) = detail.netns_path else {
        eprintln!(
            "weir: the agent does not hold the network namespace of {name} ({}): give its path with --netns",
            detail.pod.why
        );
        return Ok(Err(UNKNOWN_POD.into()));
    };
    open(&path, Some(name), host).map(|found| Ok(vec![found]))
}

/// Named namespaces first, then those of processes, each once; with the names of pods if an agent tells them.
fn all(at: &Where, host: NetnsId) -> Vec<Found> {
    let names = names(at);
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for path in named().into_iter().chain(of_processes()) {
        // What is gone, the node's own, or no namespace at all is none to look at.
        let Ok(netns) = Netns::open(&path, host) else {
            continue;
        };
        if seen.insert(netns.id()) {
            let name = inside::cookie(netns.as_fd())
                .ok()
                .and_then(|cookie| names.get(&cookie).cloned());
            found.push(Found { path, netns, name });
        }
    }
    found
}

/// The agent's pods by netns cookie; none without an agent.
fn names(at: &Where) -> BTreeMap<u64, String> {
    let answer = asking::wait_for(client::ask::<Status>(&at.admin_socket, Method::GET, "/status"));
    let pods = match answer {
        Ok(Ok(status)) => status.pods,
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    pods.into_iter()
        .filter_map(|pod| Some((pod.netns?, format!("{}/{}", pod.namespace, pod.name))))
        .collect()
}

fn named() -> Vec<PathBuf> {
    let mut paths = entries(Path::new("/run/netns")).unwrap_or_default();
    paths.sort();
    paths
}

fn of_processes() -> Vec<PathBuf> {
    let processes = entries(Path::new("/proc")).unwrap_or_default();
    let mut numbers: Vec<u32> = processes
        .iter()
        .filter_map(|path| path.file_name()?.to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
        .into_iter()
        .map(|process| PathBuf::from(format!("/proc/{process}/ns/net")))
        .collect()
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}
