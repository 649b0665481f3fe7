//! What the fuzzer begins with is read without a panic, too.

use std::fs;
use std::path::Path;

use weir_fuzz::TARGETS;

#[test]
fn every_seed_is_taken() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for (name, target) in TARGETS {
        let files: Vec<_> = fs::read_dir(seeds.join(name)).unwrap().collect();
        assert!(!files.is_empty(), "{name}");
        for file in files {
            target(&fs::read(file.unwrap().path()).unwrap());
        }
    }
}
