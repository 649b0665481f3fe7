//! What Weir's programs at all hooks share: maps, accounting, decisions.
#![no_std]

pub mod account;
pub mod listeners;
pub mod maps;
pub mod place;
pub mod pod;

#[doc(hidden)]
pub use weir_common::pod::COOKIE_PLACEHOLDER;

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

/// Declares `netns()`, the netns cookie of the pod that an instance of the object was loaded for. Its programs cannot
/// ask the kernel for it, so every pod has an instance with its own.
#[macro_export]
macro_rules! instance {
    () => {
        // Where it may still change when the programs are loaded.
        #[unsafe(link_section = ".data")]
        #[unsafe(no_mangle)]
        static NETNS_COOKIE: u64 = $crate::COOKIE_PLACEHOLDER;

        /// Netns cookie of the pod that this instance was loaded for.
        #[inline(always)]
        fn netns() -> u64 {
            // SAFETY: a static that only the loader writes; volatile, because it is not what the compiler saw.
            unsafe { (&raw const NETNS_COOKIE).read_volatile() }
        }
    };
}
