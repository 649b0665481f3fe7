//! Directories that cannot be written.

use std::fs;
use std::path::Path;
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use weir_agent::cni_conf::{CONFLIST, InstallConfig, Installer};
use weir_testbeds::deadline::eventually;
use weir_testbeds::mesh::PodLine;

use super::support::{PATIENCE, Scene, Scratch};

const CHAIN: &str = r#"{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge","mtu":1450}]}"#;

fn config(scratch: &Scratch) -> InstallConfig {
    fs::write(scratch.path("plugin"), "a plugin").unwrap();
    InstallConfig {
        conf_dir: scratch.directory("net.d"),
        bin_dir: scratch.directory("bin"),
        plugin: scratch.path("plugin"),
        socket: "/var/run/weir/cni.sock".into(),
        last_word: "/var/run/weir/last-word.json".into(),
        exempt_namespaces: [].into(),
        exempt_pods: [].into(),
        take_over: false,
    }
}

/// Runs `test` where a file system of its own is mounted on `directory`; it goes with the thread.
fn on_own_mount(directory: &Path, options: &str, flags: MsFlags, test: impl FnOnce() + Send) {
    let nothing = None::<&str>;
    thread::scope(|scope| {
        let mounted = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
            mount(nothing, "/", nothing, private, nothing).unwrap();
            mount(Some("tmpfs"), directory, Some("tmpfs"), flags, Some(options)).unwrap();
            test();
        });
        mounted.join().unwrap();
    });
}

#[test]
fn a_full_disk_leaves_what_is_there_and_no_half_of_a_file() {
    let scratch = Scratch::new("full");
    let config = config(&scratch);
    on_own_mount(&config.conf_dir, "size=16k", MsFlags::empty(), || {
        let (primary, ours) = (
            config.conf_dir.join("10-net.conflist"),
            config.conf_dir.join(CONFLIST),
        );
        let filler = config.conf_dir.join("filler");
        fs::write(&primary, CHAIN).unwrap();
        let installer = Installer::new(config.clone());
        installer.install().unwrap();
        let before = fs::read_to_string(&ours).unwrap();
        fs::write(&primary, CHAIN.replace("1450", "1400")).unwrap();
        // As far as it goes.
        fs::write(&filler, vec![0; 64 << 10]).unwrap_err();
        let error = installer.install().unwrap_err().to_string();
        assert!(error.contains("make room"), "{error}");
        assert_eq!(fs::read_to_string(&ours).unwrap(), before);
        let drafts = fs::read_dir(&config.conf_dir).unwrap().flatten();
        let drafts = drafts.filter(|entry| entry.file_name().to_string_lossy().starts_with('.'));
        assert_eq!(drafts.count(), 0);
        fs::remove_file(&filler).unwrap();
        installer.install().unwrap();
        assert!(fs::read_to_string(&ours).unwrap().contains("1400"));
    });
}

#[test]
fn a_read_only_directory_is_named_with_the_remedy() {
    let scratch = Scratch::new("read-only");
    let config = config(&scratch);
    fs::write(config.conf_dir.join("10-net.conflist"), CHAIN).unwrap();
    on_own_mount(&config.bin_dir, "size=16k", MsFlags::MS_RDONLY, || {
        let error = Installer::new(config.clone()).install().unwrap_err().to_string();
        assert!(error.contains("readOnly"), "{error}");
        assert!(error.contains(config.bin_dir.to_str().unwrap()), "{error}");
    });
    assert!(
        !config.conf_dir.join(CONFLIST).exists(),
        "without the plugin no chain may call it"
    );
}

#[test]
fn a_plugin_that_there_is_no_room_for_is_in_no_chain() {
    let scratch = Scratch::new("no-room");
    let config = config(&scratch);
    fs::write(config.conf_dir.join("10-net.conflist"), CHAIN).unwrap();
    on_own_mount(&config.bin_dir, "size=16k", MsFlags::empty(), || {
        let filler = config.bin_dir.join("filler");
        fs::write(&filler, vec![0; 64 << 10]).unwrap_err();
        let installer = Installer::new(config.clone());
        let error = installer.install().unwrap_err().to_string();
        assert!(error.contains("make room"), "{error}");
        assert!(!config.conf_dir.join(CONFLIST).exists());
        fs::remove_file(&filler).unwrap();
        installer.install().unwrap();
        assert!(config.conf_dir.join(CONFLIST).exists());
    });
}

#[test]
fn a_last_word_that_cannot_be_written_is_taken_back_and_told_of_until_it_can_be() {
    let mut scene = Scene::new("cni-word");
    let word = scene.scratch.path("last-word.json");
    let says = |namespace: &str| fs::read_to_string(&word).is_ok_and(|word| word.contains(namespace));
    let line = |name, namespace| PodLine::awaited(name, name).in_namespace(namespace);
    scene.mesh.add([line("one", "elsewhere")]).unwrap();
    eventually(PATIENCE, || says("elsewhere").then_some(())).unwrap();

    let in_the_way = scene.scratch.directory("last-word.json.new");
    scene.mesh.add([line("two", "nowhere")]).unwrap();
    let is_told = || {
        let status = scene.mesh.agent.run("status", &["-o", "json"]).unwrap();
        String::from_utf8_lossy(&status.stdout).contains("last-word.json cannot be written")
    };
    let told = eventually(PATIENCE, || is_told().then_some(()));
    assert!(told.is_ok(), "{}", scene.mesh.agent.output());
    assert!(!word.exists(), "it may be wrong by now");
    fs::remove_dir(in_the_way).unwrap();
    eventually(PATIENCE, || (says("nowhere") && !is_told()).then_some(())).unwrap();
}

#[test]
fn a_chain_that_cannot_be_written_is_named_with_the_remedy() {
    let scratch = Scratch::new("read-only-chain");
    let config = config(&scratch);
    on_own_mount(&config.conf_dir, "size=16k", MsFlags::empty(), || {
        fs::write(config.conf_dir.join("10-net.conflist"), CHAIN).unwrap();
        let nothing = None::<&str>;
        let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(nothing, &config.conf_dir, nothing, read_only, nothing).unwrap();
        let error = Installer::new(config.clone()).install().unwrap_err().to_string();
        assert!(error.contains("readOnly"), "{error}");
        assert!(error.contains(config.conf_dir.to_str().unwrap()), "{error}");
    });
}
