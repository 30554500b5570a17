//! The loop of a worker that has a language model: requests come and go while texts are written together.

use super::{
    batch::{Outcome, Step},
    judge,
    model::TextModel,
    stream::Stream,
};
use crate::{Error, device::Gpu};
use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Read, Write},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use tender_base::{
    BlobRef, Problem, Work,
    frames::{self, Reply, Request},
    job::GenerateWork,
    text::{Finish, Generation, Prompt},
};

/// Requests read ahead of the loop; the node sends no more than the model has room for.
const READ_AHEAD: usize = 64;
/// Least time between two pieces of one text: twenty a second look fluid, and the pipe never fills.
const PIECE_INTERVAL: Duration = Duration::from_millis(50);

/// Serves requests about text until the input ends.
///
/// # Errors
/// What reading or writing says. After [`Reply::Failed`] the device is lost and nothing more is answered.
pub(crate) fn serve(
    gpu: &Gpu,
    model: &mut TextModel,
    mut input: impl Read + Send,
    output: &mut impl Write,
) -> io::Result<()> {
    let (came, requests) = mpsc::sync_channel(READ_AHEAD);
    thread::scope(|scope| {
        scope.spawn(move || {
            loop {
                let frame = frames::read_frame::<Request>(&mut input).transpose();
                let over = !matches!(frame, Some(Ok(_)));
                if frame.is_none_or(|frame| came.send(frame).is_err()) || over {
                    return;
                }
            }
        });
        Desk { gpu, model, output, waiting: VecDeque::new(), writing: BTreeMap::new(), judging: BTreeMap::new() }
            .run(&requests)
    })
}

struct Desk<'a, W> {
    gpu: &'a Gpu,
    model: &'a mut TextModel,
    output: &'a mut W,
    /// What the model has no room for yet, in the order in which it came.
    waiting: VecDeque<Waiting>,
    writing: BTreeMap<u64, Writing>,
    /// Claims under way, and when the last sign of life of each was sent.
    judging: BTreeMap<u64, Instant>,
}

struct Waiting {
    id: u64,
    work: GenerateWork,
    prompt: Vec<u32>,
    /// A text to judge; else one is to be written.
    claimed: Option<Vec<u32>>,
}

/// A text under way.
struct Writing {
    prompt: u64,
    tokens: Vec<u32>,
    stream: Stream,
    text: String,
    /// Of the text, already sent.
    sent: usize,
    said: Instant,
    /// When it had room: what it waited before is nobody's work.
    began: Instant,
}

type Frame = io::Result<(Request, Vec<u8>)>;

impl<W: Write> Desk<'_, W> {
    fn run(&mut self, requests: &mpsc::Receiver<Frame>) -> io::Result<()> {
        loop {
            loop {
                let idle = self.writing.is_empty() && self.judging.is_empty() && self.waiting.is_empty();
                let next = if idle { requests.recv().ok() } else { requests.try_recv().ok() };
                match next {
                    Some(frame) => {
                        let (request, payload) = frame?;
                        self.take(request, &payload)?;
                    }
                    // The input has ended, and nobody hears what is under way.
                    None if idle => return Ok(()),
                    None => break,
                }
            }
            self.admit()?;
            match self.model.step(self.gpu) {
                Ok(steps) => {
                    for step in steps {
                        self.advance(step)?;
                    }
                    self.show_life()?;
                }
                Err(error) => self.lose(error)?,
            }
        }
    }

    fn take(&mut self, request: Request, payload: &[u8]) -> io::Result<()> {
        match request {
            Request::Generate { id, work } => {
                let prompt = self.prompt(&work, payload);
                self.queue(id, prompt.map(|prompt| Waiting { id, work, prompt, claimed: None }))
            }
            Request::Score { id, work, prompt_bytes } => {
                let Some((prompt, claim)) = payload.split_at_checked(prompt_bytes as usize) else {
                    return self.refuse(id, Error::Invalid("the payload is shorter than prompt_bytes".into()));
                };
                let claimed = match judge::claimed(claim, &work, self.model.vocab()) {
                    Ok(tokens) => tokens,
                    Err(fault) => return self.send(&Reply::Scored { id, fault: Some(fault) }, &[]),
                };
                let prompt = self.prompt(&work, prompt);
                self.queue(id, prompt.map(|prompt| Waiting { id, work, prompt, claimed: Some(claimed) }))
            }
            Request::Cancel { id } => {
                self.waiting.retain(|waiting| waiting.id != id);
                self.writing.remove(&id);
                self.judging.remove(&id);
                self.cancel(id)
            }
            Request::Open
            | Request::Load { .. }
            | Request::CountTokens { .. }
            | Request::CountPrompt { .. }
            | Request::Run { .. }
            | Request::Measure { .. }
            | Request::Inspect { .. } => {
                let error = Error::Invalid("this worker has a language model and serves text only".into());
                self.send(&Reply::Failed { problem: error.into() }, &[])
            }
        }
    }

    /// The prompt's tokens, as many as the work declares.
    fn prompt(&self, work: &GenerateWork, payload: &[u8]) -> Result<Vec<u32>, Error> {
        Work::Generate(work.clone()).check(&BlobRef::of(payload))?;
        let tokens = self.model.tokenizer().encode(&Prompt::from_json(payload)?)?;
        if tokens.len() == work.prompt_tokens as usize {
            return Ok(tokens);
        }
        Err(Error::Invalid(format!("the prompt has {} tokens, not the declared {}", tokens.len(), work.prompt_tokens)))
    }

    fn queue(&mut self, id: u64, waiting: Result<Waiting, Error>) -> io::Result<()> {
        match waiting {
            Ok(waiting) => {
                self.waiting.push_back(waiting);
                Ok(())
            }
            Err(error) => self.refuse(id, error),
        }
    }

    /// Begins what waits, in order, as long as there is room, and says so: until then nothing is done for a request.
    fn admit(&mut self) -> io::Result<()> {
        while let Some(next) = self.waiting.pop_front() {
            let id = next.id;
            match self.begin(&next) {
                Ok(true) => self.send(&Reply::Text { id, tokens: 0 }, &[])?,
                Ok(false) => {
                    self.waiting.push_front(next);
                    return Ok(());
                }
                Err(error) if error.ends_device() => return self.lose(error),
                Err(error) => self.refuse(id, error)?,
            }
        }
        Ok(())
    }

    /// False when there is no room yet.
    fn begin(&mut self, next: &Waiting) -> Result<bool, Error> {
        let Waiting { id, work, prompt, claimed } = next;
        let now = Instant::now();
        if let Some(claimed) = claimed {
            let has_room = self.model.judge(self.gpu, *id, prompt, claimed, work.sampling)?;
            if has_room {
                self.judging.insert(*id, now);
            }
            return Ok(has_room);
        }
        if !self.model.admit(self.gpu, *id, prompt, work.max_tokens, work.sampling)? {
            return Ok(false);
        }
        let writing = Writing {
            prompt: prompt.len() as u64,
            tokens: Vec::new(),
            stream: Stream::new(&work.stop),
            text: String::new(),
            sent: 0,
            said: now,
            began: now,
        };
        self.writing.insert(*id, writing);
        Ok(true)
    }

    fn advance(&mut self, Step { id, outcome }: Step) -> io::Result<()> {
        match outcome {
            Outcome::Written(token, finished) => self.write(id, token, finished),
            Outcome::Judged(margins) => {
                self.judging.remove(&id);
                self.send(&Reply::Scored { id, fault: None }, bytemuck::cast_slice(&margins))
            }
            Outcome::Failed(error) => self.refuse(id, error),
        }
    }

    /// Takes a token into its text, sends what is new, and ends the text where it ends.
    fn write(&mut self, id: u64, token: u32, finished: Option<Finish>) -> io::Result<()> {
        let Some(writing) = self.writing.get_mut(&id) else { return Ok(()) };
        writing.tokens.push(token);
        let stopped = match self.model.vocab().piece(token) {
            Ok(piece) => writing.stream.push(piece, &mut writing.text),
            Err(error) => return self.refuse(id, error),
        };
        let finish = if stopped { Some(Finish::Stop) } else { finished };
        if let Some(finish) = finish {
            return self.finish(id, finish, stopped);
        }
        if writing.said.elapsed() >= PIECE_INTERVAL {
            return self.say(id);
        }
        Ok(())
    }

    fn finish(&mut self, id: u64, finish: Finish, stopped: bool) -> io::Result<()> {
        let Some(mut writing) = self.writing.remove(&id) else { return Ok(()) };
        if stopped {
            self.cancel(id)?;
        } else {
            writing.stream.finish(&mut writing.text);
        }
        let units = writing.prompt + writing.tokens.len() as u64;
        let wall_ms = u64::try_from(writing.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let generation = Generation { text: writing.text, tokens: Some(writing.tokens), finish };
        let content = serde_json::to_vec(&generation)?;
        self.send(&Reply::Generated { id, units, wall_ms }, &content)
    }

    /// Claims, and texts whose prompt is still being read, say nothing; the node must not take that for silence.
    fn show_life(&mut self) -> io::Result<()> {
        let is_due = |said: &Instant| said.elapsed() >= PIECE_INTERVAL;
        let reading = self.writing.iter().filter(|(_, writing)| writing.tokens.is_empty() && is_due(&writing.said));
        let quiet: Vec<u64> = reading.map(|(id, _)| *id).collect();
        quiet.into_iter().try_for_each(|id| self.say(id))?;
        for (&id, said) in self.judging.iter_mut().filter(|(_, said)| is_due(said)) {
            *said = Instant::now();
            frames::write_frame(self.output, &Reply::Text { id, tokens: 0 }, &[])?;
        }
        Ok(())
    }

    /// Sends what is new of a text.
    fn say(&mut self, id: u64) -> io::Result<()> {
        let Some(writing) = self.writing.get_mut(&id) else { return Ok(()) };
        let piece = writing.text.get(writing.sent..).unwrap_or_default().as_bytes().to_vec();
        writing.sent = writing.text.len();
        writing.said = Instant::now();
        let tokens = u32::try_from(writing.tokens.len()).unwrap_or(u32::MAX);
        self.send(&Reply::Text { id, tokens }, &piece)
    }

    fn cancel(&mut self, id: u64) -> io::Result<()> {
        match self.model.cancel(self.gpu, id) {
            Ok(()) => Ok(()),
            Err(error) => self.lose(error),
        }
    }

    /// A pass failed: what was under way is lost.
    fn lose(&mut self, error: Error) -> io::Result<()> {
        eprintln!("tender-worker: {error}");
        let ends_device = error.ends_device();
        let problem: Problem = error.into();
        if ends_device {
            self.waiting.clear();
            self.writing.clear();
            self.judging.clear();
            return self.send(&Reply::Failed { problem }, &[]);
        }
        let judging = std::mem::take(&mut self.judging).into_keys();
        for id in std::mem::take(&mut self.writing).into_keys().chain(judging) {
            self.send(&Reply::Refused { id, problem: problem.clone() }, &[])?;
            self.cancel(id)?;
        }
        Ok(())
    }

    fn refuse(&mut self, id: u64, error: Error) -> io::Result<()> {
        let was_begun = self.writing.remove(&id).is_some() | self.judging.remove(&id).is_some();
        if was_begun {
            self.cancel(id)?;
        }
        self.send(&Reply::Refused { id, problem: error.into() }, &[])
    }

    fn send(&mut self, reply: &Reply, payload: &[u8]) -> io::Result<()> {
        frames::write_frame(self.output, reply, payload)
    }
}
