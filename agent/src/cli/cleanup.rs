//! `weir cleanup`

use std::process::ExitCode;

use anyhow::{Result, bail};
use weir_agent::admin::client;
use weir_agent::cleanup::{self, Removed};
use weir_agent::container;

use super::asking::{self, Where};
use super::output::Output;

/// Takes away all that Weir has put into the kernel of this node, and nothing else. Pods are out of the mesh then.
///
/// Exit code 0: nothing of Weir is left, 1: an agent runs, or something could not be removed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Even while an agent answers, which puts back what it misses or fails.
    #[arg(long, env = "WEIR_FORCE")]
    force: bool,
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
    let removed = cleanup::run(&args.at.pin_root)?;
    output.print(&removed, |_| text(&removed))?;
    Ok(ExitCode::SUCCESS)
}

fn text(removed: &Removed) -> String {
    let Some(pins) = &removed.pins else {
        return "nothing to remove\n".to_owned();
    };
    let pods = removed.pods.iter().map(|netns| {
        format!("removed rules, routes, settings and programs from the pod with netns cookie {netns}\n")
    });
    let gone = removed.gone.iter().map(|netns| {
        format!("forgot the pod with netns cookie {netns}: no process and no name leads to its network namespace\n")
    });
    let pins = format!("removed programs and maps below {}\n", pins.display());
    pods.chain(gone).chain([pins]).collect()
}

#[cfg(test)]
mod tests {
    use weir_agent::cleanup::Removed;

    use super::text;

    #[test]
    fn what_was_removed_is_told() {
        assert_eq!(text(&Removed::default()), "nothing to remove\n");
        let told = text(&Removed {
            pods: vec![17],
            gone: vec![18],
            pins: Some("/sys/fs/bpf/weir".into()),
        });
        let lines: Vec<&str> = told.lines().collect();
        assert!(
            lines[0].starts_with("removed rules") && lines[0].ends_with("cookie 17"),
            "{told}"
        );
        assert!(
            lines[1].starts_with("forgot") && lines[1].contains("cookie 18:"),
            "{told}"
        );
        assert_eq!(lines[2], "removed programs and maps below /sys/fs/bpf/weir");
    }
}
