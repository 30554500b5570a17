//! What must not leave this machine with a report: keys, tokens, names and addresses of others, and what anybody wrote.

use serde::{Deserialize as _, de::IntoDeserializer as _};
use std::net::{Ipv4Addr, Ipv6Addr};
use tender_base::Code;
use tender_host::guard::Trigger;

/// What a secret is replaced by.
const GONE: &str = "…";
/// Runs of letters and digits of this length may be a key, a token or a digest; no word is as long.
const LONG: usize = 24;

/// Replaces each of `known` wherever it stands, and then whatever looks like an address or a key.
pub(crate) fn redact(text: &str, known: &[String]) -> String {
    let mut known: Vec<&String> = known.iter().filter(|secret| !secret.is_empty()).collect();
    // One may be a part of another.
    known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let mut text = text.to_owned();
    for secret in known {
        // Two letters are in many words.
        let short = secret.chars().count() <= 2;
        text = if short { without_word(&text, secret) } else { text.replace(secret.as_str(), GONE) };
    }
    text.split_inclusive('\n').map(line).collect()
}

/// Without `word` where it stands alone.
fn without_word(text: &str, word: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(word) {
        let (before, behind) = (&rest[..at], &rest[at + word.len()..]);
        let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let part =
            inside(before.chars().next_back().or_else(|| out.chars().next_back())) || inside(behind.chars().next());
        out.push_str(before);
        out.push_str(if part { word } else { GONE });
        rest = behind;
    }
    out + rest
}

fn line(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut word = String::new();
    for c in line.chars() {
        if c.is_whitespace() || matches!(c, '"' | '\'' | '(' | ')' | ',' | ';' | '<' | '>' | '|' | '=' | '`') {
            out.push_str(&shown(&word));
            word.clear();
            out.push(c);
        } else {
            word.push(c);
        }
    }
    out.push_str(&shown(&word));
    out
}

fn shown(word: &str) -> String {
    let is_address = word.contains("://") || word.starts_with("did:") || is_host(word);
    if is_address || (has_key(word) && !is_id(word)) { GONE.to_owned() } else { word.to_owned() }
}

/// An IP address, or a name with a port.
fn is_host(word: &str) -> bool {
    if is_time(word) {
        return false;
    }
    let mut numbers = word.split(|c: char| !c.is_ascii_digit() && c != '.');
    if numbers.any(|run| run.trim_matches('.').parse::<Ipv4Addr>().is_ok())
        || word.trim_matches(['[', ']', '.', ',', '/']).parse::<Ipv6Addr>().is_ok()
    {
        return true;
    }
    word.match_indices(':').any(|(at, _)| {
        let (host, port) = (&word[..at], &word[at + 1..]);
        let digits = port.bytes().take_while(u8::is_ascii_digit).count();
        let ends = port[digits..].chars().next().is_none_or(|c| !c.is_alphanumeric());
        digits > 0 && ends && host.ends_with(|c: char| c.is_alphanumeric() || c == ']') && host.contains(is_name)
    })
}

/// What no clock shows before a colon.
fn is_name(c: char) -> bool {
    c.is_alphabetic() || c == '.' || c == ']'
}

fn is_time(word: &str) -> bool {
    word.contains('T') && word.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | ':' | '.' | 'T' | 'Z' | '+'))
}

/// A long run without any break, or with those of base64.
fn has_key(word: &str) -> bool {
    let key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '_' | '-');
    word.split(|c| !key(c)).any(|run| run.len() >= LONG && run.chars().any(|c| c.is_ascii_digit()))
}

/// Identifiers of jobs and contracts say nothing to others.
fn is_id(word: &str) -> bool {
    uuid::Uuid::try_parse(word.trim_end_matches(['.', ':'])).is_ok() && word.contains('-')
}

/// Lines of the log without what was logged beside the sentence: values stay only where they are numbers, identifiers,
/// yes and no, codes of problems or triggers of the guard. Lines that go on from a value are dropped.
pub(crate) fn log_lines(log: &str) -> String {
    let mut out = String::new();
    for line in log.lines().filter(|line| line.as_bytes().first().is_some_and(u8::is_ascii_digit)) {
        let sentence: Vec<&str> = line.split(' ').take_while(|word| field(word).is_none()).collect();
        let sentence = sentence.join(" ");
        out.push_str(&sentence);
        out.push_str(&values(line[sentence.len()..].trim_start()));
        out.push('\n');
    }
    out
}

/// The fields `name=value` of a line. Where a text without quotes ends cannot be told: it may hold what looks like the
/// next field, so all behind it is left out.
fn values(mut rest: &str) -> String {
    let mut out = String::new();
    while let Some((name, value)) = field(rest) {
        let quoted = value.strip_prefix('"').and_then(|text| Some((text, closing_quote(text)?)));
        let (value, behind) = match quoted {
            Some((text, end)) => (&text[..end], &text[end + 1..]),
            None => value.split_once(' ').unwrap_or((value, "")),
        };
        let stays = is_number(value) || is_id(value) || is_word(value);
        out.push_str(&format!(" {name}={}", if stays { value } else { GONE }));
        if !stays && quoted.is_none() {
            break;
        }
        rest = behind.trim_start();
    }
    out
}

/// A number, also as it is logged where there may be none.
fn is_number(value: &str) -> bool {
    let number = value.strip_prefix("Some(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(value);
    value == "None" || number.parse::<f64>().is_ok()
}

/// A word that Tender itself has for something.
fn is_word(value: &str) -> bool {
    let code: Result<Code, serde::de::value::Error> = Code::deserialize(value.into_deserializer());
    matches!(value, "true" | "false") || code.is_ok() || Trigger::ALL.iter().any(|trigger| trigger.name() == value)
}

/// Name and value, when `text` begins with a field.
fn field(text: &str) -> Option<(&str, &str)> {
    let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.');
    text.split_once('=').filter(|(name, _)| !name.is_empty() && name.chars().all(part))
}

/// Where a text that was written with escapes ends.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use proptest::prelude::*;
    use tender_base::{Signer as _, signed::KeySigner};

    #[test]
    fn addresses_keys_and_names_go_and_the_rest_stays() {
        let text = "tender 0.1.0 on linux, 2 processors at 12:30:00\n\
                    peer Anna at https://anna.example.org:7443/a2a and 192.168.1.4:7443, [fe80::1]:80, box:80/x\n\
                    job 01a1fc8d-5ad6-78cf-a26a-44d64a688119 took 12.5 s: fine\n\
                    sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n";
        let shown = redact(text, &["Anna".to_owned()]);
        assert_eq!(
            shown,
            "tender 0.1.0 on linux, 2 processors at 12:30:00\n\
             peer … at … and …, …, …\n\
             job 01a1fc8d-5ad6-78cf-a26a-44d64a688119 took 12.5 s: fine\n\
             sha256 …\n"
        );
    }

    #[test]
    fn a_name_of_two_letters_goes_where_it_is_a_word() {
        let text = "vm: at vm-1, vm/vm, a vmlinuz, nvm, vmvm and vm";
        assert_eq!(redact(text, &["vm".to_owned()]), "…: at …-1, …/…, a vmlinuz, nvm, vmvm and …");
    }

    #[test]
    fn of_the_log_only_sentences_numbers_and_ids_stay() {
        let log = "2026-11-21T21:00:00.1Z  WARN tender_node::client: the job failed \
                   job=01a1fc8d-5ad6-78cf-a26a-44d64a688119 ms=12 sold=true problem=the agent said: my secret text=7\n\
                   second line of what the agent said\n\
                   2026-11-21T21:00:01.1Z  INFO tender_node: it goes on\n";
        assert_eq!(
            log_lines(log),
            "2026-11-21T21:00:00.1Z  WARN tender_node::client: the job failed \
             job=01a1fc8d-5ad6-78cf-a26a-44d64a688119 ms=12 sold=true problem=…\n\
             2026-11-21T21:00:01.1Z  INFO tender_node: it goes on\n"
        );
    }

    #[test]
    fn codes_causes_and_times_stay() {
        let line = |fields: &str| format!("2026-11-21T21:00:00.1Z  INFO tender_node::guard: given back {fields}\n");
        let given = r#"cause="game" what="game in foreground (my-game)" freed_ms=Some(171.25) bytes=None sold=1"#;
        assert_eq!(log_lines(&line(given)), line("cause=game what=… freed_ms=Some(171.25) bytes=None sold=1"));
        assert_eq!(log_lines(&line("code=over_limit problem=my code=lost")), line("code=over_limit problem=…"));
        assert_eq!(log_lines(&line("cause=my-game ms=3")), line("cause=…"));
        assert_eq!(log_lines(&line("freed_ms=Some(thing)")), line("freed_ms=…"));
    }

    #[test]
    fn what_the_worker_said_goes_with_all_that_looks_like_a_field_in_it() {
        let said = |line: &str| format!("2026-11-21T21:00:00.1Z  INFO tender_worker: the worker said line={line}\n");
        let shader = r#""tender-worker: no definition in scope for identifier: `my_secret` \"let key=41\" pin=1234""#;
        assert_eq!(log_lines(&said(shader)), said("…"));
        assert_eq!(log_lines(&said(&format!("{shader} ms=3"))), said("… ms=3"));
    }

    proptest! {
        /// Whatever stands around them: no key, token or address comes through, known or not.
        #[test]
        fn no_secret_comes_through(
            seed in any::<[u8; 32]>(),
            ip in any::<[u8; 4]>(),
            port in 1u16..,
            before in "[a-z .,:;()=\"]{0,12}",
            after in "[ .,;)\"\n][a-z .,:;()=\"]{0,12}",
        ) {
            let did = KeySigner::from_seed(&seed).did().to_string();
            let token = URL_SAFE_NO_PAD.encode(seed);
            let hex = tender_base::Sha256::of(&seed).to_string();
            let address = format!("{}.{}.{}.{}:{port}", ip[0], ip[1], ip[2], ip[3]);
            for secret in [did.as_str(), &token, &hex, &address] {
                // A digit is in every digest and nearly every token; one without is too long for chance to matter.
                prop_assume!(secret.chars().any(|c| c.is_ascii_digit()));
                let shown = redact(&format!("{before} {secret}{after}"), &[]);
                prop_assert!(!shown.contains(secret), "{shown}");
            }
            let known = redact(&format!("{before}{did}{after}"), std::slice::from_ref(&did));
            prop_assert!(!known.contains(&did));
        }
    }
}
