//! One conversation with a ztunnel. The type says how far it is: what would make ztunnel exit (a second marker,
//! a keep after it) cannot be written down, and `&mut self` allows one request in flight only.
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use tokio::time::timeout;

use super::protocol::{Answer, DecodeError, Hello, Request, VERSION};
use super::socket::{ReceiveError, SendError, Seqpacket};
use super::workload::Workload;
use crate::pods::pod::PodUid;

/// Longest text of ztunnel's that is kept.
const MAX_ERROR_TEXT: usize = 512;

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No hello.
    #[error("no hello within {0:?}: is the peer a ztunnel?")]
    HelloDeadline(Duration),
    /// A hello of another version.
    #[error("ztunnel speaks ZDS version {0}, this agent speaks {VERSION}: update the agent")]
    Version(u64),
    /// No answer.
    #[error("no answer to {request} within {deadline:?}: is ztunnel overloaded or stopped?")]
    AckDeadline {
        /// What was sent.
        request: &'static str,
        /// How long it had.
        deadline: Duration,
    },
    /// Not a message, or not the expected one.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A datagram although nothing was asked.
    #[error("a datagram of {length} bytes although nothing was asked: is the peer a ztunnel?")]
    Unsolicited {
        /// Its length.
        length: usize,
    },
    /// The snapshot marker was refused.
    #[error("ztunnel refused the snapshot: {0}")]
    SnapshotRefused(String),
    /// Nothing can be received.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// Nothing can be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The agent ends it.
    #[error("the agent is stopping")]
    Stopping,
}

/// Deadlines of a conversation.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For the hello.
    pub hello: Duration,
    /// For each answer.
    pub ack: Duration,
}

/// Before the snapshot marker.
pub enum BeforeMarker {}

/// After the snapshot marker.
pub enum AfterMarker {}

/// A conversation with a ztunnel that said hello.
pub struct Session<Progress> {
    socket: Seqpacket,
    deadlines: Deadlines,
    progress: PhantomData<Progress>,
}

impl Session<BeforeMarker> {
    /// Waits for the hello.
    pub async fn greet(socket: Seqpacket, deadlines: Deadlines) -> Result<Self, SessionError> {
        let datagram = timeout(deadlines.hello, socket.receive())
            .await
            .map_err(|_elapsed| SessionError::HelloDeadline(deadlines.hello))??;
        match Hello::decode(&datagram)?.version {
            VERSION => Ok(Self {
                socket,
                deadlines,
                progress: PhantomData,
            }),
            other => Err(SessionError::Version(other)),
        }
    }

    /// Announces a pod whose netns is not known.
    pub async fn keep(&mut self, uid: &PodUid) -> Result<Answer, SessionError> {
        self.exchange("keep", &Request::Keep(uid), None).await
    }

    /// Sends the marker: everything is announced.
    pub async fn finish_snapshot(mut self) -> Result<Session<AfterMarker>, SessionError> {
        match self
            .exchange("snapshot_sent", &Request::SnapshotSent, None)
            .await?
        {
            Answer::Ack => Ok(Session {
                socket: self.socket,
                deadlines: self.deadlines,
                progress: PhantomData,
            }),
            Answer::Nack(error) => Err(SessionError::SnapshotRefused(error)),
        }
    }
}

impl Session<AfterMarker> {
    /// Ends the serving of a pod.
    pub async fn del(&mut self, uid: &PodUid) -> Result<Answer, SessionError> {
        self.exchange("del", &Request::Del(uid), None).await
    }

    /// Ends when the conversation does; nothing may come while nothing is asked. Cancelling it loses nothing.
    pub async fn ended(&self) -> SessionError {
        self.unasked().await
    }
}

impl<Progress> Session<Progress> {
    /// Announces a pod and hands over its netns.
    pub async fn add(&mut self, workload: &Workload) -> Result<Answer, SessionError> {
        let request = add_request(workload);
        self.exchange("add", &request, Some(workload.netns.as_fd())).await
    }

    /// What concerns one pod only (a descriptor or message that cannot be sent) is a refusal, not an error.
    async fn exchange(
        &mut self,
        name: &'static str,
        request: &Request<'_>,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<Answer, SessionError> {
        // Answers carry no ids: one that was not asked for would be taken for the next.
        if self.socket.is_readable()? {
            return Err(self.unasked().await);
        }
        let datagram = match request.encode() {
            Ok(datagram) => datagram,
            Err(error) => return Ok(Answer::Nack(error.to_string())),
        };
        let deadline = self.deadlines.ack;
        timeout(deadline, self.send_and_receive(&datagram, descriptor))
            .await
            .map_err(|_elapsed| SessionError::AckDeadline {
                request: name,
                deadline,
            })?
    }

    async fn send_and_receive(
        &self,
        datagram: &[u8],
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<Answer, SessionError> {
        match self.socket.send(datagram, descriptor).await {
            Ok(()) => {}
            Err(error @ SendError::Descriptor(_)) => return Ok(Answer::Nack(error.to_string())),
            Err(error) => return Err(error.into()),
        }
        Ok(shortened(Answer::decode(&self.socket.receive().await?)?))
    }

    async fn unasked(&self) -> SessionError {
        match self.socket.receive().await {
            Ok(datagram) => SessionError::Unsolicited {
                length: datagram.len(),
            },
            Err(error) => error.into(),
        }
    }
}

/// The message that announces `workload`.
pub fn add_request(workload: &Workload) -> Request<'_> {
    Request::Add {
        uid: &workload.uid,
        name: &workload.name,
        namespace: &workload.namespace,
        service_account: &workload.service_account,
    }
}

fn shortened(answer: Answer) -> Answer {
    match answer {
        Answer::Nack(mut error) => {
            error.truncate(error.floor_char_boundary(MAX_ERROR_TEXT));
            Answer::Nack(error)
        }
        Answer::Ack => Answer::Ack,
    }
}
