//! What Weir's programs at all hooks share: maps, accounting, decisions.
#![no_std]

pub mod account;
pub mod maps;
pub mod place;

/// Declares the licence to the kernel (some helpers are for GPL-compatible programs only) and what to do on a panic.
#[macro_export]
macro_rules! object {
    () => {
        #[unsafe(link_section = "license")]
        #[unsafe(no_mangle)]
        static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
            // The verifier proves that no panic is reachable; the compiler still wants a handler.
            loop {}
        }
    };
}
