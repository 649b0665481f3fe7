//! Namespaces: what is inside, who gets there, and that nothing stays.

use std::process::{Command, Stdio};

use weir_testbeds::netns::Netns;
use weir_testbeds::unique;

#[test]
fn a_namespace_is_new_and_has_lo_up() {
    let netns = Netns::new().unwrap();
    assert_ne!(netns.inode().unwrap(), Netns::current().unwrap().inode().unwrap());
    let listener = netns.run(|| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    netns.run(|| std::net::TcpStream::connect(address)).unwrap();
    std::net::TcpStream::connect(address).unwrap_err();
}

#[test]
fn a_panic_inside_comes_out() {
    let netns = Netns::new().unwrap();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| netns.run(|| panic!("inside"))));
    assert_eq!(outcome.unwrap_err().downcast_ref(), Some(&"inside"));
}

#[test]
fn sysctls_are_the_namespaces_own() {
    let netns = Netns::new().unwrap();
    let outside = Netns::current()
        .unwrap()
        .sysctl_get("net.ipv4.ip_default_ttl")
        .unwrap();
    netns.sysctl_set("net.ipv4.ip_default_ttl", "33").unwrap();
    assert_eq!(netns.sysctl_get("net.ipv4.ip_default_ttl").unwrap(), "33");
    assert_eq!(
        Netns::current()
            .unwrap()
            .sysctl_get("net.ipv4.ip_default_ttl")
            .unwrap(),
        outside
    );
}

#[test]
fn a_process_starts_inside_and_ends_with_its_guard() {
    let netns = Netns::new().unwrap();
    let mut command = Command::new("sleep");
    command.arg("600").stdout(Stdio::null());
    let process = netns.spawn(command).unwrap();
    let seen = std::fs::read_link(format!("/proc/{}/ns/net", process.id())).unwrap();
    assert_eq!(
        seen.to_string_lossy(),
        format!("net:[{}]", netns.inode().unwrap())
    );
    let id = process.id();
    drop(process);
    assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let netns = Netns::new().unwrap();
    let error = netns.spawn(Command::new("/no/such/program")).unwrap_err();
    assert!(error.to_string().contains("/no/such/program"), "{error}");
}

#[test]
fn a_published_name_opens_the_namespace_until_it_is_dropped() {
    let netns = Netns::new().unwrap();
    let published = netns
        .publish(&format!("weir-test-{}", std::process::id()))
        .unwrap();
    let path = published.path().to_owned();
    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap());
    assert_eq!(inode, netns.inode().unwrap());
    drop(published);
    assert!(!path.exists());
}

#[test]
fn a_kept_name_outlives_its_guard_and_holds_the_namespace() {
    let netns = Netns::new().unwrap();
    let inode = netns.inode().unwrap();
    let path = netns.publish(&unique::name("kept")).unwrap().keep();
    drop(netns);
    let kept = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap());
    nix::mount::umount(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(kept, inode);
}

#[test]
fn another_process_can_open_the_namespace_by_its_path() {
    let netns = Netns::new().unwrap();
    let seen = Command::new("stat")
        .args(["-L", "-c", "%i"])
        .arg(netns.path())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(seen.stdout).unwrap().trim(),
        netns.inode().unwrap().to_string()
    );
}

#[test]
fn asynchronous_code_runs_inside_from_within_a_runtime() {
    let netns = Netns::new().unwrap();
    let outer = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let inode =
        outer.block_on(async { netns.run_async(async || Netns::current().unwrap().inode().unwrap()) });
    assert_eq!(inode, netns.inode().unwrap());
}
