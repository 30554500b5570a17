//! Server-sent events: `id:` is the version of the record, and a comment every half second tells a silent server from a
//! silent task.

use super::{
    body::is_large,
    follow::{Events, raw_bytes},
};
use crate::A2aError;
use a2a::StreamResponse;
use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures::{StreamExt, stream};
use std::{convert::Infallible, sync::Arc, time::Duration};

/// A client may take three missed ones for a dead server.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_millis(500);

/// The response that carries `events`, each written by `write`.
pub(super) fn respond(
    events: Events,
    write: impl Fn(Result<&StreamResponse, &A2aError>) -> Option<String> + Send + Sync + 'static,
) -> Response {
    let body = stream::unfold((events, Arc::new(write)), |(mut events, write)| async move {
        let (id, event) = match events.next().await? {
            Ok(event) => (event.id, Ok(event.response)),
            Err(error) => (None, Err(error)),
        };
        let data = if event.as_ref().is_ok_and(|event| is_large(raw_bytes(event))) {
            // Elsewhere, so that keep-alives go on meanwhile.
            let write = write.clone();
            tokio::task::spawn_blocking(move || write(event.as_ref())).await.ok().flatten()?
        } else {
            write(event.as_ref())?
        };
        let event = Event::default().data(data);
        let event = if let Some(id) = id { event.id(id.to_string()) } else { event };
        Some((Ok::<_, Infallible>(event), (events, write)))
    });
    Sse::new(body).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}
