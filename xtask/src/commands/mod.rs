//! The table of commands.

mod bench;
mod build;
mod clean;
mod demo;
mod deploy;
mod fuzz;
mod kube;
mod test;
mod vm;

use anyhow::{Result, bail};

use crate::check;

/// One word behind `./x`.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    arguments: &'static str,
    help: &'static str,
    pub(crate) run: fn(&[String]) -> Result<()>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "demo",
        arguments: "[--keep] [--family v4|v6|dual] [--contract in-pod|node] [--ztunnel PATH]",
        help: "Show what Weir does, in network namespaces on this machine",
        run: demo::run,
    },
    Command {
        name: "build",
        arguments: "[--release|--static]",
        help: "Install the eBPF toolchain if it is missing, then build all programs, or those of images",
        run: build::run,
    },
    Command {
        name: "test",
        arguments: "[unit|bpf|world|kube|fuzz|vm] [cargo test arguments]",
        help: "Run one layer of tests, or all of them",
        run: test::run,
    },
    Command {
        name: "kube",
        arguments: "up|test|down|shell MACHINE|programs",
        help: "A cluster of two nodes without Docker, and what must hold in it",
        run: kube::run,
    },
    Command {
        name: "vm",
        arguments: "[--paced] [KERNEL…] [-- COMMAND…]",
        help: "Run a command, or the eBPF tests, on other kernels in QEMU (Debian's 6.1 and 6.12)",
        run: vm::run,
    },
    Command {
        name: "bench",
        arguments: "[in-pod|node] [--quick] [-o json] [--report]",
        help: "Measure Weir against iptables rules, and against no redirection",
        run: bench::run,
    },
    Command {
        name: "check",
        arguments: "",
        help: "Formatting, lints, licences, spelling, documentation: what must hold before a merge",
        run: check::run,
    },
    Command {
        name: "deploy",
        arguments: "render [VALUES] | write | check",
        help: "Print the Helm chart's objects, write the manifests in deploy/, or check both",
        run: deploy::run,
    },
    Command {
        name: "clean",
        arguments: "",
        help: "Remove what was built in this tree",
        run: clean::run,
    },
    Command {
        name: "help",
        arguments: "",
        help: "Print this",
        run: help,
    },
];

/// The command that the first argument names, and the arguments that are left for it.
pub(crate) fn parse(arguments: &[String]) -> Result<(&'static Command, &[String])> {
    let (name, rest) = match arguments {
        [] => ("help", arguments),
        [first, rest @ ..] if first == "--help" || first == "-h" => ("help", rest),
        [first, rest @ ..] => (first.as_str(), rest),
    };
    match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) => Ok((command, rest)),
        None => bail!("there is no command {name:?}; `./x help` lists them"),
    }
}

fn help(_: &[String]) -> Result<()> {
    print!("{}", table());
    Ok(())
}

fn table() -> String {
    let mut text = "Usage: ./x <command>\n\n".to_owned();
    for Command {
        name,
        arguments,
        help,
        run: _,
    } in COMMANDS
    {
        text += &format!("  {:<46} {help}\n", format!("{name} {arguments}"));
    }
    text + "
Environment:
  WEIR_BPF_TOOLCHAIN  compiles eBPF: a path to a cargo, or a rustup toolchain with rust-src
  WEIR_TOOLS          where missing tools are installed (~/.cache/weir/tools)
  WEIR_ZTUNNEL        a real ztunnel with its `testing` feature, for tests, demo and bench
  KUBEBUILDER_ASSETS  a directory with kube-apiserver and etcd; else ./x builds them from Debian's sources
  WEIR_TEST_KUBECONFIG  a cluster that the tests named kube_* are to use in place of an API server of their own
  WEIR_RUNNER         starts test programs when you are not root, for example 'sudo -E'
"
}

/// Refuses arguments on behalf of a command that takes none.
pub(crate) fn no_arguments(arguments: &[String]) -> Result<()> {
    match arguments {
        [] => Ok(()),
        [first, ..] => bail!("unexpected argument {first:?}; `./x help` lists what there is"),
    }
}

#[cfg(test)]
mod tests {
    use super::{COMMANDS, parse, table};

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_first_word_is_the_command_and_the_rest_is_its_own() {
        let line = words("test world two_pods");
        let (command, rest) = parse(&line).unwrap();
        assert_eq!((command.name, rest), ("test", &words("world two_pods")[..]));
    }

    #[test]
    fn no_word_means_help() {
        for line in ["", "help", "--help", "-h"] {
            assert_eq!(parse(&words(line)).unwrap().0.name, "help", "{line:?}");
        }
    }

    #[test]
    fn an_unknown_word_is_an_error_that_shows_the_way() {
        let error = parse(&words("tests")).err().unwrap().to_string();
        assert!(
            error.contains("\"tests\"") && error.contains("./x help"),
            "{error}"
        );
    }

    #[test]
    fn help_lists_every_command() {
        for command in COMMANDS {
            assert!(
                table().contains(&format!("\n  {}", command.name)),
                "{}",
                command.name
            );
        }
    }
}
