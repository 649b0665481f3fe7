//! The actor's own side: it reads requests, does them, and answers.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use super::protocol::{Reply, Request};
use crate::traffic::{Client, Connection, Failure, Server};

/// What an actor holds open between requests.
#[derive(Debug, Default)]
pub struct Stage {
    next: usize,
    connections: BTreeMap<usize, Connection>,
    servers: BTreeMap<usize, Server>,
}

impl Stage {
    /// Answers requests until there are no more.
    pub fn play(&mut self, requests: impl BufRead, mut replies: impl Write) -> io::Result<()> {
        for line in requests.lines() {
            let reply = match serde_json::from_str(&line?) {
                Ok(request) => self.perform(request).unwrap_or_else(Reply::Failed),
                Err(_) => Reply::Misunderstood,
            };
            serde_json::to_writer(&mut replies, &reply)?;
            replies.write_all(b"\n")?;
            replies.flush()?;
        }
        Ok(())
    }

    fn perform(&mut self, request: Request) -> Result<Reply, Failure> {
        match request {
            Request::Exchange(spec) => Ok(Reply::Exchanged(Client::connect_here(&spec)?.converse()?)),
            Request::Open(spec) => {
                let connection = Client::connect_here(&spec)?;
                let (number, exchange) = (self.number(), connection.report().clone());
                self.connections.insert(number, connection);
                Ok(Reply::Opened { number, exchange })
            }
            Request::Echo { number, text } => match self.connections.get_mut(&number) {
                Some(connection) => connection.exchange(text.as_bytes()).map(|()| Reply::Done),
                None => Ok(Reply::Unknown(number)),
            },
            Request::Pour { number, bytes } => match self.connections.get_mut(&number) {
                Some(connection) => connection.pour(bytes).map(|()| Reply::Done),
                None => Ok(Reply::Unknown(number)),
            },
            Request::Close { number } => match self.connections.remove(&number) {
                Some(connection) => connection.close().map(|()| Reply::Done),
                None => Ok(Reply::Unknown(number)),
            },
            Request::Serve(spec) => {
                let server = Server::start_here(&spec)?;
                let (number, address) = (self.number(), server.address());
                self.servers.insert(number, server);
                Ok(Reply::Listening { number, address })
            }
            Request::Connections { number } => Ok(self
                .servers
                .get(&number)
                .map_or(Reply::Unknown(number), |server| {
                    Reply::Accepted(server.connections())
                })),
            Request::Stop { number } => Ok(self
                .servers
                .remove(&number)
                .map_or(Reply::Unknown(number), |_| Reply::Done)),
            Request::Resolve(query) => query.ask_here().map(Reply::Answered),
        }
    }

    fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }
}
