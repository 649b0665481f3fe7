//! How the C library's allocator keeps memory.

/// Makes all threads share a few heaps. Each thread would get one of its own, and what it once needed for a moment stays
/// there: tens of threads that brought a thousand pods in keep more than the pods need.
pub fn share_heaps() {
    // Other libraries have one for all anyway.
    #[cfg(target_env = "gnu")]
    // SAFETY: takes two numbers; one that the library does not know is refused and changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
    }
}

/// For the runtime's own threads not to wait for each other.
#[cfg(target_env = "gnu")]
const HEAPS: libc::c_int = 2;

/// Gives the system back what nobody needs any more. The library does so only with what lies at the end of a heap.
pub fn give_back() {
    // Other libraries have their own ways.
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number, which is how much to keep at the end.
    unsafe {
        libc::malloc_trim(0);
    }
}
