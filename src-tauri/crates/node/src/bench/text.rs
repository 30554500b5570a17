//! A language model under measurement: through the engine and the worker's frames, as a client's text goes.

use super::wrong;
use futures::future::try_join_all;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tender_base::{
    Code, Problem, Sha256, Work,
    job::{GenerateWork, ModelRef, Sampling},
    text::{Finish, Generation, Prompt, Raw},
};
use tender_engine::{Engine, LocalEngine, Order, Progress, Tenant};
use tender_market::verification::{MAX_MARGIN, MAX_MEAN_MARGIN};
use tokio::sync::watch;

/// Longest that one text may take.
const WALL_LIMIT: Duration = Duration::from_secs(240);

/// When so many tokens of a text were known.
pub(super) type Marks = Vec<(Instant, u32)>;

/// A model and the engine that has it.
pub(super) struct Model {
    engine: Arc<LocalEngine>,
    pub(super) file: PathBuf,
    named: ModelRef,
}

/// A prompt with its number of tokens.
#[derive(Clone)]
pub(super) struct Counted {
    pub(super) text: String,
    json: Vec<u8>,
    pub(super) tokens: u32,
}

impl Model {
    /// Hashes the file.
    pub(super) async fn open(engine: Arc<LocalEngine>, file: &Path) -> Result<Self, Problem> {
        let path = file.to_owned();
        let hashed = tokio::task::spawn_blocking(move || Sha256::of_reader(std::fs::File::open(path)?)).await;
        let sha256 = hashed.ok().transpose().ok().flatten().ok_or_else(|| {
            let hint = "run `tender models get NAME`, or name a GGUF file with --model";
            Problem::new(Code::NotFound, format!("the model file {} cannot be read", file.display()), hint)
        })?;
        let name = file.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok(Self { engine, file: file.to_owned(), named: ModelRef { name, sha256 } })
    }

    pub(super) fn name(&self) -> &str {
        &self.named.name
    }

    pub(super) async fn count(&self, text: String) -> Result<Counted, Problem> {
        let json = serde_json::to_vec(&Prompt::Raw(Raw { prompt: text.clone() }))
            .map_err(|e| Problem::new(Code::Internal, format!("a prompt is no JSON: {e}"), ""))?;
        let counted = self.engine.count_tokens(&self.file, json.clone().into(), Tenant::Own).await?;
        Ok(Counted { text, json, tokens: counted.first().copied().unwrap_or(0) })
    }

    fn order(&self, prompt: &Counted, max_tokens: u32) -> Order {
        let work = GenerateWork {
            model: self.named.clone(),
            prompt_tokens: prompt.tokens,
            max_tokens,
            sampling: Sampling::GREEDY,
            stop: Vec::new(),
        };
        Order {
            work: Work::Generate(work),
            input: prompt.json.clone().into(),
            model: Some(self.file.clone()),
            parts: None,
            wall_limit: WALL_LIMIT,
            tenant: Tenant::Own,
        }
    }

    /// Writes a text: when so many of its tokens were known, the last mark at its end, and the text.
    pub(super) async fn write(&self, prompt: &Counted, max_tokens: u32) -> Result<(Marks, Generation), Problem> {
        let (sender, mut seen) = watch::channel(Progress::default());
        let running = self.engine.run(self.order(prompt, max_tokens), sender);
        tokio::pin!(running);
        let (mut marks, mut open) = (Marks::new(), true);
        loop {
            tokio::select! {
                output = &mut running => {
                    let output = output?;
                    // Of prompt and text together.
                    let written = output.units.saturating_sub(u64::from(prompt.tokens));
                    marks.push((Instant::now(), u32::try_from(written).unwrap_or(u32::MAX)));
                    let text = serde_json::from_slice(&output.bytes).map_err(|e| wrong(format!("no text came: {e}")))?;
                    return Ok((marks, text));
                }
                changed = seen.changed(), if open => {
                    open = changed.is_ok();
                    let done = seen.borrow_and_update().done;
                    if done > marks.last().map_or(0, |(_, done)| *done) {
                        marks.push((Instant::now(), done));
                    }
                }
            }
        }
    }

    /// Tokens of a prompt per second, to the first token of the text.
    pub(super) async fn prefill(&self, prompt: &Counted) -> Result<f64, Problem> {
        let started = Instant::now();
        self.write(prompt, 1).await?;
        Ok(f64::from(prompt.tokens) / started.elapsed().as_secs_f64())
    }

    /// Tokens per second of texts that are written together, all of them, while none has ended.
    pub(super) async fn decode(&self, prompts: &[Counted], tokens: u32) -> Result<f64, Problem> {
        let written = try_join_all(prompts.iter().map(|prompt| self.write(prompt, tokens))).await?;
        let marks: Vec<Marks> = written.into_iter().map(|(marks, _)| marks).collect();
        rate(&marks).ok_or_else(|| {
            let message = format!("a text of {} ended before its speed could be measured", self.named.name);
            Problem::new(Code::WorkFailed, message, "try another model, or the same again")
        })
    }

    /// Judges a greedy text by this model: the mean margin and how many tokens.
    ///
    /// # Errors
    /// When the text is not this model's.
    pub(super) async fn judge(&self, prompt: &Counted, max_tokens: u32, text: &Generation) -> Result<String, Problem> {
        let claim = serde_json::to_vec(text).map_err(|e| wrong(format!("a text is no JSON: {e}")))?;
        let scores = self.engine.score(self.order(prompt, max_tokens), claim.into()).await?;
        if let Some(fault) = scores.fault {
            return Err(wrong(format!("a text contradicts itself: {fault}")));
        }
        let margins: Vec<f64> = scores.margins.into_iter().map(f64::from).collect();
        let most = margins.iter().copied().fold(0.0, f64::max);
        let mean = margins.iter().sum::<f64>() / margins.len() as f64;
        let found = format!("{} tokens, mean margin {mean:.4}, largest {most:.4}", margins.len());
        // A mean that is no number passes no comparison.
        if mean <= MAX_MEAN_MARGIN && most <= MAX_MARGIN {
            Ok(found)
        } else {
            Err(wrong(format!("a text is not the model's: {found}")))
        }
    }
}

/// The text that a peer wrote.
pub(super) fn generation(answer: &Value) -> Option<Generation> {
    let tokens = answer["tokens"].as_array()?.iter().map(|token| token.as_u64().and_then(|t| u32::try_from(t).ok()));
    let finish = if answer["finish"] == "stop" { Finish::Stop } else { Finish::Length };
    Some(Generation { text: answer["text"].as_str()?.to_owned(), tokens: Some(tokens.collect::<Option<_>>()?), finish })
}

/// Tokens per second of all texts together, from when each has its first to when one has its last.
fn rate(texts: &[Marks]) -> Option<f64> {
    let from = texts.iter().filter_map(|marks| marks.first()).map(|(at, _)| *at).max()?;
    let to = texts.iter().filter_map(|marks| marks.last()).map(|(at, _)| *at).min()?;
    let until = |then: Instant| -> u32 {
        let of = |marks: &Marks| marks.iter().take_while(|(at, _)| *at <= then).last().map_or(0, |(_, tokens)| *tokens);
        texts.iter().map(of).sum()
    };
    let (tokens, seconds) = (until(to).saturating_sub(until(from)), to.saturating_duration_since(from).as_secs_f64());
    (tokens > 0 && seconds > 0.0).then(|| f64::from(tokens) / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_counts_what_was_written_while_all_were_writing() {
        let start = Instant::now();
        let marks = |all: &[(u64, u32)]| -> Marks {
            all.iter().map(|(ms, tokens)| (start + Duration::from_millis(*ms), *tokens)).collect()
        };
        let one = marks(&[(0, 1), (500, 6), (1000, 11)]);
        assert!((rate(std::slice::from_ref(&one)).unwrap() - 10.0).abs() < 1e-9);
        // The second begins later and ends earlier: between 500 and 900 ms one has 6 and then 6, the other 1 and 5.
        let two = marks(&[(500, 1), (900, 5)]);
        assert!((rate(&[one, two]).unwrap() - 4.0 / 0.4).abs() < 1e-9);
        assert_eq!(rate(&[marks(&[(0, 1)])]), None, "nothing was written after the first token");
        assert_eq!(rate(&[]), None);
    }
}
