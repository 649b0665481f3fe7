//! A question on its way from the plugin, with the network namespace that comes with it.

use std::io;
use std::os::fd::OwnedFd;

use weir_cni::protocol::{LONGEST, Request, VERSION};

use super::line::Line;

/// Why a question cannot be answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum QuestionError {
    #[error("the question cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("the question ends before its end")]
    Cut,
    #[error("the question has no end")]
    TooLong,
    #[error("the question makes no sense: {0}; is the plugin of the agent's version?")]
    Malformed(#[from] serde_json::Error),
    #[error(
        "the question is of version {0}, this agent answers {VERSION}; the plugin is replaced when the agent starts"
    )]
    Version(u32),
}

/// Reads one question.
pub(super) async fn read(from: &Line) -> Result<(Request, Option<OwnedFd>), QuestionError> {
    let (mut line, mut netns) = (Vec::new(), None);
    let mut part = [0; 4096];
    while line.last() != Some(&b'\n') {
        let (length, descriptor) = from.hear(&mut part).await?;
        if length == 0 {
            return Err(QuestionError::Cut);
        }
        if (line.len() + length) as u64 > LONGEST {
            return Err(QuestionError::TooLong);
        }
        line.extend_from_slice(&part[..length]);
        // Whoever sends more than one has them closed.
        netns = netns.or(descriptor);
    }
    let request: Request = serde_json::from_slice(&line)?;
    match request.version {
        VERSION => Ok((request, netns)),
        other => Err(QuestionError::Version(other)),
    }
}
