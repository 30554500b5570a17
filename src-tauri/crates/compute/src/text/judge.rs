//! Whether a delivered text is consistent with itself, before the model is asked how plausible it is.

use super::{stream::Stream, vocab::Vocab};
use tender_base::{
    job::GenerateWork,
    text::{Finish, Generation},
};

/// The tokens of a claimed text, whose words, length and end follow from them.
///
/// # Errors
/// What contradicts what, in a sentence.
pub(crate) fn claimed(claim: &[u8], work: &GenerateWork, vocab: &Vocab) -> Result<Vec<u32>, String> {
    let Generation { text, tokens, finish } =
        serde_json::from_slice(claim).map_err(|e| format!("what was delivered is no text with tokens: {e}"))?;
    let tokens = tokens.ok_or("the tokens are missing")?;
    if tokens.is_empty() || tokens.len() > work.max_tokens as usize {
        return Err(format!("there are {} tokens, but 1 to {} were asked for", tokens.len(), work.max_tokens));
    }
    let mut stream = Stream::new(&work.stop);
    let mut words = String::new();
    let mut end = None;
    for (at, &token) in tokens.iter().enumerate() {
        let piece = vocab.piece(token).map_err(|e| e.to_string())?;
        let stopped = stream.push(piece, &mut words);
        if stopped || vocab.ends(token) {
            end = Some((at, stopped));
            break;
        }
    }
    let stopped = end.is_some_and(|(_, stopped)| stopped);
    if !stopped {
        stream.finish(&mut words);
    }
    match (end, finish) {
        (Some((at, _)), _) if at + 1 < tokens.len() => {
            return Err(format!("the text ends after {} tokens, but {} are delivered", at + 1, tokens.len()));
        }
        (None, Finish::Stop) => return Err("the text is said to have stopped, but no token ends it".into()),
        (None, Finish::Length) if tokens.len() < work.max_tokens as usize => {
            return Err(format!("the text is cut off after {} of {} tokens", tokens.len(), work.max_tokens));
        }
        // A text may end with the very last token that it may have.
        (Some(_), Finish::Length) => return Err("the text stopped, but is said to have been cut off".into()),
        _ => {}
    }
    if words == text { Ok(tokens) } else { Err("the text is not what the tokens say".into()) }
}
