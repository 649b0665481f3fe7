use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::chain::Chain;
use super::directory::Configurations;
use super::plan::{Plan, plan};
use super::{CONFLIST, ConfError, InstallConfig, Installer, PLUGIN, remove};
use crate::pods::scratch::Scratch;

const ENTRY: &str = r#"{"type":"weir-cni"}"#;
const BRIDGE: &str = r#"{
  "cniVersion": "1.0.0",
  "name": "net",
  "zone": 1.50,
  "plugins": [ {"type": "bridge", "mtu": 1450, "ipam": {"b": 1, "a": 2}}, {"type": "portmap"} ],
  "disableCheck": true
}"#;
const ISTIO: &str =
    r#"{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge"},{"type":"istio-cni"}]}"#;

fn found(others: &[(&str, &str)], ours: Option<&str>) -> Configurations {
    let others = others
        .iter()
        .map(|(name, text)| ((*name).to_owned(), Some((*text).to_owned())));
    Configurations {
        directory: PathBuf::from("/etc/cni/net.d"),
        others: others.collect(),
        ours: ours.map(str::to_owned),
    }
}

fn written(found: &Configurations, take_over: bool) -> (String, String) {
    match plan(found, ENTRY, take_over).unwrap() {
        Plan::Write { primary, text } => (primary, text),
        Plan::Nothing => panic!("nothing to write"),
    }
}

fn types(text: &str) -> Vec<String> {
    let list: Value = serde_json::from_str(text).unwrap();
    let plugins = list["plugins"].as_array().unwrap().iter();
    plugins
        .map(|plugin| plugin["type"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn our_plugin_comes_last_and_the_rest_keeps_its_text() {
    let (primary, text) = written(
        &found(&[("10-net.conflist", BRIDGE), ("99-other.conflist", ISTIO)], None),
        true,
    );
    assert_eq!(primary, "10-net.conflist");
    assert_eq!(
        text,
        concat!(
            r#"{"cniVersion":"1.0.0","name":"net","zone":1.50,"disableCheck":true,"#,
            r#""plugins":[{"type": "bridge", "mtu": 1450, "ipam": {"b": 1, "a": 2}},{"type": "portmap"},{"type":"weir-cni"}]}"#,
            "\n"
        )
    );
    let again = found(&[("10-net.conflist", BRIDGE)], Some(&text));
    assert_eq!(plan(&again, ENTRY, false).unwrap(), Plan::Nothing);
}

#[test]
fn a_file_of_one_plugin_becomes_a_chain() {
    let single =
        r#"{"cniVersion":"0.3.1","name":"cbr0","type":"flannel","delegate":{"isDefaultGateway":true}}"#;
    let (_, text) = written(&found(&[("10-flannel.conf", single)], None), false);
    assert_eq!(
        text,
        format!("{{\"cniVersion\":\"0.3.1\",\"name\":\"cbr0\",\"plugins\":[{single},{ENTRY}]}}\n")
    );
}

#[test]
fn our_plugin_is_never_twice_in_the_chain() {
    let with_ours =
        r#"{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"a"},{"type":"weir-cni","socket":"/old"}]}"#;
    let (_, text) = written(&found(&[("10-net.conflist", with_ours)], None), false);
    assert_eq!(types(&text), ["a", "weir-cni"]);
    assert!(!text.contains("/old"));
}

#[test]
fn istio_is_refused_or_left_out() {
    let beside = found(
        &[("02-istio-cni.conflist", ISTIO), ("10-net.conflist", BRIDGE)],
        None,
    );
    let within = found(&[("10-net.conflist", ISTIO)], None);
    for found in [&beside, &within] {
        let refused = plan(found, ENTRY, false).unwrap_err();
        assert!(matches!(refused, ConfError::Istio { .. }), "{refused}");
        assert!(refused.to_string().contains("--take-over"), "{refused}");
    }
    let (primary, text) = written(&beside, true);
    assert_eq!(primary, "10-net.conflist", "the original, not Istio's copy of it");
    assert_eq!(types(&text), ["bridge", "portmap", "weir-cni"]);
    assert_eq!(types(&written(&within, true).1), ["bridge", "weir-cni"]);
}

#[test]
fn a_file_that_is_no_configuration_is_waited_for() {
    for (text, why) in [
        ("", "not JSON"),
        ("{\"cniVersion\":\"1.0.0\",\"na", "not JSON"),
        ("[]", "not JSON"),
        (r#"{"cniVersion":"1.0.0","plugins":[{"type":"a"}]}"#, "no name"),
        (r#"{"cniVersion":"1.0.0","name":"n","plugins":[]}"#, "no plugin"),
        (r#"{"cniVersion":"1.0.0","name":"n","plugins":[{}]}"#, "no type"),
        (r#"{"cniVersion":"1.0.0","name":"n"}"#, "no type"),
        (r#"{"cniVersion":"0.2.0","name":"n","type":"a"}"#, "0.2.0"),
        (r#"{"name":"n","type":"a"}"#, "does not speak"),
    ] {
        // What comes after it is not what the runtime will take.
        let error = plan(
            &found(&[("10-net.conflist", text), ("99-other.conflist", BRIDGE)], None),
            ENTRY,
            false,
        );
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains(why) && error.contains("10-net.conflist"),
            "{text}: {error}"
        );
    }
    let nobody = plan(&found(&[], None), ENTRY, false).unwrap_err();
    assert!(matches!(nobody, ConfError::NoPrimary { .. }), "{nobody}");
}

#[test]
fn a_file_that_runtimes_take_before_ours_is_named() {
    let outranked = plan(&found(&[("+a.conflist", BRIDGE)], None), ENTRY, false).unwrap_err();
    assert!(
        matches!(&outranked, ConfError::Outranked { file } if file == "+a.conflist"),
        "{outranked}"
    );
    for name in [
        "00-multus.conf",
        "01-x.conflist",
        "05-cilium.conflist",
        "10-calico.conflist",
        "multus.conf",
    ] {
        assert!(CONFLIST < name, "{name}");
    }
}

#[test]
fn chains_that_are_cut_anywhere_are_never_taken_for_whole() {
    for end in 0..BRIDGE.len() {
        assert!(Chain::read(&BRIDGE[..end]).is_err(), "cut after {end}");
    }
    assert!(Chain::read(BRIDGE).is_ok());
}

fn config(scratch: &Path) -> InstallConfig {
    let (conf_dir, bin_dir) = (scratch.join("net.d"), scratch.join("bin"));
    fs::create_dir_all(&conf_dir).unwrap();
    fs::create_dir_all(&bin_dir).unwrap();
    fs::write(conf_dir.join("10-net.conflist"), BRIDGE).unwrap();
    fs::write(scratch.join("plugin"), "a plugin").unwrap();
    InstallConfig {
        conf_dir,
        bin_dir,
        plugin: scratch.join("plugin"),
        socket: "/var/run/weir/cni.sock".into(),
        last_word: "/var/run/weir/last-word.json".into(),
        exempt_namespaces: BTreeSet::from(["kube-system".to_owned()]),
        exempt_pods: BTreeSet::from(["istio-system/ztunnel-".to_owned()]),
        take_over: false,
    }
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn what_is_installed_is_what_the_plugin_reads_and_goes_again() {
    let scratch = Scratch::new();
    let config = config(scratch.path());
    Installer::new(config.clone()).install().unwrap();
    let conflist = config.conf_dir.join(CONFLIST);
    let list: Value = serde_json::from_str(&fs::read_to_string(&conflist).unwrap()).unwrap();
    let mut ours = list["plugins"][2].clone();
    (ours["name"], ours["cniVersion"]) = ("net".into(), "1.0.0".into());
    let ours = ours.to_string();
    let read = weir_cni::config::Config::read(ours.as_bytes()).unwrap();
    assert_eq!(read.socket, config.socket);
    assert_eq!(read.last_word(), config.last_word);
    assert!(read.exempt.covers("kube-system", "x") && read.exempt.covers("istio-system", "ztunnel-x"));
    assert_eq!(
        fs::metadata(&conflist).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let plugin = config.bin_dir.join(PLUGIN);
    assert_eq!(fs::metadata(&plugin).unwrap().permissions().mode() & 0o777, 0o755);

    // A newer plugin, and a primary CNI that says something new.
    fs::write(&config.plugin, "a newer plugin").unwrap();
    fs::write(
        config.conf_dir.join("10-net.conflist"),
        BRIDGE.replace("1450", "1400"),
    )
    .unwrap();
    let installer = Installer::new(config.clone());
    installer.install().unwrap();
    assert_eq!(fs::read_to_string(&plugin).unwrap(), "a newer plugin");
    assert!(fs::read_to_string(&conflist).unwrap().contains("1400"));

    installer.end();
    let removed = remove(&config.conf_dir, &config.bin_dir, &scratch.path().join("none")).unwrap();
    assert_eq!(removed, [conflist, plugin]);
    // It has noticed the removal.
    installer.install().unwrap();
    assert_eq!(
        names(&config.conf_dir),
        BTreeSet::from(["10-net.conflist".to_owned()])
    );
    assert!(names(&config.bin_dir).is_empty());
}

#[test]
fn a_primary_that_is_gone_or_half_written_leaves_our_file_alone() {
    let scratch = Scratch::new();
    let config = config(scratch.path());
    let installer = Installer::new(config.clone());
    installer.install().unwrap();
    let (primary, ours) = (
        config.conf_dir.join("10-net.conflist"),
        config.conf_dir.join(CONFLIST),
    );
    let before = fs::read_to_string(&ours).unwrap();
    fs::write(&primary, &BRIDGE[..40]).unwrap();
    assert!(matches!(installer.install(), Err(ConfError::Primary { .. })));
    fs::remove_file(&primary).unwrap();
    assert!(matches!(installer.install(), Err(ConfError::NoPrimary { .. })));
    assert_eq!(fs::read_to_string(&ours).unwrap(), before);
}

#[test]
fn somebody_elses_file_of_our_name_stays() {
    let scratch = Scratch::new();
    let config = config(scratch.path());
    fs::write(config.conf_dir.join(CONFLIST), BRIDGE).unwrap();
    assert!(
        remove(&config.conf_dir, &config.bin_dir, &scratch.path().join("none"))
            .unwrap()
            .is_empty()
    );
    assert!(config.conf_dir.join(CONFLIST).exists());
}

#[test]
fn a_writer_that_is_killed_leaves_the_old_file_or_the_new_one() {
    let scratch = Scratch::new();
    let config = config(scratch.path());
    let installer = Installer::new(config.clone());
    installer.install().unwrap();
    let draft = config.conf_dir.join(format!(".{CONFLIST}.new"));
    fs::write(&draft, "{\"half").unwrap();
    fs::set_permissions(&draft, Permissions::from_mode(0o777)).unwrap();
    // Runtimes list by extension.
    assert!(
        !draft
            .extension()
            .is_some_and(|extension| extension == "conflist" || extension == "conf")
    );
    fs::write(
        config.conf_dir.join("10-net.conflist"),
        BRIDGE.replace("1450", "1400"),
    )
    .unwrap();
    installer.install().unwrap();
    let ours = config.conf_dir.join(CONFLIST);
    assert!(fs::read_to_string(&ours).unwrap().contains("1400"));
    assert_eq!(fs::metadata(&ours).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!draft.exists());
}
