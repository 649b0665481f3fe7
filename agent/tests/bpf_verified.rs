//! How many instructions the kernel reads to prove a program. Each pod gets programs of its own, so this is what a pod
//! pays; newer kernels read less. A careless branch can multiply it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    reason = "a test fails by panicking, and shares its support with others"
)]

mod own_datapath;

use aya::programs::{Program, ProgramError, ProgramInfo};
use aya::util::KernelVersion;
use aya::{Ebpf, EbpfLoader};
use own_datapath::OwnDatapath;
use weir_agent::datapath::object;
use weir_common::names::map;

/// Some three milliseconds; 6.1 does not see as soon as 6.12 that it has been there before.
fn most_per_pod() -> u32 {
    let is_new = KernelVersion::current().is_ok_and(|kernel| kernel >= KernelVersion::new(6, 12, 0));
    if is_new { 4000 } else { 8000 }
}

#[test]
fn what_each_pod_gets_is_proven_fast() {
    for (object, name) in [(object::LOOKUP, "weir_lookup"), (object::TC, "weir_guard")] {
        // Kernels before 5.16 do not tell.
        if let Some(read) = proven(name, object) {
            assert!(read <= most_per_pod(), "{name}: {read} instructions are read");
        }
    }
}

/// How much of the program was read, however often.
fn proven(name: &str, object: &[u8]) -> Option<u32> {
    let own = OwnDatapath::new("verified");
    let mut object = load(&own, object);
    let info = loaded(object.program_mut(name).unwrap()).unwrap();
    info.verified_instruction_count()
}

fn loaded(program: &mut Program) -> Result<ProgramInfo, ProgramError> {
    match program {
        Program::SkLookup(program) => program.load().and_then(|()| program.info()),
        Program::SchedClassifier(program) => program.load().and_then(|()| program.info()),
        other => panic!("{:?} is no program of a pod's own", other.prog_type()),
    }
}

fn load(own: &OwnDatapath, object: &[u8]) -> Ebpf {
    let mut loader = EbpfLoader::new();
    // Nothing is relocated against the kernel's types, which are long to read.
    loader.btf(None);
    for name in map::ALL {
        loader.map_pin_path(name, own.datapath.pins().map(name));
    }
    loader.load(object).unwrap()
}
