//! Weir's programs at the socket hooks.
#![no_std]
#![no_main]

mod connect;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier proves that no panic is reachable; the compiler still wants a handler.
    loop {}
}

/// Declared to the kernel: some helpers are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
