//! Files that a command reads.

use std::{
    fs,
    io::{ErrorKind, Read as _},
    path::Path,
};
use tender_base::{Code, Problem};

/// The text of a file of at most `most` bytes.
pub(crate) fn text(file: &Path, most: u64) -> Result<String, Problem> {
    let name = file.display();
    let unreadable = |error: &std::io::Error| match error.kind() {
        ErrorKind::NotFound => Problem::new(Code::NotFound, format!("there is no file {name}"), "look at its name"),
        _ => Problem::new(Code::Storage, format!("cannot read {name}: {error}"), "correct who may read it"),
    };
    let mut bytes = Vec::new();
    let opened = fs::File::open(file).map_err(|error| unreadable(&error))?;
    opened.take(most + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > most {
        let message = format!("{name} is longer than the {most} bytes that are read");
        return Err(Problem::new(Code::TooLarge, message, "look whether it is the right file"));
    }
    String::from_utf8(bytes)
        .map_err(|_| Problem::new(Code::Invalid, format!("{name} is no UTF-8 text"), "save it as UTF-8"))
}
