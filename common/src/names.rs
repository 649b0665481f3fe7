//! Names of programs, maps and pins: one word per thing, from source file to metric label.

/// Version of the shared structs' layout. Pins of another version are never opened, only replaced.
pub const LAYOUT_VERSION: u32 = 1;

/// Prefix of every kernel object that belongs to Weir; what lacks it is never touched.
pub const OWNER_PREFIX: &str = "weir_";

/// Where the pins live on a bpffs.
pub const PIN_ROOT: &str = "/sys/fs/bpf/weir";
