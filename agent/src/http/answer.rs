//! Answers.

use std::convert::Infallible;
use std::fmt::Display;

use futures::future::ready;
use futures::{Stream, StreamExt as _};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::api::Refusal;

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// An answer of some type.
#[must_use]
pub fn bytes(status: StatusCode, kind: &'static str, content: impl Into<Bytes>) -> Response<Body> {
    respond(status, kind, Full::new(content.into()).boxed_unsync())
}

/// Plain text.
#[must_use]
pub fn text(status: StatusCode, content: impl Into<Bytes>) -> Response<Body> {
    bytes(status, "text/plain; charset=utf-8", content)
}

/// JSON.
pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(content) => bytes(status, "application/json", content),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// A refusal, with its reason.
pub fn refusal(status: StatusCode, error: &(impl Display + ?Sized)) -> Response<Body> {
    let error = error.to_string();
    json(status, &Refusal { error })
}

/// JSON lines, as they come, until the stream ends or the client leaves.
pub fn lines<T: Serialize>(values: impl Stream<Item = T> + Send + 'static) -> Response<Body> {
    let frames = values.filter_map(|value| ready(line(&value)));
    respond(
        StatusCode::OK,
        "application/x-ndjson",
        StreamBody::new(frames).boxed_unsync(),
    )
}

/// A value that cannot be written is left out.
fn line<T: Serialize>(value: &T) -> Option<Result<Frame<Bytes>, Infallible>> {
    let mut line = serde_json::to_vec(value).ok()?;
    line.push(b'\n');
    Some(Ok(Frame::data(Bytes::from(line))))
}

fn respond(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
