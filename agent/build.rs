//! Builds the eBPF objects that the agent embeds.
#![forbid(unsafe_code)]

use std::env;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Not what was true when this was compiled: a copied target directory would build the eBPF of the tree it came from.
    let Some(agent) = env::var_os("CARGO_MANIFEST_DIR") else {
        println!("cargo::error=CARGO_MANIFEST_DIR is not set: cargo runs this");
        return ExitCode::FAILURE;
    };
    let workspace = Path::new(&agent).join("..");
    for input in [
        "common/src",
        "common/Cargo.toml",
        "ebpf-shared",
        "sockops-ebpf",
        "tc-ebpf",
        "Cargo.lock",
        "Cargo.toml",
    ] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    for variable in ["WEIR_BPF_TOOLCHAIN", "WEIR_TOOLS"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let built = weir_ebpf_build::build_objects(
        &workspace,
        &["weir-sockops-ebpf", "weir-tc-ebpf"],
        &[
            "weir-sockops",
            "weir-lookup",
            "weir-detour",
            "weir-tc",
            "weir-redirect",
        ],
    );
    match built {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}
