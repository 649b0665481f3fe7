//! Single eBPF instructions, for programs too small to compile: probes and tests.

use std::os::fd::{AsRawFd as _, BorrowedFd};

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Register {
    /// What a call or the program returns.
    R0,
    /// First argument; the context at the start.
    R1,
    /// Second argument.
    R2,
    /// Third argument.
    R3,
    /// Fourth argument.
    R4,
    /// Fifth argument.
    R5,
    /// Kept across calls.
    R6,
    /// Kept across calls.
    R7,
    /// Kept across calls.
    R8,
    /// Kept across calls.
    R9,
    /// The frame pointer.
    R10,
}

/// One instruction of eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Insn {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

impl Insn {
    const fn new(code: u8, to: Register, from: u8, offset: i16, immediate: i32) -> Self {
        // A pair of bit fields in the kernel's struct, so their order follows the byte order.
        let registers = if cfg!(target_endian = "little") {
            from << 4 | to as u8
        } else {
            (to as u8) << 4 | from
        };
        Self {
            code,
            registers,
            offset,
            immediate,
        }
    }

    /// `to = value`, 64 bits.
    #[must_use]
    pub const fn set(to: Register, value: i32) -> Self {
        Self::new(0xb7, to, 0, 0, value)
    }

    /// `to = from`, 64 bits.
    #[must_use]
    pub const fn copy(to: Register, from: Register) -> Self {
        Self::new(0xbf, to, from as u8, 0, 0)
    }

    /// `to += value`.
    #[must_use]
    pub const fn add(to: Register, value: i32) -> Self {
        Self::new(0x07, to, 0, 0, value)
    }

    /// `to = *(u32 *)(from + offset)`.
    #[must_use]
    pub const fn load32(to: Register, from: Register, offset: i16) -> Self {
        Self::new(0x61, to, from as u8, offset, 0)
    }

    /// `to = *(u64 *)(from + offset)`.
    #[must_use]
    pub const fn load64(to: Register, from: Register, offset: i16) -> Self {
        Self::new(0x79, to, from as u8, offset, 0)
    }

    /// `*(u64 *)(to + offset) = value`.
    #[must_use]
    pub const fn store64(to: Register, offset: i16, value: i32) -> Self {
        Self::new(0x7a, to, 0, offset, value)
    }

    /// `*(u32 *)(to + offset) = from`.
    #[must_use]
    pub const fn store32_from(to: Register, offset: i16, from: Register) -> Self {
        Self::new(0x63, to, from as u8, offset, 0)
    }

    /// Skips `count` instructions when `register` is zero.
    #[must_use]
    pub const fn skip_if_zero(register: Register, count: i16) -> Self {
        Self::new(0x15, register, 0, count, 0)
    }

    /// Calls the helper with this number.
    #[must_use]
    pub const fn call(helper: i32) -> Self {
        Self::new(0x85, Register::R0, 0, 0, helper)
    }

    /// Returns `R0`.
    #[must_use]
    pub const fn exit() -> Self {
        Self::new(0x95, Register::R0, 0, 0, 0)
    }

    /// `to = map`: one instruction in two slots.
    #[must_use]
    pub fn load_map(to: Register, map: BorrowedFd<'_>) -> [Self; 2] {
        const PSEUDO_MAP_FD: u8 = 1;
        [
            Self::new(0x18, to, PSEUDO_MAP_FD, 0, map.as_raw_fd()),
            Self::new(0, Register::R0, 0, 0, 0),
        ]
    }
}
