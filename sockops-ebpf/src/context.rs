//! Reading the contexts that the kernel passes.

/// `AF_INET`, as contexts say it.
pub const AF_INET: u32 = 2;

/// A field of the context behind a pointer.
#[macro_export]
macro_rules! read_field {
    ($context:expr, $($field:tt)+) => {{
        let context = $context;
        // SAFETY: the context outlives the program, and the verifier checks the offset. Volatile, because the kernel
        // allows only the access widths that it declares, and compilers merge neighbours.
        unsafe { core::ptr::addr_of!((*context).$($field)+).read_volatile() }
    }};
}

/// The address of either family, from two fields of the context. Both are read in any case: compilers would merge reads
/// in two branches into one read at a computed offset, which the verifier does not allow.
#[macro_export]
macro_rules! read_address {
    ($context:expr, $v4:ident, $v6:ident) => {{
        let v4 = $crate::read_field!($context, $v4);
        let words = [
            $crate::read_field!($context, $v6[0]),
            $crate::read_field!($context, $v6[1]),
            $crate::read_field!($context, $v6[2]),
            $crate::read_field!($context, $v6[3]),
        ];
        // An IPv6 socket may carry an IPv4 connection; its addresses are then mapped, which is the same form.
        if $crate::read_field!($context, family) == $crate::context::AF_INET {
            weir_common::address::Address::from_v4(v4)
        } else {
            weir_common::address::Address { words }
        }
    }};
}
