//! Responses over HTTP/2 that are not read. A connection of which nothing is read is closed (see [`super::serve`]), but of
//! one that is read single streams may be left unread for as long as it lives, and what they would carry is in memory.
//! So it is handed out in pieces, and what is not asked for in time is dropped.

use axum::{
    Error,
    body::{Body, HttpBody},
    response::Response,
};
use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::task::AbortHandle;

/// Handed out at once, and the size that a response may have without being watched.
const PIECE_BYTES: usize = 16 << 10;

/// The response, which is dropped when nothing of it is asked for during `span`.
pub(super) fn watched(response: Response, span: Duration) -> Response {
    if response.body().size_hint().upper().is_some_and(|size| size <= PIECE_BYTES as u64) {
        return response;
    }
    response.map(|body| Body::new(Watched::new(body, span)))
}

struct Watched {
    kept: Arc<Mutex<Option<Kept>>>,
    watch: AbortHandle,
}

struct Kept {
    body: Body,
    /// Of the newest piece of the body, what is not handed out yet.
    rest: Bytes,
    /// Since when more may be asked for; none while the body has nothing to say.
    since: Option<Instant>,
}

impl Watched {
    fn new(body: Body, span: Duration) -> Self {
        let kept = Kept { body, rest: Bytes::new(), since: Some(Instant::now()) };
        let kept = Arc::new(Mutex::new(Some(kept)));
        let seen = kept.clone();
        let watch = tokio::spawn(async move {
            loop {
                tokio::time::sleep(span / 2).await;
                let mut kept = lock(&seen);
                if kept.as_ref().and_then(|kept| kept.since).is_some_and(|since| since.elapsed() >= span) {
                    *kept = None;
                    return;
                }
            }
        });
        Self { kept, watch: watch.abort_handle() }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

fn lock(kept: &Mutex<Option<Kept>>) -> MutexGuard<'_, Option<Kept>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut kept = lock(&self.kept);
        let Some(kept) = kept.as_mut() else {
            return Poll::Ready(Some(Err(Error::new(io::Error::from(io::ErrorKind::TimedOut)))));
        };
        kept.since = None;
        if kept.rest.is_empty() {
            match ready!(Pin::new(&mut kept.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => kept.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        // A copy: a part would keep the whole.
        let piece = Bytes::copy_from_slice(&kept.rest[..kept.rest.len().min(PIECE_BYTES)]);
        kept.rest.advance(piece.len());
        if kept.rest.is_empty() {
            kept.rest = Bytes::new();
        }
        kept.since = Some(Instant::now());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.kept).as_ref().is_some_and(|kept| kept.rest.is_empty() && kept.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let kept = lock(&self.kept);
        let Some(kept) = kept.as_ref() else { return SizeHint::default() };
        let (rest, inner) = (kept.rest.len() as u64, kept.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(rest + inner.lower());
        if let Some(upper) = inner.upper() {
            hint.set_upper(rest + upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{StreamExt, stream};
    use std::convert::Infallible;

    const SPAN: Duration = Duration::from_millis(100);

    fn response(body: impl Into<Body>) -> Response {
        watched(Response::new(body.into()), SPAN)
    }

    #[tokio::test]
    async fn what_is_read_arrives_whole_however_long_it_is_silent() {
        let whole: Vec<u8> = (0..100_000u32).map(|number| number as u8).collect();
        let body = response(whole.clone()).into_body();
        assert_eq!(body.size_hint().exact(), Some(100_000));
        let mut pieces = body.into_data_stream();
        let mut arrived = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.unwrap();
            assert!(piece.len() <= PIECE_BYTES);
            arrived.extend_from_slice(&piece);
        }
        assert_eq!(arrived, whole);

        let silent = stream::iter([1u8, 2]).then(|number| async move {
            tokio::time::sleep(3 * SPAN).await;
            Ok::<_, Infallible>(vec![number])
        });
        let body = axum::body::to_bytes(response(Body::from_stream(silent)).into_body(), 10).await;
        assert_eq!(body.unwrap(), [1, 2].as_slice());
    }

    #[tokio::test]
    async fn what_nobody_asks_for_is_dropped() {
        let held = Arc::new(());
        let witness = Arc::downgrade(&held);
        let endless = stream::repeat_with(move || {
            let _held = &held;
            Ok::<_, Infallible>(vec![0; 3 * PIECE_BYTES])
        });
        let mut pieces = response(Body::from_stream(endless)).into_body().into_data_stream();
        assert_eq!(pieces.next().await.unwrap().unwrap().len(), PIECE_BYTES);
        assert!(witness.upgrade().is_some());
        tokio::time::sleep(4 * SPAN).await;
        assert!(witness.upgrade().is_none(), "it is still in memory");
        assert!(pieces.next().await.unwrap().is_err(), "the reader must not take it for the whole");
    }
}
