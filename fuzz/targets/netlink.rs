//! Fuzzes [`weir_fuzz::netlink`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::netlink(input));

/// Tries the files that are named.
#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    weir_fuzz::replay(weir_fuzz::netlink)
}
