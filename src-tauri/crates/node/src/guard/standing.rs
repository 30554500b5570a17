//! Where the sale stands, in words.

use super::reason;
use crate::node::Node;
use tender_base::{Code, Problem, Timestamp};
use tender_host::guard::{Owner, Standing, Trigger};

/// Where the sale stands, for those who show it.
pub(crate) struct Now {
    pub(crate) state: &'static str,
    pub(crate) reason: String,
    pub(crate) trigger: Option<Trigger>,
    pub(crate) resumes_at: Option<Timestamp>,
}

impl Node {
    fn owner(&self) -> Owner {
        let settings = self.settings();
        Owner {
            stopped: settings.stopped,
            selling: settings.selling,
            paused: settings.paused_until.is_some_and(|until| until > self.now()),
            finishing: settings.finishing,
        }
    }

    /// Where the sale stands, with so many sold jobs that run.
    pub(crate) fn sale(&self, running: usize) -> Now {
        let now = self.now();
        let state = self.lookout.state();
        let elapsed = self.lookout.begun.elapsed();
        let plain = |state, reason: &str| Now { state, reason: reason.to_owned(), trigger: None, resumes_at: None };
        let jobs = if running == 1 { "job" } else { "jobs" };
        match state.guard.standing(elapsed, self.owner(), running > 0) {
            Standing::Stopped => plain("stopped", "Everything is stopped by your switch"),
            Standing::Off => plain("off", "Selling is switched off"),
            // Who shows it writes the time as the reader's language does.
            Standing::Paused => Now { resumes_at: self.settings().paused_until, ..plain("paused", "Paused by you") },
            Standing::Finished => plain("paused", "Paused: everything that ran is finished, until you resume selling"),
            Standing::Draining => plain("draining", &format!("Finishing {running} {jobs}, then pausing")),
            Standing::Yielding { cause, resumes_in, delay } => {
                let (what, seconds) = (cause.words(), delay.as_secs());
                let (reason, resumes_at) = match resumes_in {
                    Some(wait) => (
                        format!("Paused: {what} has ended; selling goes on {seconds} s after that"),
                        Some(now.after(wait)),
                    ),
                    None if cause.trigger == Trigger::Test => (format!("Paused: {what}"), None),
                    None => {
                        let opens = (cause.trigger == Trigger::Schedule)
                            .then(|| self.settings().guard.hours.opens_after(now))
                            .flatten();
                        (
                            format!("Paused: {what}. Selling goes on {seconds} s after it ends"),
                            opens.map(|opens| opens.after(delay)),
                        )
                    }
                };
                Now { state: "yielding", reason, trigger: Some(cause.trigger), resumes_at }
            }
            Standing::Open if running > 0 => plain("busy", &format!("Running {running} {jobs}")),
            Standing::Open => plain("idle", "Waiting for calls from your peers"),
        }
    }

    /// Whether this node takes new work of clients at this moment.
    pub(crate) fn willing(&self, now: Timestamp) -> Result<(), Problem> {
        let refuse = |message: &str, hint: &str| Err(Problem::new(Code::Unavailable, message, hint));
        let state = self.lookout.state();
        match state.guard.standing(self.lookout.begun.elapsed(), self.owner(), false) {
            Standing::Stopped => refuse("this node was stopped by its owner", "try another peer"),
            Standing::Off => refuse("this node is not selling now", "try later or another peer"),
            Standing::Paused => {
                let until = self.settings().paused_until.unwrap_or(now);
                refuse("this node pauses selling", &format!("try again after {until}"))
            }
            Standing::Finished | Standing::Draining => {
                refuse("this node takes nothing new for a while", "try later or another peer")
            }
            Standing::Yielding { cause, .. } => {
                // Which program it is, is nobody else's business.
                let message = format!("this node pauses selling: {}", reason(cause.trigger).words());
                refuse(&message, "try again in a while, or another peer")
            }
            Standing::Open if state.test.running.is_some() => {
                refuse("this node pauses selling: it tests itself", "try again in a minute")
            }
            Standing::Open => Ok(()),
        }
    }
}
