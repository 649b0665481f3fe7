//! A bpffs that only one thread sees; it goes away with the thread.

use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Runs `body` with the path of an empty bpffs.
pub fn with(body: impl FnOnce(&Path) + Send) {
    let on_its_own = || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let (none, path) = (None::<&str>, Path::new("/sys/fs/bpf"));
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some("weir_test"), path, Some("bpf"), MsFlags::empty(), none).unwrap();
        body(path);
    };
    let result = std::thread::scope(|scope| scope.spawn(on_its_own).join());
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}
