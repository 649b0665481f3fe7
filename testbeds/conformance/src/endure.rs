//! Old connections stay, new ones are captured, whatever is restarted meanwhile.

use crate::check::{Check, Expectation};
use crate::cli::Endure;
use crate::load::{self, Endured, Old};

/// Goes on for so long.
pub fn endure(args: &Endure) -> Endured {
    let check = Check::new("", args.to, Expectation::Captured);
    load::put(args, Old::Stays, || check.faults())
}
