//! Whether a model fits, said before it is loaded.

use super::{Known, Shelf};
use crate::{metering, node::Node, settings::Settings};
use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};
use tender_base::{
    Code, Problem, Sha256,
    catalogue::{Footprint, ModelKind},
    frames::{MEMORY_BUDGET_PERCENT, TextLimits},
};
use tokio::task::spawn_blocking;

/// A look at free memory is good for so long: proposals come in bursts, and a driver is asked each time.
const FRESH: Duration = Duration::from_secs(2);
/// How long a peer's call may wait for the adapter to be opened for the first time. Proposals are due within a second.
const PATIENCE: Duration = Duration::from_millis(300);

/// Memory that a model may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Bytes; none where nothing tells.
    pub(crate) free_bytes: Option<u64>,
    /// Which memory, such as `main memory`; or why nothing tells.
    pub(crate) what: String,
}

/// Memory, and when it was looked at.
pub(super) struct Look {
    at: Instant,
    memory: Memory,
}

/// Whether a model fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fit {
    /// Memory that it takes.
    pub(crate) needed_bytes: u64,
    /// Whether that is free; none where nothing tells.
    pub(crate) fits: Option<bool>,
    /// The same in a sentence.
    pub(crate) sentence: String,
}

impl Fit {
    /// Compares what is needed with what is free. `held` is what the worker would give back first: the model that it
    /// holds now, which is unloaded before another one is loaded.
    pub(crate) fn of(needed_bytes: u64, memory: &Memory, held: u64) -> Self {
        let free = memory.free_bytes.map(|bytes| bytes.saturating_add(held));
        let fits = free.map(|free| needed_bytes <= free);
        let (needed, what) = (size(needed_bytes), &memory.what);
        let sentence = match free {
            Some(free) => format!("It needs {needed}; {} of {what} are free.", size(free)),
            None => format!("It needs {needed}; how much is free is not known: {what}."),
        };
        Self { needed_bytes, fits, sentence }
    }
}

/// Memory that a model takes with the limits of this node.
pub(super) fn needed_bytes(kind: ModelKind, footprint: &Footprint, limits: &TextLimits) -> u64 {
    match kind {
        ModelKind::Text => footprint.needed_bytes(limits),
        // An encoder keeps nothing between passages.
        ModelKind::Embed => footprint.needed_bytes(&TextLimits { context_tokens: 0, sequences: 0, cache_bytes: 0 }),
    }
}

impl Node {
    /// What the worker keeps for text.
    pub(super) fn text_limits(settings: &Settings) -> TextLimits {
        crate::serve::engine_options(settings).text
    }

    /// Whether a model fits into what is free now.
    pub(super) fn fit(&self, settings: &Settings, known: Known<'_>, memory: &Memory) -> Fit {
        let limits = Self::text_limits(settings);
        let needed = |known: Known<'_>| needed_bytes(known.kind(), &known.footprint(), &limits);
        let held = self.engine.text_model().map_or(0, |sha256: Sha256| {
            let loaded = super::known(settings).find(|known| known.sha256() == sha256);
            loaded.map_or(0, needed)
        });
        Fit::of(needed(known), memory, held)
    }

    /// That a model fits, or at least nothing says that it does not.
    ///
    /// # Errors
    /// [`Code::Unavailable`] with what it needs and what is free.
    pub(super) async fn fitting(&self, settings: &Settings, known: Known<'_>) -> Result<(), Problem> {
        // What is loaded has its memory already.
        if self.engine.text_model() == Some(known.sha256()) {
            return Ok(());
        }
        let memory = self.free_memory(settings, PATIENCE).await;
        let fit = self.fit(settings, known, &memory);
        if fit.fits != Some(false) {
            return Ok(());
        }
        Err(Problem::new(
            Code::Unavailable,
            format!("the model {} does not fit. {}", known.name(), fit.sentence),
            "close what uses the memory, or choose a smaller model: `tender models` says what fits",
        ))
    }

    /// Memory that is free now, of the adapter that computes: by the card's sensor, or the main memory where the
    /// adapter uses that. An adapter that has never been opened is opened for this, for which the answer waits
    /// `patience` at most.
    pub(super) async fn free_memory(&self, settings: &Settings, patience: Duration) -> Memory {
        let shelf = &self.models;
        if let Some(look) = shelf.look() {
            return look;
        }
        if self.engine.info().is_none() && !shelf.adapter.initialized() {
            let engine = self.engine.clone();
            let opening = self.tasks.spawn(async move {
                // Why it cannot be opened is said by the doctor, and by the first job.
                let _ = engine.open().await;
            });
            if tokio::time::timeout(patience, opening).await.is_ok() {
                // Whether it could be opened or not: it is not tried at every look.
                let _ = shelf.adapter.set(());
            }
        }
        let memory = self.look_at_memory(settings).await;
        shelf.looked(memory.clone(), Instant::now());
        memory
    }

    async fn look_at_memory(&self, settings: &Settings) -> Memory {
        let unknown = |what: String| Memory { free_bytes: None, what };
        let Some(worker) = self.engine.info() else {
            return unknown("the adapter has not been opened yet".to_owned());
        };
        let adapter = worker.adapter;
        if self.engine.uses_main_memory() == Some(true) {
            let free_bytes = spawn_blocking(tender_host::free::main_memory).await.ok().flatten();
            return match free_bytes {
                Some(_) => Memory { free_bytes, what: format!("the main memory, which {adapter} works in,") },
                None => unknown("this system does not say how much main memory is free".to_owned()),
            };
        }
        let (chosen, named) = (settings.sensor.clone(), adapter.clone());
        let free = spawn_blocking(move || metering::free_video_memory(&named, chosen.as_deref())).await.ok().flatten();
        match free {
            Some((used, total)) => {
                // The worker leaves the rest to the desktop.
                let budget =
                    u64::try_from(u128::from(total) * u128::from(MEMORY_BUDGET_PERCENT) / 100).unwrap_or(total);
                let free_bytes = Some(budget.saturating_sub(used));
                Memory { free_bytes, what: format!("the video memory of {adapter}") }
            }
            None => unknown(format!("there is no sensor for {adapter}")),
        }
    }
}

impl Shelf {
    /// Keeps a look for those that follow.
    pub(super) fn looked(&self, memory: Memory, at: Instant) {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = Some(Look { at, memory });
    }

    /// The last look, if it is fresh.
    fn look(&self) -> Option<Memory> {
        let last = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|look| look.at.elapsed() < FRESH).map(|look| look.memory.clone())
    }
}

/// Bytes in binary units, one decimal.
pub(super) fn size(bytes: u64) -> String {
    let gib = bytes as f64 / f64::from(1 << 30);
    if gib >= 1.0 { format!("{gib:.1} GiB") } else { format!("{:.0} MiB", gib * 1024.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn what_fits_is_what_is_free_and_what_the_worker_gives_back() {
        let memory = |free_bytes| Memory { free_bytes, what: "main memory".to_owned() };
        let fit = Fit::of(6 * GIB, &memory(Some(6 * GIB)), 0);
        assert_eq!((fit.fits, fit.needed_bytes), (Some(true), 6 * GIB), "to the byte");
        let fit = Fit::of(6 * GIB + 1, &memory(Some(6 * GIB)), 0);
        assert_eq!(fit.fits, Some(false));
        assert_eq!(fit.sentence, "It needs 6.0 GiB; 6.0 GiB of main memory are free.");
        assert_eq!(Fit::of(6 * GIB, &memory(Some(GIB)), 5 * GIB).fits, Some(true), "the loaded model goes first");
        assert_eq!(Fit::of(u64::MAX, &memory(Some(GIB)), u64::MAX).fits, Some(true), "nothing overflows");
    }

    #[test]
    fn what_nobody_tells_stays_unknown() {
        let memory = Memory { free_bytes: None, what: "there is no sensor for Card".to_owned() };
        let fit = Fit::of(GIB, &memory, GIB);
        assert_eq!(fit.fits, None);
        assert_eq!(fit.sentence, "It needs 1.0 GiB; how much is free is not known: there is no sensor for Card.");
    }

    #[test]
    fn an_encoder_needs_its_weights_and_the_allowance() {
        let footprint = tender_base::catalogue::MINILM.footprint;
        let limits = TextLimits { context_tokens: 8192, sequences: 16, cache_bytes: GIB };
        let allowance = tender_base::catalogue::OVERHEAD_BYTES;
        // One part in 36 is what repacked weights take more.
        let weights = |bytes: u64| bytes + bytes.div_ceil(36);
        let needed = needed_bytes(ModelKind::Embed, &footprint, &limits);
        assert_eq!(needed, weights(footprint.weight_bytes) + allowance);
        let text = tender_base::catalogue::SMOLLM2.footprint;
        // 16 × 8192 tokens of 23,040 bytes would be 3 GiB, but no more than 1 GiB is kept.
        assert_eq!(text.cache_bytes_per_token, 23_040);
        let logits = 128 * 49_152 * 4;
        let needed = needed_bytes(ModelKind::Text, &text, &limits);
        assert_eq!(needed, weights(text.weight_bytes) + GIB + logits + allowance);
    }
}
