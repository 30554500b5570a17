//! How plausible a text is that another machine claims to have written with this model.

use super::{
    model::TextModel,
    network::{Pick, Row},
    sample,
};
use crate::{Error, device::Gpu};
use tender_base::job::Sampling;

impl TextModel {
    /// Feeds prompt and claim (teacher forcing) and returns, for each claimed token, how far it is behind the one that
    /// this model chooses there: 0 where they agree. Greedily that is the highest logit minus the claimed token's;
    /// with a temperature see [`sample::margin`]. One pass over the prompt; at most a pass's rows of logits are kept.
    /// Nothing when no slot or no page is free: try again when a text has ended.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty prompt or claim, tokens outside the vocabulary, sampling out of range, or more
    /// tokens than the context or the memory holds; [`Error::BadOutput`] when the model computes no number; or
    /// whatever file or GPU report.
    pub fn score(
        &mut self,
        gpu: &Gpu,
        prompt: &[u32],
        claimed: &[u32],
        sampling: Sampling,
    ) -> Result<Option<Vec<f32>>, Error> {
        sampling.check()?;
        if claimed.is_empty() {
            return Err(Error::Invalid("no token is claimed".into()));
        }
        let length = prompt.len() as u64 + claimed.len() as u64;
        self.check(prompt, claimed, length)?;
        // Within the context, and so far below 2³².
        let Some((slot, pages)) = self.reserve(gpu, length as u32) else { return Ok(None) };
        let margins = self.margins(gpu, slot, prompt, claimed, &sampling);
        self.free(gpu, slot, pages)?;
        margins.map(Some)
    }

    fn margins(
        &self,
        gpu: &Gpu,
        slot: u32,
        prompt: &[u32],
        claimed: &[u32],
        sampling: &Sampling,
    ) -> Result<Vec<f32>, Error> {
        let mut margins = Vec::with_capacity(claimed.len());
        // The last claimed token is judged, but nothing follows from it.
        let tokens: Vec<u32> = prompt.iter().chain(&claimed[..claimed.len() - 1]).copied().collect();
        let first = prompt.len() - 1;
        let most = self.network.most_rows().min(self.network.most_picks()) as usize;
        for (chunk, start) in tokens.chunks(most).zip((0..).step_by(most)) {
            let rows: Vec<Row> =
                (start as u32..).zip(chunk).map(|(position, &token)| Row { token, position, slot }).collect();
            let picks: Vec<Pick> = (start..start + chunk.len())
                .filter(|position| *position >= first)
                .map(|position| Pick { row: (position - start) as u32, wanted: claimed[position - first] })
                .collect();
            let best = self.network.forward(gpu, &rows, &picks)?;
            for (number, (pick, best)) in (0..).zip(picks.iter().zip(best)) {
                margins.push(if sampling.temperature > 0.0 {
                    // The position of the token that is chosen, not of the one that it follows.
                    let position = start as u32 + pick.row + 1;
                    sample::margin(&self.network.logits(gpu, number)?, sampling, position, pick.wanted)?
                } else {
                    best.highest - best.wanted
                });
            }
        }
        Ok(margins)
    }
}
