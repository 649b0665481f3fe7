//! Fuzzes [`weir_fuzz::cni_configuration`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::cni_configuration(input));

/// Tries the files that are named.
#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    weir_fuzz::replay(weir_fuzz::cni_configuration)
}
