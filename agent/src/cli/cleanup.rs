//! `weir cleanup`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use weir_agent::admin::client;
use weir_agent::cleanup::{self, Removed};
use weir_agent::cni_conf;
use weir_agent::container;
use weir_agent::pods::netns::HOST_NETNS;
use weir_agent::run::alone::Alone;
use weir_cni::{last_word, protocol};

use super::agent::cni;
use super::asking::{self, Where};
use super::output::Output;

/// Takes away all that Weir has put into the kernel of this node, and nothing else. Pods are out of the mesh then.
///
/// Exit code 0: nothing of Weir is left, 1: an agent runs, something could not be removed, or a listener of
/// ztunnel's stays bound to loopback.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Even while an agent answers, which puts back what it misses or fails.
    #[arg(long, env = "WEIR_FORCE")]
    force: bool,
    /// The container runtime's directory of network configurations.
    #[arg(long, env = "WEIR_CNI_CONF_DIR", value_name = "DIRECTORY", default_value = cni::CONF_DIR)]
    cni_conf_dir: PathBuf,
    /// The container runtime's directory of CNI plugins.
    #[arg(long, env = "WEIR_CNI_BIN_DIR", value_name = "DIRECTORY", default_value = cni::BIN_DIR)]
    cni_bin_dir: PathBuf,
    /// The socket that the CNI plugin asks on.
    #[arg(long, env = "WEIR_CNI_SOCKET", value_name = "PATH", default_value = protocol::SOCKET)]
    cni_socket: PathBuf,
    /// A handle of the node's own network namespace.
    #[arg(long, env = "WEIR_HOST_NETNS", value_name = "PATH", default_value = HOST_NETNS)]
    host_netns: PathBuf,
    #[command(flatten)]
    at: Where,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let socket = &args.at.admin_socket;
    if asking::wait_for(client::is_up(socket))?? && !args.force {
        bail!(
            "an agent answers on {}: stop it first (its flag --remove-on-exit cleans up too), or use --force",
            socket.display()
        );
    }
    container::step_out()?;
    let _alone = if args.force {
        None
    } else {
        Alone::with_pins(&args.at.pin_root)?
    };
    // First, so that no pod starts that waits for an agent.
    let last_word = last_word::beside(&args.cni_socket);
    let files = cni_conf::remove(&args.cni_conf_dir, &args.cni_bin_dir, &last_word)?;
    let mut removed = Removed {
        files,
        ..Removed::default()
    };
    let done = cleanup::run(&args.at.pin_root, &args.host_netns, &mut removed);
    if done.is_ok() || removed != Removed::default() {
        output.print(&removed, |_| text(&removed))?;
    }
    done?;
    Ok(if removed.still_bound.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn text(removed: &Removed) -> String {
    if *removed == Removed::default() {
        return "nothing to remove\n".to_owned();
    }
    let files = removed
        .files
        .iter()
        .map(|file| format!("removed {}\n", file.display()));
    let pods = removed.pods.iter().map(|netns| {
        format!("removed rules, routes, settings and programs from the pod with netns cookie {netns}\n")
    });
    let gone = removed.gone.iter().map(|netns| {
        format!("forgot the pod with netns cookie {netns}: no process and no name leads to its network namespace\n")
    });
    let pins = removed
        .pins
        .iter()
        .map(|pins| format!("removed programs and maps below {}\n", pins.display()));
    let still_bound = removed.still_bound.iter().map(|listener| format!("{listener}\n"));
    files
        .chain(pods)
        .chain(gone)
        .chain(pins)
        .chain(still_bound)
        .collect()
}

#[cfg(test)]
mod tests {
    use weir_agent::cleanup::Removed;
    use weir_agent::enroll::loopback::StillBound;

    use super::text;

    #[test]
    fn what_was_removed_is_told() {
        assert_eq!(text(&Removed::default()), "nothing to remove\n");
        let told = text(&Removed {
            pods: vec![17],
            gone: vec![18],
            files: vec!["/etc/cni/net.d/0-weir.conflist".into()],
            pins: Some("/sys/fs/bpf/weir".into()),
            still_bound: vec![StillBound {
                netns: 17,
                why: "as a test".into(),
            }],
        });
        let mut lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.remove(0), "removed /etc/cni/net.d/0-weir.conflist");
        assert!(
            lines[0].starts_with("removed rules") && lines[0].ends_with("cookie 17"),
            "{told}"
        );
        assert!(
            lines[1].starts_with("forgot") && lines[1].contains("cookie 18:"),
            "{told}"
        );
        assert_eq!(lines[2], "removed programs and maps below /sys/fs/bpf/weir");
        for told in ["port 15001", "cookie 17", "as a test", "restart ztunnel"] {
            assert!(lines[3].contains(told), "{}", lines[3]);
        }
    }
}
