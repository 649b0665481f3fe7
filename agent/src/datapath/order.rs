//! Whether others' programs at `connect` stand where they spoil what ours do.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use aya::programs::loaded_programs;

use super::sys::{self, AttachType};
use super::{DatapathError, Pins, links};

/// The hooks, and between which of our programs others' may rewrite a destination.
const BETWEEN: [(AttachType, &str, &str); 2] = [
    (AttachType::CONNECT4, "weir_connect4", "weir_settle4"),
    (AttachType::CONNECT6, "weir_connect6", "weir_settle6"),
];

/// The names of others' programs that run before ours or after them: what those rewrite, ztunnel does not see as it was.
pub(super) fn beyond_ours(pins: &Pins, cgroup: &Path) -> Result<Vec<String>, DatapathError> {
    let cgroup = File::open(cgroup).map_err(DatapathError::io(cgroup))?;
    let mut beyond = Vec::new();
    for (hook, first, last) in BETWEEN {
        let all = sys::prog_query_effective(cgroup.as_fd(), hook)?.programs;
        beyond.extend(outside(&all, program(pins, first)?, program(pins, last)?));
    }
    let names = loaded_programs()
        .flatten()
        .filter(|program| beyond.contains(&program.id()))
        .filter_map(|program| program.name_as_str().map(str::to_owned));
    // Another Weir rewrites nothing.
    Ok(names.filter(|name| !name.starts_with("weir_")).collect())
}

/// The program of a link that is pinned.
fn program(pins: &Pins, name: &str) -> Result<Option<u32>, DatapathError> {
    let Some(link) = links::open(&pins.link(name))? else {
        return Ok(None);
    };
    Ok(Some(sys::link_info(link.as_fd())?.program_id))
}

/// What is not between the two; nothing if one of them is not there.
fn outside(all: &[u32], first: Option<u32>, last: Option<u32>) -> Vec<u32> {
    let place = |wanted: Option<u32>| all.iter().position(|id| Some(*id) == wanted);
    match (place(first), place(last)) {
        (Some(first), Some(last)) => [&all[..first], &all[last + 1..]].concat(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::outside;

    #[test]
    fn what_is_between_ours_does_no_harm() {
        assert_eq!(outside(&[1, 7, 2, 8, 3], Some(7), Some(8)), [1, 3]);
        assert_eq!(outside(&[7, 2, 8], Some(7), Some(8)), [0; 0]);
        assert_eq!(outside(&[1, 8], Some(7), Some(8)), [0; 0]);
        assert_eq!(outside(&[1, 8], None, Some(8)), [0; 0]);
    }
}
