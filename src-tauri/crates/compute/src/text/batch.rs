//! Continuous batching: texts come and go between the passes, and every pass takes them all one step further.

use super::{
    model::TextModel,
    network::{Pick, Row},
    sample,
};
use crate::{Error, device::Gpu};
use tender_base::{job::Sampling, text::Finish};

/// A text under way.
pub(super) struct Sequence {
    id: u64,
    slot: u32,
    pages: Vec<u32>,
    /// Prompt and what was written so far.
    tokens: Vec<u32>,
    prompt: u32,
    /// Length of `tokens` at which it ends.
    most: u32,
    /// Tokens whose keys and values are in the cache.
    done: u32,
    sampling: Sampling,
}

/// What a pass takes, and what it means for the sequences.
#[derive(Default)]
struct Plan {
    rows: Vec<Row>,
    picks: Vec<Pick>,
    /// The sequence of each pick.
    whose: Vec<usize>,
    /// Sequences with the number of their tokens that enter the cache.
    advanced: Vec<(usize, u32)>,
}

/// A token that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Of the request.
    pub id: u64,
    /// The token, also when it is the one that ends the text.
    pub token: u32,
    /// Why the text ended, if it did.
    pub finished: Option<Finish>,
}

impl TextModel {
    /// Begins to continue `prompt` by at most `max_tokens` tokens. False when no slot or no page is free: try again
    /// when another text has ended. All the memory that the text may need is reserved here, so that it never stops
    /// for want of it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty prompt, tokens outside the vocabulary, no token to write, an id that is under
    /// way, sampling out of range, or more tokens than the context or the memory for keys and values holds.
    pub fn admit(
        &mut self,
        gpu: &Gpu,
        id: u64,
        prompt: &[u32],
        max_tokens: u32,
        sampling: Sampling,
    ) -> Result<bool, Error> {
        sampling.check()?;
        if self.sequences.iter().any(|sequence| sequence.id == id) {
            return Err(Error::Invalid(format!("request {id} is under way already")));
        }
        if max_tokens == 0 {
            return Err(Error::Invalid("max_tokens is 0; ask for at least one".into()));
        }
        self.check(prompt, &[], prompt.len() as u64 + u64::from(max_tokens))?;
        // The context is far below 2³², and the sum is within it.
        let length = prompt.len() as u32;
        let Some((slot, pages)) = self.reserve(gpu, length + max_tokens) else { return Ok(false) };
        self.sequences.push(Sequence {
            id,
            slot,
            pages,
            tokens: prompt.to_vec(),
            prompt: length,
            most: length + max_tokens,
            done: 0,
            sampling,
        });
        Ok(true)
    }

    /// Whether a text is under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.sequences.is_empty()
    }

    /// One pass over the GPU: a token for every text whose prompt is in the cache, and a part of the prompts of the
    /// others. Texts that ended are forgotten and their pages zeroed. Nothing when no text is under way.
    ///
    /// # Errors
    /// [`Error::BadOutput`] when the model computes no number, or whatever file or GPU report. The texts under way
    /// are lost then; [`Self::cancel`] them.
    pub fn step(&mut self, gpu: &Gpu) -> Result<Vec<Step>, Error> {
        let Plan { rows, picks, whose, advanced } = self.plan();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let best = self.network.forward(gpu, &rows, &picks)?;
        for (at, count) in advanced {
            self.sequences[at].done += count;
        }
        let mut steps = Vec::new();
        for (number, (at, best)) in (0..).zip(whose.into_iter().zip(best)) {
            let sequence = &self.sequences[at];
            let token = if sequence.sampling.temperature > 0.0 {
                let position = sequence.tokens.len() as u32;
                sample::choose(&self.network.logits(gpu, number)?, &sequence.sampling, position)?
            } else {
                best.token
            };
            let ends = self.vocab().ends(token);
            let sequence = &mut self.sequences[at];
            sequence.tokens.push(token);
            let finished = if ends {
                Some(Finish::Stop)
            } else {
                (sequence.tokens.len() as u32 == sequence.most).then_some(Finish::Length)
            };
            steps.push(Step { id: sequence.id, token, finished });
        }
        for step in steps.iter().filter(|step| step.finished.is_some()) {
            self.cancel(gpu, step.id)?;
        }
        Ok(steps)
    }

    /// Forgets a text and zeroes its pages. Does nothing when no text of this id is under way.
    ///
    /// # Errors
    /// Whatever the GPU reports; the device is lost then.
    pub fn cancel(&mut self, gpu: &Gpu, id: u64) -> Result<(), Error> {
        let Some(at) = self.sequences.iter().position(|sequence| sequence.id == id) else { return Ok(()) };
        let sequence = self.sequences.remove(at);
        self.free(gpu, sequence.slot, sequence.pages)
    }

    /// The next pass. Texts that are being written go first, so that they never wait for a prompt; then prompts in the
    /// order of admission.
    fn plan(&self) -> Plan {
        let Plan { mut rows, mut picks, mut whose, mut advanced } = Plan::default();
        let (writing, waiting): (Vec<_>, Vec<_>) =
            self.sequences.iter().enumerate().partition(|(_, sequence)| sequence.done >= sequence.prompt);
        for (at, sequence) in writing.into_iter().chain(waiting) {
            let room = self.network.most_rows() - rows.len() as u32;
            let length = sequence.tokens.len() as u32;
            let count = (length - sequence.done).min(room);
            if count == 0 || picks.len() as u32 == self.network.most_picks() {
                break;
            }
            for position in sequence.done..sequence.done + count {
                rows.push(Row { token: sequence.tokens[position as usize], position, slot: sequence.slot });
            }
            if sequence.done + count == length {
                picks.push(Pick { row: rows.len() as u32 - 1, wanted: 0 });
                whose.push(at);
            }
            advanced.push((at, count));
        }
        Plan { rows, picks, whose, advanced }
    }
}
