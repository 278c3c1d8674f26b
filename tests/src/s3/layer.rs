//! Applies faults, latency and bandwidth limits to the requests of an S3 service.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body as _, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use s3s::Body;
use s3s::service::S3Service;
use tokio::time::{Sleep, sleep};

use super::fault::{Fault, Faults};
use super::google;
use super::line::{OverLine, Sender};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Handles a request, subject to the fault rules.
///
/// An error makes the server close the connection.
pub(super) async fn answer(
    service: S3Service,
    faults: Faults,
    google: bool,
    request: Request<Incoming>,
) -> Result<Response<Body>, BoxError> {
    let method = request.method().clone();
    let target = request
        .uri()
        .path_and_query()
        .map_or("", |target| target.as_str());
    if method == Method::PUT {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = request.headers().iter();
        faults.note_put(
            headers
                .map(|(name, value)| (name.to_string(), text(value)))
                .collect(),
        );
    }
    let fault = faults.fate(method.as_str(), &percent_decoded(target));
    sleep(faults.line.latency()).await;
    match fault {
        Some(Fault::Hang) => pending().await,
        Some(Fault::Disconnect) => return Err("disconnected on purpose".into()),
        Some(Fault::Status(status)) => {
            drain(request.into_body()).await?;
            return refusal(status, &method);
        }
        Some(Fault::Endless(status)) => {
            drain(request.into_body()).await?;
            let mut response = Response::new(Body::http_body_unsync(OverLine::new(
                EndlessBody,
                Sender::Server,
                faults.line,
            )));
            *response.status_mut() = StatusCode::from_u16(status)?;
            let xml = HeaderValue::from_static("application/xml");
            response.headers_mut().insert(CONTENT_TYPE, xml);
            return Ok(response);
        }
        _ => {}
    }
    let request = if google {
        match google::translate(request) {
            Ok(request) => request,
            Err(status) => return refusal(status.as_u16(), &method),
        }
    } else {
        request
    };
    let upload =
        |body| Body::http_body_unsync(OverLine::new(body, Sender::Client, faults.line.clone()));
    let request = request.map(upload);
    let response = service.call(request).await?;
    if fault == Some(Fault::LoseAnswer) {
        return Err("the answer was lost on purpose".into());
    }
    if method == Method::HEAD {
        return Ok(response);
    }
    Ok(damage(response, fault)
        .map(|body| Body::http_body_unsync(OverLine::new(body, Sender::Server, faults.line))))
}

/// Reads and discards a request body, so that the client can send it all and read the response.
async fn drain(mut body: Incoming) -> Result<(), BoxError> {
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        frame?;
    }
    Ok(())
}

/// An error response in S3's format.
fn refusal(status: u16, method: &Method) -> Result<Response<Body>, BoxError> {
    let code = match status {
        401 | 403 => "AccessDenied",
        404 => "NoSuchKey",
        409 => "ConditionalRequestConflict",
        412 => "PreconditionFailed",
        429 | 503 => "SlowDown",
        507 => "XMinioStorageFull",
        500 => "InternalError",
        _ => "InvalidRequest",
    };
    let text = format!("<Error><Code>{code}</Code><Message>on purpose</Message></Error>");
    let body = if *method == Method::HEAD {
        Body::empty()
    } else {
        Body::from(text)
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status)?;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    Ok(response)
}

fn damage(mut response: Response<Body>, fault: Option<Fault>) -> Response<Body> {
    match fault {
        Some(Fault::Shorten(length)) => {
            response
                .headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from(length));
            response.map(|body| Damaged::wrap(body, Damage::Shorten(length)))
        }
        Some(Fault::Truncate(length)) => {
            response.map(|body| Damaged::wrap(body, Damage::Truncate(length)))
        }
        Some(Fault::Corrupt(offset)) => {
            response.map(|body| Damaged::wrap(body, Damage::Corrupt(offset)))
        }
        _ => response,
    }
}

/// An endless body of spaces. XML parsers skip whitespace, so a client without a limit reads
/// forever.
struct EndlessBody;

impl hyper::body::Body for EndlessBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        const SPACES: &[u8] = &[b' '; 64 << 10];
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(SPACES)))))
    }
}

enum Damage {
    Shorten(u64),
    Truncate(u64),
    Corrupt(u64),
}

/// Delay before a truncated response closes, so that the bytes before the cut reach the socket.
const FLUSH: Duration = Duration::from_millis(20);

/// A body with an injected fault.
struct Damaged {
    body: Body,
    damage: Damage,
    cut: Option<Pin<Box<Sleep>>>,
    /// Bytes sent so far.
    at: u64,
}

impl Damaged {
    fn wrap(body: Body, damage: Damage) -> Body {
        Body::http_body_unsync(Self {
            body,
            damage,
            cut: None,
            at: 0,
        })
    }
}

impl hyper::body::Body for Damaged {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let at = self.at;
        match self.damage {
            Damage::Shorten(length) if at >= length => return Poll::Ready(None),
            Damage::Truncate(length) if at >= length => {
                let cut = self.cut.get_or_insert_with(|| Box::pin(sleep(FLUSH)));
                ready!(cut.as_mut().poll(cx));
                let error = io::Error::new(io::ErrorKind::ConnectionAborted, "cut on purpose");
                return Poll::Ready(Some(Err(error.into())));
            }
            _ => {}
        }
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            end => return Poll::Ready(end),
        };
        let mut data = match frame.into_data() {
            Ok(data) => data,
            Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
        };
        match self.damage {
            Damage::Shorten(length) | Damage::Truncate(length) => {
                data.truncate(usize::try_from(length - at).unwrap_or(usize::MAX));
            }
            Damage::Corrupt(offset) => {
                let inside = offset
                    .checked_sub(at)
                    .and_then(|byte| usize::try_from(byte).ok());
                if let Some(byte) = inside.filter(|byte| *byte < data.len()) {
                    let mut bytes = data.to_vec();
                    bytes[byte] ^= 1;
                    data = bytes.into();
                }
            }
        }
        self.at += data.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn size_hint(&self) -> SizeHint {
        match self.damage {
            Damage::Shorten(length) => SizeHint::with_exact(length - self.at),
            _ => self.body.size_hint(),
        }
    }
}

/// Decodes percent-encoding, so that rules can contain plain keys.
pub(super) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escape = tail
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::percent_decoded;

    #[test]
    fn escapes_are_undone_and_stray_percent_signs_kept() {
        assert_eq!(percent_decoded("/a%2Fb%2fc?x=%7E"), "/a/b/c?x=~");
        assert_eq!(percent_decoded("100%, %zz %4"), "100%, %zz %4");
    }
}
