//! Reading server-sent events.

use bytes::BytesMut;
use tender_base::{Code, Problem, job::MAX_BLOB_BYTES};

/// Largest event: an output in base64 (×4/3), and a mebibyte for what is around it.
pub(super) const MAX_EVENT_BYTES: usize = (MAX_BLOB_BYTES as usize).div_ceil(3) * 4 + (1 << 20);

/// Longest id of an event that is remembered.
const MAX_ID_BYTES: usize = 256;

/// Splits a byte stream into its events. Comments and other fields are skipped.
pub(crate) struct Decoder {
    /// Most bytes of one event.
    most: usize,
    buffer: BytesMut,
    /// Bytes of `buffer` known to hold no line end: a large event arrives in thousands of pieces.
    scanned: usize,
    data: Vec<u8>,
    has_data: bool,
    id: Option<String>,
}

/// One event.
#[derive(Debug, PartialEq)]
pub(crate) struct Event {
    /// What it is resumed after, if it says so.
    pub(super) id: Option<String>,
    pub(super) data: Vec<u8>,
}

impl Decoder {
    /// Refuses events of more bytes than `most`.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, buffer: BytesMut::new(), scanned: 0, data: Vec::new(), has_data: false, id: None }
    }

    /// Takes what arrived.
    ///
    /// # Errors
    /// [`Code::TooLarge`] when an event is larger than it may be.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        if self.buffer.len() + self.data.len() + bytes.len() > self.most {
            return Err(Problem::new(
                Code::TooLarge,
                "the peer sent an event larger than any output may be",
                "do not trade with this peer; tell its owner",
            ));
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The next complete event.
    pub(crate) fn next(&mut self) -> Option<Event> {
        while let Some(at) = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n') {
            let mut line = self.buffer.split_to(self.scanned + at + 1);
            self.scanned = 0;
            line.truncate(line.len() - 1);
            if line.last() == Some(&b'\r') {
                line.truncate(line.len() - 1);
            }
            if line.is_empty() {
                let (data, id) = (std::mem::take(&mut self.data), self.id.take());
                if std::mem::take(&mut self.has_data) {
                    return Some(Event { id, data });
                }
            } else if let Some(value) = line.strip_prefix(b"data:") {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
                self.has_data = true;
            } else if let Some(value) = line.strip_prefix(b"id:") {
                let value = std::str::from_utf8(value.strip_prefix(b" ").unwrap_or(value)).ok();
                let fit = |id: &&str| id.len() <= MAX_ID_BYTES && !id.contains(|c: char| c.is_control());
                self.id = value.filter(fit).map(str::to_owned);
            }
        }
        self.scanned = self.buffer.len();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAM: &[u8] =
        b": hello\n\nid: 0\ndata: {\"a\":\ndata:1}\n\n:\nevent: x\r\ndata: two\r\n\r\ndata:\n\ndata: cut";

    fn events(pieces: &[&[u8]]) -> Vec<Event> {
        let mut decoder = Decoder::new(MAX_EVENT_BYTES);
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(piece).unwrap();
            events.extend(std::iter::from_fn(|| decoder.next()));
        }
        events
    }

    #[test]
    fn comments_and_other_fields_are_skipped_and_an_unfinished_event_is_none() {
        let event = |id: Option<&str>, data: &[u8]| Event { id: id.map(str::to_owned), data: data.to_vec() };
        assert_eq!(events(&[STREAM]), [event(Some("0"), b"{\"a\":\n1}"), event(None, b"two"), event(None, b"")]);
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut decoder = Decoder::new(MAX_EVENT_BYTES);
        let piece = vec![b'x'; 8 << 20];
        let refused = (0..20).find_map(|_| decoder.push(&piece).err());
        assert_eq!(refused.unwrap().code, Code::TooLarge);
    }

    proptest! {
        #[test]
        fn how_the_bytes_arrive_does_not_matter(cuts in proptest::collection::vec(0..STREAM.len(), 0..8)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &STREAM[w[0]..w[1]]).collect();
            prop_assert_eq!(events(&pieces), events(&[STREAM]));
        }
    }
}
