//! Everything about pods and their node in one document, for people's tools. `docs/detect.md` describes it.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::choose::{Caution, ChoiceConfig, Contract, Plan, Ztunnel, choose, passed_by};
use crate::cni::{self, Configuration, Identity, identify};
use crate::facts::{KernelError, KernelFacts, Leftover, NodeFacts, PodFacts};
use crate::read::{self, Known, ReadError};

/// The version of the document. It changes when a field goes or changes its meaning, not when one comes.
pub const SCHEMA: u32 = 1;

/// Why the node could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// The kernel's version cannot be read.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The node's namespace cannot be read.
    #[error("the node: {0}")]
    Node(#[from] ReadError),
    /// A descriptor cannot be kept.
    #[error("the node's network namespace: {0}")]
    Handle(std::io::Error),
}

/// The whole document.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What the kernel can do.
    pub kernel: KernelFacts,
    /// The contract that plans are for.
    pub contract: Contract,
    /// Where the ztunnel of the node contract is, if that is known.
    pub ztunnel: Option<&'a Ztunnel>,
    /// The node.
    pub node: &'a NodeFacts,
    /// What the container runtime is configured to call.
    pub configuration: &'a Configuration,
    /// The pods.
    pub pods: Vec<Detected>,
}

/// One pod.
#[derive(Debug, Serialize)]
pub struct Detected {
    /// By what path its namespace was opened.
    pub path: PathBuf,
    /// Its name, if it is known.
    pub pod: Option<String>,
    /// What there is in its namespace.
    pub facts: PodFacts,
    /// The plugins that connected it, for each interface that leads out.
    pub plugins: Vec<Connected>,
    /// What can be done for it.
    pub plan: Plan,
}

/// The plugin that connected an interface.
#[derive(Debug, Serialize)]
pub struct Connected {
    /// The interface's name in the pod.
    pub interface: String,
    /// The plugin.
    #[serde(flatten)]
    pub identity: Identity,
}

/// Looks at pods of a node that it has looked at once.
#[derive(Debug)]
pub struct Detector {
    host: OwnedFd,
    /// The node.
    pub node: NodeFacts,
    /// What the container runtime is configured to call.
    pub configuration: Configuration,
    kernel: KernelFacts,
    contract: Contract,
    config: ChoiceConfig,
}

impl Detector {
    /// Looks at the node whose own network namespace this is, and at the directory of its CNI configuration.
    ///
    /// # Errors
    /// [`DetectError`]; what is wrong with the configuration is part of the facts.
    pub fn new(
        host: BorrowedFd<'_>,
        configuration: &Path,
        contract: Contract,
        config: ChoiceConfig,
    ) -> Result<Self, DetectError> {
        let configuration = cni::read(configuration);
        let mut node = read::node(host)?;
        let called = configuration
            .with_istio_cni()
            .map(|network| Leftover::Configuration {
                path: network.path.clone(),
            });
        node.leftovers.extend(called);
        Ok(Self {
            host: host.try_clone_to_owned().map_err(DetectError::Handle)?,
            node,
            configuration,
            kernel: KernelFacts::of_this_kernel()?,
            contract,
            config,
        })
    }

    /// Looks at one pod.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn pod(
        &self,
        path: &Path,
        netns: BorrowedFd<'_>,
        pod: Option<String>,
    ) -> Result<Detected, ReadError> {
        let mut facts = read::pod(netns, &Known::new(self.host.as_fd()))?;
        self.node.name_far_ends(&mut facts);
        let plugins = facts
            .interfaces
            .iter()
            .filter(|interface| interface.leads_out())
            .map(|interface| Connected {
                interface: interface.name.clone(),
                identity: identify(&facts, interface, &self.node, Some(&self.configuration)),
            })
            .collect();
        let mut plan = choose(&facts, self.contract, &self.kernel, &self.config);
        let passed_by = passed_by(&plan, &facts, &self.node.programs);
        plan.cautions.extend(passed_by);
        Ok(Detected {
            path: path.to_owned(),
            pod,
            plugins,
            plan,
            facts,
        })
    }

    /// Programs of the node that what a pod receives would be led past if its ztunnel had a namespace of its own.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn passed_by(&self, netns: BorrowedFd<'_>) -> Result<Vec<Caution>, ReadError> {
        let facts = read::pod(netns, &Known::new(self.host.as_fd()))?;
        let plan = choose(&facts, Contract::Node, &self.kernel, &self.config);
        Ok(passed_by(&plan, &facts, &self.node.programs))
    }

    /// The document about these pods.
    #[must_use]
    pub fn report(&self, pods: Vec<Detected>) -> Report<'_> {
        Report {
            schema: SCHEMA,
            kernel: self.kernel,
            contract: self.contract,
            ztunnel: self.config.ztunnel.as_ref(),
            node: &self.node,
            configuration: &self.configuration,
            pods,
        }
    }
}
