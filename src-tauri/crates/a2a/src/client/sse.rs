//! Reading server-sent events.

use bytes::BytesMut;
use tender_base::{Code, Problem, job::MAX_BLOB_BYTES};

/// Largest event: an output in base64 (×4/3), and a mebibyte for what is around it.
pub(super) const MAX_EVENT_BYTES: usize = (MAX_BLOB_BYTES as usize).div_ceil(3) * 4 + (1 << 20);

/// Splits a byte stream into the data of its events. Comments and other fields are skipped.
#[derive(Default)]
pub(super) struct Decoder {
    buffer: BytesMut,
    /// Bytes of `buffer` known to hold no line end: a large event arrives in thousands of pieces.
    scanned: usize,
    data: Vec<u8>,
    has_data: bool,
}

impl Decoder {
    /// Takes what arrived.
    ///
    /// # Errors
    /// [`Code::TooLarge`] when an event is larger than [`MAX_EVENT_BYTES`].
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        if self.buffer.len() + self.data.len() + bytes.len() > MAX_EVENT_BYTES {
            return Err(Problem::new(
                Code::TooLarge,
                "the peer sent an event larger than any output may be",
                "do not trade with this peer; tell its owner",
            ));
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The data of the next complete event.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        while let Some(at) = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n') {
            let mut line = self.buffer.split_to(self.scanned + at + 1);
            self.scanned = 0;
            line.truncate(line.len() - 1);
            if line.last() == Some(&b'\r') {
                line.truncate(line.len() - 1);
            }
            if line.is_empty() {
                let data = std::mem::take(&mut self.data);
                if std::mem::take(&mut self.has_data) {
                    return Some(data);
                }
            } else if let Some(value) = line.strip_prefix(b"data:") {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
                self.has_data = true;
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

    fn events(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut decoder = Decoder::default();
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(piece).unwrap();
            events.extend(std::iter::from_fn(|| decoder.next()));
        }
        events
    }

    #[test]
    fn comments_and_other_fields_are_skipped_and_an_unfinished_event_is_none() {
        assert_eq!(events(&[STREAM]), [b"{\"a\":\n1}".to_vec(), b"two".to_vec(), b"".to_vec()]);
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut decoder = Decoder::default();
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
