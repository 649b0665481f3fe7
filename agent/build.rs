//! Builds the eBPF objects that the agent embeds.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
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
