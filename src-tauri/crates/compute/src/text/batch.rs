//! Continuous batching: texts come and go between the passes, and every pass takes them all one step further, those
//! that are written and those that are judged.

#[cfg(test)]
mod tests;

use super::{
    model::TextModel,
    network::{Best, MAX_SEQUENCES, Pick, Row},
    sample,
    vocab::Vocab,
};
use crate::{Error, device::Gpu};
use tender_base::{job::Sampling, text::Finish};

/// A text under way.
pub(super) struct Sequence {
    pub id: u64,
    pub slot: u32,
    pub pages: Vec<u32>,
    /// Prompt and what was written so far, or all that is claimed.
    pub tokens: Vec<u32>,
    pub prompt: u32,
    pub task: Task,
    /// Tokens whose keys and values are in the cache.
    pub done: u32,
    pub sampling: Sampling,
}

/// What is done with a text.
pub(super) enum Task {
    /// It is written until `tokens` has this length.
    Write { most: u32 },
    /// It is judged; how far each claimed token is behind.
    Judge { margins: Vec<f32> },
}

/// What a pass takes, and what it means for the sequences.
#[derive(Default)]
struct Plan {
    rows: Vec<Row>,
    picks: Vec<Pick>,
    /// The sequence of each pick, and the position of the token that is chosen or judged there.
    whose: Vec<(usize, u32)>,
    /// Sequences with the number of their tokens that enter the cache.
    advanced: Vec<(usize, u32)>,
    /// Picks of which all logits are wanted.
    sampled: Vec<u32>,
}

/// What a pass did for a text. One that is only being read gets none.
#[derive(Debug)]
pub struct Step {
    /// Of the request.
    pub id: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// What a pass came to for one text.
#[derive(Debug)]
pub enum Outcome {
    /// A token was written, also one that ends the text; and why the text ended, if it did.
    Written(u32, Option<Finish>),
    /// The claimed text is judged: for each of its tokens, how far it is behind the one that this model chooses there,
    /// in logits.
    Judged(Vec<f32>),
    /// The model computes no number for this text, which ends; the others go on.
    Failed(Error),
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
        if max_tokens == 0 {
            return Err(Error::Invalid("max_tokens is 0; ask for at least one".into()));
        }
        let length = prompt.len() as u64 + u64::from(max_tokens);
        // Within the context once it is accepted, and so far below 2³².
        self.begin(gpu, id, (prompt, &[]), length, Task::Write { most: length as u32 }, sampling)
    }

    /// Reserves what a text of `length` tokens needs. False when it is not free.
    pub(super) fn begin(
        &mut self,
        gpu: &Gpu,
        id: u64,
        (prompt, claimed): (&[u32], &[u32]),
        length: u64,
        task: Task,
        sampling: Sampling,
    ) -> Result<bool, Error> {
        sampling.check()?;
        if self.sequences.iter().any(|sequence| sequence.id == id) {
            return Err(Error::Invalid(format!("request {id} is under way already")));
        }
        self.check(prompt, claimed, length)?;
        let Some((slot, pages)) = self.reserve(gpu, length as u32) else { return Ok(false) };
        let tokens = [prompt, claimed].concat();
        let prompt = prompt.len() as u32;
        self.sequences.push(Sequence { id, slot, pages, tokens, prompt, task, done: 0, sampling });
        Ok(true)
    }

    /// Whether a text is under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.sequences.is_empty()
    }

    /// One pass over the GPU: a token for every text whose prompt is in the cache, and a part of the prompts and of the
    /// claims of the others. Texts that ended are forgotten and their pages zeroed. Nothing when no text is under way.
    ///
    /// # Errors
    /// Whatever file or GPU report. The texts under way are lost then; [`Self::cancel`] them.
    pub fn step(&mut self, gpu: &Gpu) -> Result<Vec<Step>, Error> {
        let Plan { rows, picks, whose, advanced, sampled } = self.plan();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let best = self.network.forward(gpu, &rows, &picks)?;
        let mut logits = self.network.logits(gpu, &sampled)?.into_iter();
        for (at, count) in advanced {
            self.sequences[at].done += count;
        }
        let mut steps: Vec<Step> = Vec::new();
        for ((pick, best), (at, position)) in picks.iter().zip(best).zip(whose) {
            let sequence = &mut self.sequences[at];
            let logits = if sequence.sampling.temperature > 0.0 { logits.next() } else { None };
            // A claim has several picks, and ends with the first that fails.
            if steps.last().is_some_and(|step| step.id == sequence.id) {
                continue;
            }
            let outcome = sequence.take(self.tokenizer.vocab(), pick, best, logits.as_deref(), position);
            let outcome = outcome.unwrap_or_else(|error| Some(Outcome::Failed(error)));
            steps.extend(outcome.map(|outcome| Step { id: sequence.id, outcome }));
        }
        for step in steps.iter().filter(|step| !matches!(step.outcome, Outcome::Written(_, None))) {
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

    /// The next pass. Texts that are being written go first, so that they never wait for a prompt or a claim; then
    /// those in the order of admission.
    fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        let (writing, waiting): (Vec<_>, Vec<_>) = self.sequences.iter().enumerate().partition(|(_, s)| s.is_written());
        for (at, sequence) in writing.into_iter().chain(waiting) {
            let (first_pick, end) = sequence.picked();
            let is_sampled = sequence.sampling.temperature > 0.0;
            let mut picks = self.network.most_picks() - plan.picks.len() as u32;
            if is_sampled && matches!(sequence.task, Task::Judge { .. }) {
                // The CPU looks through all logits of each: no more than when the model writes all the texts it can.
                picks = picks.min(MAX_SEQUENCES.saturating_sub(plan.sampled.len() as u32));
            }
            let rows = self.network.most_rows() - plan.rows.len() as u32;
            let count = (end - sequence.done).min(rows).min(first_pick.max(sequence.done) - sequence.done + picks);
            for position in sequence.done..sequence.done + count {
                if position >= first_pick {
                    if is_sampled {
                        plan.sampled.push(plan.picks.len() as u32);
                    }
                    // What follows is known of a claim only.
                    let wanted = sequence.tokens.get(position as usize + 1).copied().unwrap_or_default();
                    plan.picks.push(Pick { row: plan.rows.len() as u32, wanted });
                    plan.whose.push((at, position + 1));
                }
                plan.rows.push(Row { token: sequence.tokens[position as usize], position, slot: sequence.slot });
            }
            plan.advanced.push((at, count));
        }
        plan
    }
}

impl Sequence {
    /// Whether the next pass writes a token of it.
    fn is_written(&self) -> bool {
        matches!(self.task, Task::Write { .. }) && self.done >= self.prompt
    }

    /// The first position after which a token is chosen or judged, and the end of what is fed.
    fn picked(&self) -> (u32, u32) {
        let length = self.tokens.len() as u32;
        match self.task {
            Task::Write { .. } => (length - 1, length),
            // The last claimed token is judged, but nothing follows from it.
            Task::Judge { .. } => (self.prompt - 1, length - 1),
        }
    }

    /// Takes what a pass found for the token at `position`; `logits` when it is drawn, not the likeliest.
    fn take(
        &mut self,
        vocab: &Vocab,
        pick: &Pick,
        best: Result<Best, Error>,
        logits: Option<&[f32]>,
        position: u32,
    ) -> Result<Option<Outcome>, Error> {
        let best = best?;
        match &mut self.task {
            Task::Write { most } => {
                let token = match logits {
                    Some(logits) => sample::choose(logits, &self.sampling, position)?,
                    None => best.token,
                };
                self.tokens.push(token);
                let finished = if vocab.ends(token) {
                    Some(Finish::Stop)
                } else {
                    (self.tokens.len() as u32 == *most).then_some(Finish::Length)
                };
                Ok(Some(Outcome::Written(token, finished)))
            }
            Task::Judge { margins } => {
                margins.push(match logits {
                    Some(logits) => sample::margin(logits, &self.sampling, position, pick.wanted)?,
                    None => best.highest - best.wanted,
                });
                let all = self.tokens.len() - self.prompt as usize;
                Ok((margins.len() == all).then(|| Outcome::Judged(std::mem::take(margins))))
            }
        }
    }
}
