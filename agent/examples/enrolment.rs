//! Measures how long a running pod's enrolment and removal take, without ztunnel's answer:
//! `cargo run --release -p weir-agent --example enrolment -- 200`.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use weir_agent::datapath::{Datapath, DatapathConfig, Hook, Sizes, residue};
use weir_agent::enroll::Enroller;
use weir_agent::enroll::filters::Filters;
use weir_common::names::LAYOUT_VERSION;
use weir_netdetect::choose::Contract;
use weir_testbeds::cgroup::Cgroup;
use weir_testbeds::netns::Netns;
use weir_testbeds::unique;

#[derive(Default)]
struct Times {
    steps: Vec<(&'static str, Vec<Duration>)>,
}

impl Times {
    fn take<T>(&mut self, step: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let result = work()?;
        let took = start.elapsed();
        match self.steps.iter_mut().find(|(known, _)| *known == step) {
            Some((_, times)) => times.push(took),
            None => self.steps.push((step, vec![took])),
        }
        Ok(result)
    }

    fn print(&mut self) {
        println!("{:<16} {:>12} {:>12} {:>12}", "step", "p50", "p99", "most");
        for (step, times) in &mut self.steps {
            times.sort_unstable();
            let at = |part: usize| times[(times.len() - 1) * part / 100];
            println!("{step:<16} {:>12?} {:>12?} {:>12?}", at(50), at(99), at(100));
        }
    }
}

fn main() -> Result<()> {
    let pods: usize = std::env::args().nth(1).map_or(Ok(200), |pods| pods.parse())?;
    let cgroup = Cgroup::new("enrolment")?;
    let pin_root = Path::new("/sys/fs/bpf").join(unique::name("enrolment"));
    let measured = measure(pods, &cgroup, &pin_root);
    residue::remove(&pin_root)?;
    measured
}

fn measure(pods: usize, cgroup: &Cgroup, pin_root: &Path) -> Result<()> {
    let datapath = Arc::new(Datapath::open(&DatapathConfig {
        pin_root: pin_root.to_owned(),
        layout: LAYOUT_VERSION,
        cgroup: cgroup.path().to_owned(),
        sizes: Sizes::default(),
        hook: Hook::of_this_kernel(),
    })?);
    let enroller = Enroller::new(datapath, 0);
    let namespaces: Vec<Netns> = (0..pods).map(bare_pod).collect::<Result<_>>()?;
    let mut times = Times::default();
    for netns in &namespaces {
        let netns = netns.as_fd();
        let cookie = times.take("cookie", || Ok(enroller.cookie(netns)?))?;
        times.take("enrol", || {
            Ok(enroller.enroll(
                netns,
                cookie,
                (Contract::InPod, &Filters::default()),
                None,
                &mut None,
            )?)
        })?;
        times.take("find listeners", || {
            Ok(enroller.repair_listeners(netns, cookie, &[]).map(drop)?)
        })?;
        times.take("capture", || Ok(enroller.capture(cookie)?))?;
    }
    for netns in &namespaces {
        let netns = netns.as_fd();
        let cookie = enroller.cookie(netns)?;
        times.take("release", || Ok(enroller.release(netns, cookie)?))?;
    }
    times.print();
    Ok(())
}

/// A pod that is nothing but a namespace with an address.
fn bare_pod(number: usize) -> Result<Netns> {
    let netns = Netns::new()?;
    let address = format!("10.{}.{}.1/32", 100 + number / 250, number % 250).parse()?;
    netns.netlink(async |netlink| netlink.add_address("lo", address).await)?;
    Ok(netns)
}
