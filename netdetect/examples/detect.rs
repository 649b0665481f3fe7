//! Prints what there is to know about a pod:
//! `cargo run -p weir-netdetect --example detect -- /run/netns/NAME [/proc/1/ns/net]`, as root.

use std::error::Error;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use weir_netdetect::choose::{ChoiceConfig, Contract};
use weir_netdetect::report::Detector;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: detect NETNS [NODE'S NETNS]")?;
    let host = arguments.next().unwrap_or_else(|| "/proc/1/ns/net".to_owned());
    let (pod, host) = (File::open(&path)?, File::open(host)?);

    let config = ChoiceConfig::default();
    let detector = Detector::new(host.as_fd(), Path::new("/etc/cni/net.d"), Contract::InPod, config)?;
    let detected = detector.pod(Path::new(&path), pod.as_fd(), None)?;

    println!(
        "outbound: {}: {}",
        detected.plan.outbound.path, detected.plan.outbound.why
    );
    println!(
        "inbound: {}: {}",
        detected.plan.inbound.path, detected.plan.inbound.why
    );
    println!(
        "{}",
        serde_json::to_string_pretty(&detector.report(vec![detected]))?
    );
    Ok(())
}
