//! Outputs that are too large for an event: told as an address, and fetched by whoever may see the task.
//!
//! A part says where the bytes are, how many there are and what their SHA-256 is; `GET` there takes a range
//! (RFC 9110 §14), so that a transfer which broke goes on where it was. The bytes are read in pieces while they are
//! sent, and one transfer takes a place among its caller's event streams.

use super::Server;
use crate::{A2aError, CONTRACT_EXTENSION, Call, ErrorKind, error::readable, log};
use a2a::Part;
use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::stream;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use std::{collections::HashMap, io, ops::Range, sync::Arc};

/// First segment of the address of an output: `/artifacts/{task}/{artifact}`.
pub(super) const FIRST: &str = "artifacts";
/// Larger outputs are told as an address: an event stays far below the 4 MiB that a gRPC client takes.
pub(super) const MAX_INLINE_BYTES: u64 = 1 << 20;
/// How much of a file is in memory at once.
const PIECE_BYTES: u64 = 256 << 10;

impl Server {
    /// The one part of an output, which is an address when there are more than `inline` bytes and the card says where
    /// this agent is; none when its bytes are no longer kept.
    pub(super) async fn part(&self, task: &str, output: &log::Output, inline: u64) -> Result<Option<Part>, A2aError> {
        let length = output.blob.bytes;
        let segment = |id: &str| utf8_percent_encode(id, NON_ALPHANUMERIC).to_string();
        let address = || {
            let path = format!("{FIRST}/{}/{}", segment(task), segment(&output.artifact_id));
            self.card.facts().address(&path)
        };
        let mut part = match (length > inline).then(address).flatten() {
            Some(address) => {
                if self.log.blob(&output.blob, 0..0).await?.is_none() {
                    return Ok(None);
                }
                let mut part = Part::url(address);
                let stated = json!({"sha256": output.blob.sha256, "bytes": length});
                part.metadata = Some(HashMap::from([(CONTRACT_EXTENSION.to_owned(), stated)]));
                part
            }
            None => {
                let Some(bytes) = self.log.blob(&output.blob, 0..length).await? else { return Ok(None) };
                match std::str::from_utf8(&bytes) {
                    Ok(text) if output.media_type == "text/plain" => Part::text(text),
                    _ => Part::raw(bytes.to_vec()),
                }
            }
        };
        part.media_type = Some(output.media_type.clone());
        part.filename.clone_from(&output.filename);
        Ok(Some(part))
    }

    /// The bytes of the newest output of a task that has this artifact id, or the range of them that was asked for.
    pub(super) async fn output(
        self: &Arc<Self>,
        call: &Call,
        task: &str,
        artifact: &str,
        headers: &HeaderMap,
    ) -> Result<Response, A2aError> {
        let logged = self.read(&call.owner(), task).await?;
        let gone = || {
            A2aError::new(
                ErrorKind::TaskNotFound,
                format!("the task has no output {}", readable(artifact)),
                "read the task with GetTask to see what it has; outputs are not kept for ever",
            )
        };
        let newest = logged.outputs(logged.newest()).filter(|output| output.artifact_id == artifact).last();
        let log::Output { blob, media_type, .. } = newest.ok_or_else(gone)?.clone();
        if self.log.blob(&blob, 0..0).await?.is_none() {
            return Err(gone());
        }
        let tag = format!("\"{}\"", blob.sha256);
        let digest = format!("sha-256=:{}:", STANDARD.encode(blob.sha256.bytes()));
        let about = [
            (header::ACCEPT_RANGES, "bytes".to_owned()),
            (header::ETAG, tag.clone()),
            (HeaderName::from_static("repr-digest"), digest),
            // Whatever a client's job has written is not for a browser to interpret.
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
            (header::CONTENT_DISPOSITION, "attachment".to_owned()),
        ];
        let (status, range) = match asked(headers, &tag, blob.bytes) {
            Asked::Whole => (StatusCode::OK, 0..blob.bytes),
            Asked::Range(range) => (StatusCode::PARTIAL_CONTENT, range),
            Asked::Nothing => {
                let length = [(header::CONTENT_RANGE, format!("bytes */{}", blob.bytes))];
                return Ok((StatusCode::RANGE_NOT_SATISFIABLE, about, length).into_response());
            }
        };
        let place = self.stream_place(call)?;
        let mut response = (status, about).into_response();
        let headers = response.headers_mut();
        let media_type = HeaderValue::try_from(media_type);
        let unknown = HeaderValue::from_static("application/octet-stream");
        headers.insert(header::CONTENT_TYPE, media_type.unwrap_or(unknown));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
        if status == StatusCode::PARTIAL_CONTENT {
            let said = format!("bytes {}-{}/{}", range.start, range.end - 1, blob.bytes);
            headers.extend(HeaderValue::try_from(said).map(|value| (header::CONTENT_RANGE, value)));
        }
        let pieces = stream::unfold((self.clone(), range, place), move |(server, range, place)| async move {
            if range.is_empty() {
                return None;
            }
            let end = range.end.min(range.start + PIECE_BYTES);
            let piece = match server.log.blob(&blob, range.start..end).await {
                Ok(Some(piece)) => Ok(piece),
                Ok(None) => Err(io::Error::other("the output is no longer kept")),
                Err(error) => Err(io::Error::other(error)),
            };
            // After an error the connection is cut: the length that was announced does not come.
            let rest = if piece.is_ok() { end..range.end } else { range.end..range.end };
            Some((piece, (server, rest, place)))
        });
        *response.body_mut() = Body::from_stream(pieces);
        Ok(response)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Range(Range<u64>),
    /// A range that the file does not have.
    Nothing,
}

/// What of a file with this tag and length is asked for. Several ranges, other units and what is not readable are
/// answered by the whole, as RFC 9110 §14.2 has it; so is a range of another version of the file.
fn asked(headers: &HeaderMap, tag: &str, length: u64) -> Asked {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::trim);
    if headers.contains_key(header::IF_RANGE) && text(header::IF_RANGE) != Some(tag) {
        return Asked::Whole;
    }
    let range = text(header::RANGE).and_then(|range| range.strip_prefix("bytes=")).and_then(|it| it.split_once('-'));
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // More than fits is more than any file has.
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let (first, last) = match range {
        Some(("", last)) => match number(last) {
            Some(last) => (length.saturating_sub(last), length),
            None => return Asked::Whole,
        },
        Some((first, "")) => match number(first) {
            Some(first) => (first, length),
            None => return Asked::Whole,
        },
        Some((first, last)) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1).min(length)),
            _ => return Asked::Whole,
        },
        None => return Asked::Whole,
    };
    if first < last { Asked::Range(first..last) } else { Asked::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(range: &str, if_range: Option<&str>, length: u64) -> Asked {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, range.parse().unwrap());
        if let Some(tag) = if_range {
            headers.insert(header::IF_RANGE, tag.parse().unwrap());
        }
        asked(&headers, "\"tag\"", length)
    }

    #[test]
    fn a_range_is_within_the_file_or_nothing_or_ignored() {
        for (range, expected) in [
            ("bytes=0-0", Asked::Range(0..1)),
            ("bytes=0-9", Asked::Range(0..10)),
            ("bytes=3-99", Asked::Range(3..10)),
            ("bytes=9-", Asked::Range(9..10)),
            ("bytes=-1", Asked::Range(9..10)),
            ("bytes=-99", Asked::Range(0..10)),
            ("bytes=2-18446744073709551616", Asked::Range(2..10)),
            ("bytes=10-", Asked::Nothing),
            ("bytes=10-11", Asked::Nothing),
            ("bytes=99999999999999999999-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=4-3", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("bytes=+1-2", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("lines=0-1", Asked::Whole),
        ] {
            assert_eq!(of(range, None, 10), expected, "{range}");
        }
        assert_eq!(of("bytes=0-", None, 0), Asked::Nothing);
        assert_eq!(of("bytes=1-2", Some("\"tag\""), 10), Asked::Range(1..3));
        for other in ["\"other\"", "W/\"tag\"", "Sat, 21 Nov 2026 08:00:00 GMT"] {
            assert_eq!(of("bytes=1-2", Some(other), 10), Asked::Whole, "{other}");
        }
    }
}
