//! `./x test`.

use std::env;
use std::path::Path;

use anyhow::Result;

use super::{build, fuzz, vm};
use crate::privilege::Privilege;
use crate::{deploy, process, setup, workspace};

/// What some worlds are made with, and the packages that have it.
const WORLD_PROGRAMS: &[(&str, &str)] = &[("ip", "iproute2"), ("nft", "nftables"), ("ethtool", "ethtool")];
/// Where distributions put CNI plugins, Debian first.
const CNI_PLUGINS: &[&str] = &[
    "/usr/lib/cni/bridge",
    "/opt/cni/bin/bridge",
    "/usr/libexec/cni/bridge",
];
const GIVEN: &str = "WEIR_TEST_KUBECONFIG";
const CNI_PACKAGE: &str = "containernetworking-plugins";

/// A layer of tests; each needs more of the machine than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    /// Pure functions, and the examples in the documentation.
    Unit,
    /// eBPF programs run by the kernel on packets that the test builds.
    Bpf,
    /// A node, pods and a remote host in network namespaces.
    World,
    /// A real API server.
    Kube,
    /// Input that libFuzzer makes up, for a minute each.
    Fuzz,
    /// What takes drivers that not every kernel has, on Debian's kernels.
    Vm,
    /// All but fuzz and vm.
    All,
}

pub(super) fn run(arguments: &[String]) -> Result<()> {
    let (layer, rest) = parse(arguments);
    if layer == Layer::Fuzz {
        return fuzz::run(rest);
    }
    let privilege = match layer {
        Layer::Unit | Layer::Fuzz | Layer::Vm => None,
        Layer::Bpf | Layer::World | Layer::Kube | Layer::All => Some(Privilege::require("test", arguments)?),
    };
    let assets = match layer.has_objects() && !is_given() {
        true => Some(setup::kubernetes(setup::API_SERVER)?),
        false => None,
    };
    let rendered = match layer.has_objects() {
        true => Some(deploy::render_all(&deploy::Helm::find()?)?),
        false => None,
    };
    if layer.has_worlds() {
        require_for_worlds()?;
    }
    setup::ebpf_toolchain()?;
    build::all_binaries(false)?;
    if layer == Layer::Vm {
        return vm::test_kernels();
    }
    for selection in layer.selections() {
        let mut cargo = workspace::cargo()?;
        cargo.args(["test", "--no-fail-fast"]).args(*selection).args(rest);
        if let Some(assets) = &assets {
            cargo.env("KUBEBUILDER_ASSETS", assets);
        }
        if let Some(rendered) = &rendered {
            cargo.env("WEIR_RENDERED", rendered);
        }
        if let Some(privilege) = &privilege {
            privilege.apply(&mut cargo)?;
        }
        process::run(&mut cargo)?;
    }
    Ok(())
}

/// Whether there is a cluster to use in place of an API server of our own.
fn is_given() -> bool {
    env::var_os(GIVEN).is_some_and(|kubeconfig| !kubeconfig.is_empty())
}

fn require_for_worlds() -> Result<()> {
    let system = setup::System::read()?;
    for (program, package) in WORLD_PROGRAMS {
        system.require_program(program, package)?;
    }
    if CNI_PLUGINS.iter().any(|path| Path::new(path).is_file()) {
        return Ok(());
    }
    system.require_file(CNI_PLUGINS[0], CNI_PACKAGE)
}

/// The layer, and what is passed on to cargo.
fn parse(arguments: &[String]) -> (Layer, &[String]) {
    let Some((first, rest)) = arguments.split_first() else {
        return (Layer::All, arguments);
    };
    match first.as_str() {
        "unit" => (Layer::Unit, rest),
        "bpf" => (Layer::Bpf, rest),
        "world" => (Layer::World, rest),
        "kube" => (Layer::Kube, rest),
        "fuzz" => (Layer::Fuzz, rest),
        "vm" => (Layer::Vm, rest),
        _ => (Layer::All, arguments),
    }
}

impl Layer {
    fn has_worlds(self) -> bool {
        matches!(self, Self::World | Self::Vm | Self::All)
    }

    /// Objects of Kubernetes, and who takes them.
    fn has_objects(self) -> bool {
        matches!(self, Self::Kube | Self::All)
    }

    /// What each run of `cargo test` selects. cargo takes no `--doc` together with other targets.
    fn selections(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Unit => &[&["--lib", "--bins"], &["--doc"]],
            Self::Bpf => &[&["--test", "bpf_*"]],
            Self::World => &[&["--test", "world_*"]],
            Self::Kube => &[&["--test", "kube_*"]],
            // They have ways of their own.
            Self::Fuzz | Self::Vm => &[],
            Self::All => &[&[]],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Layer, parse};

    #[test]
    fn a_layer_takes_its_word_and_leaves_the_rest_to_cargo() {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for (line, layer, rest) in [
            ("", Layer::All, ""),
            ("unit", Layer::Unit, ""),
            (
                "world two_pods -- --nocapture",
                Layer::World,
                "two_pods -- --nocapture",
            ),
            ("bpf", Layer::Bpf, ""),
            ("fuzz", Layer::Fuzz, ""),
            ("vm", Layer::Vm, ""),
            ("two_pods", Layer::All, "two_pods"),
        ] {
            assert_eq!(parse(&words(line)), (layer, &words(rest)[..]), "{line:?}");
        }
    }
}
