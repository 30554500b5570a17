//! What went wrong, as a person may read it: a code for programs, a message, and what to do about it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The closed list of causes. A consumer somewhere acts on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request is malformed or out of range.
    Invalid,
    /// Who is asking could not be established.
    Unauthenticated,
    /// Known, but not allowed.
    Forbidden,
    /// No such thing.
    NotFound,
    /// It exists already, or another state was expected.
    Conflict,
    /// Larger than the limit.
    TooLarge,
    /// More often than the limit; try later.
    TooMany,
    /// A deadline or a validity has passed.
    Expired,
    /// A signature, hash or proof does not hold.
    Forged,
    /// A budget, cap or credit limit does not cover it.
    OverLimit,
    /// No slot, device, model or peer can do this now.
    Unavailable,
    /// A peer or process stopped answering.
    Lost,
    /// The work was carried out wrongly or not to its end.
    WorkFailed,
    /// The disk, the database or the key store failed.
    Storage,
    /// A fault of Tender itself.
    Internal,
}

impl fmt::Display for Code {
    /// Its word, as it is sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// An error at an edge: `{code, message, hint}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Problem {
    /// The cause, for programs.
    pub code: Code,
    /// What happened, in a sentence that names the field or the thing.
    pub message: String,
    /// What to do about it; empty when nothing can be done.
    pub hint: String,
}

impl Problem {
    /// A problem with its remedy.
    pub fn new(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: hint.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, " ({})", self.hint)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_told_by_its_word() {
        assert_eq!([Code::OverLimit, Code::Lost].map(|code| code.to_string()), ["over_limit", "lost"]);
    }
}
