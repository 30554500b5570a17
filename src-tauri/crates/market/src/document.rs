//! A JSON document that a person or a program hands in: what is wrong with it is named by its field.

use serde::de::DeserializeOwned;
use tender_base::{Code, Problem};

/// Reads one JSON document, called `what`; `hint` says where its fields are listed.
///
/// # Errors
/// [`Code::Invalid`], naming the field that is missing, unknown or of another type, or what follows the document.
pub fn read<T: DeserializeOwned>(json: &str, what: &str, hint: &str) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let document: T = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { String::new() } else { format!("{path}: ") };
        Problem::new(Code::Invalid, format!("{what} cannot be read: {place}{}", error.inner()), hint)
    })?;
    reader.end().map_err(|error| {
        Problem::new(Code::Invalid, format!("{what} goes on after its end: {error}"), "give one JSON object")
    })?;
    Ok(document)
}
