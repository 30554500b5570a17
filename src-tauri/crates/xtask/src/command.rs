//! Running programs: each is shown before it runs, and its failure is a [`Problem`] that names it.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
    thread,
};
use tender_base::{Code, Problem};

/// Runs it with our own input and output.
///
/// # Errors
/// When it cannot be started or ends with anything but success.
pub fn run(command: &mut Command) -> Result<(), Problem> {
    show(command);
    let status = command.status().map_err(|error| not_started(command, &error))?;
    if status.success() {
        return Ok(());
    }
    Err(Problem::new(Code::WorkFailed, format!("`{}` ended with {status}", words(command)), ""))
}

/// Runs it quietly and answers its output; none when it cannot be started or fails.
pub fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs it, passes its output through and adds up the tests it says have passed.
///
/// # Errors
/// As [`run`].
pub fn run_tests(command: &mut Command) -> Result<u64, Problem> {
    show(command);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| not_started(command, &error))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    // Test runners sum up on either.
    let reading = thread::spawn(move || err.map_or(0, |err| pass_through(err, std::io::stderr())));
    let passed = out.map_or(0, |out| pass_through(out, std::io::stdout()));
    let passed = passed + reading.join().unwrap_or(0);
    let status = child.wait().map_err(|error| not_started(command, &error))?;
    if status.success() {
        return Ok(passed);
    }
    Err(Problem::new(Code::WorkFailed, format!("`{}` ended with {status}", words(command)), ""))
}

fn pass_through(from: impl Read, mut to: impl Write) -> u64 {
    let mut passed = 0;
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        // A closed terminal is no reason to stop the tests.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        passed += passed_in(&String::from_utf8_lossy(&line));
        line.clear();
    }
    passed
}

/// Tests that passed, when the line is the closing line of nextest, Vitest or Playwright.
fn passed_in(line: &str) -> u64 {
    let plain = without_colour(line);
    let words: Vec<&str> = plain.split_whitespace().collect();
    let number_before = |what: &str| {
        let at = words.iter().position(|word| word.trim_end_matches(',') == what)?;
        words.get(at.checked_sub(1)?)?.parse().ok()
    };
    match words.as_slice() {
        ["Summary" | "Tests", ..] => number_before("passed").unwrap_or(0),
        [count, "passed"] | [count, "passed", _] => count.parse().unwrap_or(0),
        _ => 0,
    }
}

fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        if c == '\u{1b}' {
            // Up to the letter that ends the sequence.
            for c in characters.by_ref() {
                if c.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            plain.push(c);
        }
    }
    plain
}

fn show(command: &Command) {
    eprintln!("$ {}", words(command));
}

/// The command as one would type it.
pub fn words(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

fn not_started(command: &Command, error: &std::io::Error) -> Problem {
    let program = command.get_program().to_string_lossy().into_owned();
    Problem::new(Code::Unavailable, format!("`{program}` cannot be started: {error}"), format!("install {program}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_counted_and_others_are_not() {
        assert_eq!(passed_in("     Summary [   1.204s] 123 tests run: 121 passed (2 slow), 4 skipped"), 121);
        assert_eq!(
            passed_in("\u{1b}[32;1m     Summary\u{1b}[0m [ 1s] 9 tests run: \u{1b}[1m9\u{1b}[0m passed, 0 skipped"),
            9
        );
        assert_eq!(passed_in(" Test Files  3 passed (3)"), 0);
        assert_eq!(passed_in("      Tests  45 passed (45)"), 45);
        assert_eq!(passed_in("  12 passed (20.1s)"), 12);
        assert_eq!(passed_in("the gate is passed (now)"), 0);
        assert_eq!(passed_in("        PASS [   0.1s] tender-base money::tests::rounding_7 passed"), 0);
    }

    #[test]
    fn a_failure_names_the_command() {
        let problem = run(Command::new("false").arg("x")).unwrap_err();
        assert!(problem.message.contains("`false x`"), "{problem}");
        let problem = run(&mut Command::new("no-such-program-of-tender")).unwrap_err();
        assert!(problem.hint.contains("no-such-program-of-tender"), "{problem}");
    }

    #[test]
    fn tests_are_counted_on_both_streams() {
        let script = "echo ' Tests  2 passed (2)'; echo 'Summary [0s] 3 tests run: 3 passed, 0 skipped' >&2";
        assert_eq!(run_tests(Command::new("sh").args(["-c", script])), Ok(5));
    }
}
