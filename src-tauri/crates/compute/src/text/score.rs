//! How plausible a text is that another machine claims to have written with this model.

use super::{batch::Task, model::TextModel};
use crate::{Error, device::Gpu};
use tender_base::job::Sampling;

impl TextModel {
    /// Begins to judge a claimed text: prompt and claim are fed (teacher forcing), part by part beside the texts that
    /// are written, and [`Self::step`] says in the end how far each claimed token is behind the one that this model
    /// chooses there: 0 where they agree. Greedily that is the highest logit minus the claimed token's; with a
    /// temperature see [`super::sample::margin`]. False when no slot or no page is free: try again when another text
    /// has ended.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty prompt or claim, tokens outside the vocabulary, an id that is under way, sampling
    /// out of range, or more tokens than the context or the memory for keys and values holds.
    pub fn judge(
        &mut self,
        gpu: &Gpu,
        id: u64,
        prompt: &[u32],
        claimed: &[u32],
        sampling: Sampling,
    ) -> Result<bool, Error> {
        if claimed.is_empty() {
            return Err(Error::Invalid("no token is claimed".into()));
        }
        let length = prompt.len() as u64 + claimed.len() as u64;
        self.begin(gpu, id, (prompt, claimed), length, Task::Judge { margins: Vec::new() }, sampling)
    }
}
