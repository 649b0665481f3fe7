//! Why the kernel refused a program, in a line.

use std::io;

use aya::programs::ProgramError;

/// A program was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// By the verifier. Of its log, which has each step and may be thousands of lines long, the conclusion.
    #[error("{error}: {conclusion}")]
    Verifier {
        /// What the call returned.
        error: io::Error,
        /// What the verifier ends with.
        conclusion: String,
    },
    /// Before or after.
    #[error(transparent)]
    Other(ProgramError),
}

impl From<ProgramError> for Refusal {
    fn from(error: ProgramError) -> Self {
        match error {
            ProgramError::LoadError {
                io_error,
                verifier_log,
            } => Self::Verifier {
                error: io_error,
                conclusion: conclusion(&verifier_log.to_string())
                    .unwrap_or("the verifier says nothing")
                    .to_owned(),
            },
            other => Self::Other(other),
        }
    }
}

/// Why the verifier refused: the last line of its log that is no statistic.
pub(crate) fn conclusion(log: &str) -> Option<&str> {
    const STATISTICS: [&str; 3] = ["verification time ", "stack depth ", "processed "];
    let is_said = |line: &&str| {
        let is_statistic = STATISTICS.iter().any(|words| line.starts_with(words));
        !(line.is_empty() || is_statistic)
    };
    let mut lines = log.lines().map(|line| line.trim_matches(['\0', ' ']));
    lines.rfind(is_said)
}

#[cfg(test)]
mod tests {
    use super::conclusion;

    #[test]
    fn of_a_log_the_conclusion_is_kept() {
        let log = "func#0 @0\n0: R1=ctx(off=0,imm=0) R10=fp0\n1: (85) call bpf_get_netns_cookie#122\n\
                   unknown func bpf_get_netns_cookie#122\nverification time 41 usec\nstack depth 0\n\
                   processed 2 insns (limit 1000000) max_states_per_insn 0\n\n\0";
        assert_eq!(conclusion(log), Some("unknown func bpf_get_netns_cookie#122"));
        assert_eq!(conclusion(""), None);
    }
}
