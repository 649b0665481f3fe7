//! Answers, read with bounds: whoever answers, the agent's memory is its own.

use futures::StreamExt as _;
use http_body_util::{BodyExt as _, BodyStream, LengthLimitError, Limited};
use hyper::body::Bytes;
use kube::client::Body;

use super::action::Action;
use super::error::ApiError;

/// Reads a whole answer.
pub(super) async fn read(action: Action, body: Body, most: usize) -> Result<Bytes, ApiError> {
    match Limited::new(body, most).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::TooLong { action, most }),
        Err(error) => Err(ApiError::Broken {
            action,
            message: error.to_string(),
        }),
    }
}

/// An answer that comes line by line, for as long as it takes.
#[derive(Debug)]
pub struct Lines {
    action: Action,
    body: BodyStream<Body>,
    buffer: Vec<u8>,
    /// Bytes of the buffer that hold no end of a line.
    searched: usize,
    most: usize,
}

impl Lines {
    pub(super) fn new(action: Action, body: Body, most: usize) -> Self {
        Self {
            action,
            body: BodyStream::new(body),
            buffer: Vec::new(),
            searched: 0,
            most,
        }
    }

    /// The next line, without its end; nothing when the answer has ended. What is after the last end of a line is no
    /// line.
    ///
    /// # Errors
    /// [`ApiError::Broken`] and [`ApiError::TooLong`].
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        loop {
            if let Some(line) = self.take_line() {
                return Ok(Some(line));
            }
            if self.buffer.len() > self.most {
                return Err(ApiError::TooLong {
                    action: self.action,
                    most: self.most,
                });
            }
            match self.body.next().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => {
                    return Err(ApiError::Broken {
                        action: self.action,
                        message: error.to_string(),
                    });
                }
            }
        }
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let end = self.buffer[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n');
        let Some(end) = end.map(|end| self.searched + end) else {
            self.searched = self.buffer.len();
            return None;
        };
        let rest = self.buffer.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.buffer, rest);
        line.truncate(end);
        self.searched = 0;
        Some(line)
    }
}
