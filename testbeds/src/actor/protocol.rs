//! What an actor is asked and answers: one line of JSON each.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::traffic::dns::{Answer, Query};
use crate::traffic::{Accepted, ClientSpec, Exchange, Failure, ServerSpec};

/// What an actor is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Connect, have a few bytes echoed, close.
    Exchange(ClientSpec),
    /// Connect, and stay connected.
    Open(ClientSpec),
    /// Have a text echoed on an open connection.
    Echo {
        /// The connection.
        number: usize,
        /// The text.
        text: String,
    },
    /// Send zeros on an open connection without reading what comes back.
    Pour {
        /// The connection.
        number: usize,
        /// How many.
        bytes: usize,
    },
    /// Close an open connection.
    Close {
        /// The connection.
        number: usize,
    },
    /// Start a server.
    Serve(ServerSpec),
    /// Say who came to a server.
    Connections {
        /// The server.
        number: usize,
    },
    /// Stop a server.
    Stop {
        /// The server.
        number: usize,
    },
    /// Ask a resolver.
    Resolve(Query),
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To [`Request::Exchange`].
    Exchanged(Exchange),
    /// To [`Request::Open`].
    Opened {
        /// The connection.
        number: usize,
        /// What both sides saw.
        exchange: Exchange,
    },
    /// To [`Request::Serve`].
    Listening {
        /// The server.
        number: usize,
        /// Where it listens.
        address: SocketAddr,
    },
    /// To [`Request::Connections`].
    Accepted(Vec<Accepted>),
    /// To [`Request::Resolve`].
    Answered(Answer),
    /// It is done, and there is nothing to say.
    Done,
    /// It failed.
    Failed(Failure),
    /// No connection or server has this number.
    Unknown(usize),
    /// The line was no request.
    Misunderstood,
}
