use super::{EnrollError, Needed, SETTINGS, ensure, restore};
use crate::inside::Sysctls;

const ALL: Needed = Needed { v6: true, late: true };

fn values(sysctls: &mut Sysctls) -> Vec<String> {
    let values = SETTINGS.iter().map(|setting| sysctls.read(setting.name).unwrap());
    values.collect()
}

/// A new namespace of this thread's own has all settings as new pods have them.
fn in_a_new_namespace(work: impl FnOnce(&mut Sysctls) + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            work(&mut Sysctls::default());
        });
    });
}

#[test]
fn bpf_nothing_is_switched_before_it_is_noted() {
    in_a_new_namespace(|sysctls| {
        let before = values(sysctls);
        let mut noted = 0;
        // As if the agent had died as soon as it had noted them.
        let ended = ensure(sysctls, ALL, |changed| {
            noted = changed;
            Err(EnrollError::NotEnrolled)
        });
        assert!(matches!(ended, Err(EnrollError::NotEnrolled)), "{ended:?}");
        assert_eq!(values(sysctls), before);
        assert_eq!(noted, (1 << SETTINGS.len()) - 1);

        // The next one switches them on, by what it finds, and what both have noted is switched back.
        ensure(sysctls, ALL, |changed| {
            noted |= changed;
            Ok(())
        })
        .unwrap();
        assert!(values(sysctls).iter().all(|value| value == "1"));
        restore(sysctls, noted).unwrap();
        assert_eq!(values(sysctls), before);
    });
}

#[test]
fn bpf_what_somebody_has_chosen_is_left_alone() {
    const CHOSEN: &str = "net.ipv4.tcp_tw_reuse";
    in_a_new_namespace(|sysctls| {
        sysctls.open(CHOSEN).unwrap().write("0").unwrap();
        let mut noted = 0;
        ensure(sysctls, ALL, |changed| {
            noted = changed;
            Ok(())
        })
        .unwrap();
        assert_eq!(sysctls.read(CHOSEN).unwrap(), "0");

        let before = "net.ipv4.fwmark_reflect";
        sysctls.open(before).unwrap().write("0").unwrap();
        restore(sysctls, noted).unwrap();
        let left: Vec<_> = values(sysctls);
        assert_eq!(left, ["0", "0", "0", "0"]);
    });
}
