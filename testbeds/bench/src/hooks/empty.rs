//! Programs that do nothing, each before Weir's at the same hook: what the kernel charges every run with, on the same
//! connections.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result};
use weir_agent::cgroups::Hierarchy;
use weir_agent::datapath::sys::{
    self, AttachType, BEFORE, Insn, LinkTarget, PREORDER, ProgramSpec, ProgramType, Register, Target,
};
use weir_common::names::LAYOUT_VERSION;
use weir_testbeds::mesh::Mesh;

use crate::bpf::Runs;
use crate::setting::{CLIENT, SERVER};

/// Each is one program, whatever the kernel's number for it.
const ONLY: u32 = 0;
/// Of the programs here: go on (`SK_PASS`, or the call may).
const GO_ON: i32 = 1;
const LOOKUP: &str = "weir_lookup";

/// One for each of Weir's programs.
pub struct Empty {
    programs: BTreeMap<String, OwnedFd>,
    links: Vec<OwnedFd>,
}

impl Empty {
    /// Puts them there; they go with this.
    pub fn before_ours(mesh: &Mesh) -> Result<Self> {
        let mut empty = Self {
            programs: BTreeMap::new(),
            links: Vec::new(),
        };
        empty.at_cgroup(mesh.agent.pin_root())?;
        empty.in_pods(mesh)?;
        Ok(empty)
    }

    fn at_cgroup(&mut self, pins: &Path) -> Result<()> {
        let cgroup = File::open(Hierarchy::find()?.root)?;
        for pin in fs::read_dir(pins.join(format!("v{LAYOUT_VERSION}/links")))? {
            let pin = pin?;
            let link = sys::link_info(sys::obj_get(&pin.path())?.as_fd())?;
            let LinkTarget::Cgroup { attach, .. } = link.target else {
                continue;
            };
            let program = load(attach)?;
            let at = Target::Fd(cgroup.as_fd());
            // First of all where the kernel can be told so (6.16).
            let link = sys::link_create(program.as_fd(), at, attach, BEFORE | PREORDER)
                .or_else(|_| sys::link_create(program.as_fd(), at, attach, 0))?;
            self.add(pin.file_name().to_string_lossy().into_owned(), program, [link]);
        }
        Ok(())
    }

    fn in_pods(&mut self, mesh: &Mesh) -> Result<()> {
        let program = load(AttachType::SK_LOOKUP)?;
        let mut links = Vec::new();
        for pod in [CLIENT, SERVER] {
            let netns = File::open(mesh.pod(pod).netns.path())?;
            let at = Target::Fd(netns.as_fd());
            links.push(sys::link_create(program.as_fd(), at, AttachType::SK_LOOKUP, 0)?);
        }
        self.add(LOOKUP.to_owned(), program, links);
        Ok(())
    }

    fn add(&mut self, of: String, program: OwnedFd, links: impl IntoIterator<Item = OwnedFd>) {
        self.programs.insert(of, program);
        self.links.extend(links);
    }

    /// Their runs so far, by the program that each is before.
    pub fn runs(&self) -> Result<Runs> {
        let runs = |(name, program): (&String, &OwnedFd)| {
            Ok(((name.clone(), ONLY), sys::program_runs(program.as_fd())?))
        };
        self.programs.iter().map(runs).collect()
    }
}

fn load(attach: AttachType) -> Result<OwnedFd> {
    let (kind, attach) = match attach {
        AttachType::SOCK_OPS => (ProgramType::SOCK_OPS, None),
        AttachType::SK_LOOKUP => (ProgramType::SK_LOOKUP, Some(attach)),
        _ => (ProgramType::SOCK_ADDR, Some(attach)),
    };
    let spec = ProgramSpec {
        kind,
        attach,
        insns: &[Insn::set(Register::R0, GO_ON), Insn::exit()],
        license: c"GPL",
        name: "weir_bench",
    };
    sys::prog_load(&spec).with_context(|| format!("{kind:?}"))
}
