//! `cargo xtask calibrate`: what honest engines and cheats write, and how far each token is behind the one that the
//! judge would have chosen. The result is a fixture from which a test and the documentation take the rates of detection
//! and of false alarms. It takes the better part of an hour and goes on where it was stopped.

use crate::{command, models, workspace::Workspace};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};
use tender_base::{Code, Problem, catalogue::SMOLLM2};

/// Tokens of each text: as many as one window of the check.
const TOKENS: usize = 32;
/// The slowest engine, which writes one token a second through a CPU's Vulkan, and the prompts that it answers.
const SLOW: &str = "llama_vulkan";
const SLOW_PROMPTS: usize = 20;
/// Tokens of 32 that the cheat replaces.
const REPLACED: usize = 2;

/// Who writes: four honest engines, then the cheats.
const ARMS: [&str; 9] =
    ["tender", "candle", "llama_cpu", SLOW, "two_bits", "three_bits", "two_layers_less", "replaced", "truncated"];

/// Records what is missing.
///
/// # Errors
/// When an engine is not installed or does not answer.
pub fn calibrate() -> Result<(), Problem> {
    let workspace = Workspace::find()?;
    models::set_up()?;
    command::run(workspace.cargo().args(["build", "-p", "tender-compute", "--example", "oracle"]))?;
    let place = workspace.root.join("tests/fixtures/calibration");
    let prompts = read(&place.join("prompts.txt"))?;
    let prompts: Vec<&str> = prompts.lines().collect();
    let mut record = Record::open(&place.join("margins.jsonl"))?;
    let mut engines = Engines::new(&workspace)?;
    // Prompt by prompt, so that the record is balanced wherever it is stopped; the slow engine last.
    let fast = prompts.iter().enumerate().flat_map(|asked| ARMS.map(|arm| (asked, arm)));
    let slow = prompts.iter().enumerate().take(SLOW_PROMPTS).map(|asked| (asked, SLOW));
    for ((at, prompt), arm) in fast.filter(|(_, arm)| *arm != SLOW).chain(slow) {
        if record.known.contains(&(at, arm.to_owned())) {
            continue;
        }
        let ids = engines.prompt(prompt)?;
        let tokens = engines.write(arm, at, &ids, &record)?;
        let scored = engines.ask("tender", &json!({ "op": "score", "prompt": ids, "tokens": tokens }))?;
        let margins = scored.get("margins").cloned().ok_or_else(|| no_answer("tender", &scored))?;
        record.add(at, arm, tokens, margins)?;
        eprintln!("{arm}: {} of {} prompts", at + 1, prompts.len());
    }
    Ok(())
}

/// The fixture, one line per text.
struct Record {
    file: File,
    known: BTreeSet<(usize, String)>,
    /// What llama.cpp wrote, for the cheats that change it.
    honest: BTreeMap<usize, Vec<u64>>,
}

impl Record {
    fn open(path: &Path) -> Result<Self, Problem> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(|e| stored(path, &e))?;
        let mut record = Self { file, known: BTreeSet::new(), honest: BTreeMap::new() };
        for line in text.lines() {
            // A line cut off by an end in its middle is written again.
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            let at = line["prompt"].as_u64().and_then(|at| usize::try_from(at).ok()).unwrap_or(usize::MAX);
            record.note(at, line["arm"].as_str().unwrap_or_default(), &numbers(&line["tokens"]));
        }
        Ok(record)
    }

    fn note(&mut self, at: usize, arm: &str, tokens: &[u64]) {
        self.known.insert((at, arm.to_owned()));
        if arm == "llama_cpu" {
            self.honest.insert(at, tokens.to_vec());
        }
    }

    fn add(&mut self, at: usize, arm: &str, tokens: Vec<u64>, margins: Value) -> Result<(), Problem> {
        // Four decimals: the thresholds have two.
        let round = |m: &Value| m.as_f64().map(|m| (m * 1e4).round() / 1e4);
        let margins: Vec<_> = margins.as_array().into_iter().flatten().map(round).collect();
        let line = json!({ "prompt": at, "arm": arm, "tokens": tokens, "margins": margins });
        writeln!(self.file, "{line}")
            .and_then(|()| self.file.flush())
            .map_err(|e| stored(Path::new("margins.jsonl"), &e))?;
        self.note(at, arm, &tokens);
        Ok(())
    }
}

/// The engines, each started when it is first asked.
struct Engines {
    oracle: PathBuf,
    llama: PathBuf,
    model: PathBuf,
    /// Where weakened copies of the model are put.
    place: PathBuf,
    running: BTreeMap<String, Engine>,
}

struct Engine {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// The first line: what was loaded.
    hello: Value,
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Engines {
    fn new(workspace: &Workspace) -> Result<Self, Problem> {
        let place = workspace.target.join("calibration");
        fs::create_dir_all(&place).map_err(|e| stored(&place, &e))?;
        Ok(Self {
            oracle: workspace.target.join("debug/examples/oracle"),
            llama: workspace.root.join("tests/peers/llama.mjs"),
            model: models::folder()?.join(SMOLLM2.name).join(SMOLLM2.weights().name),
            place,
            running: BTreeMap::new(),
        })
    }

    /// The prompt's tokens, in the model's chat template.
    fn prompt(&mut self, text: &str) -> Result<Vec<u64>, Problem> {
        let asked = json!({ "op": "chat", "messages": [{ "role": "user", "content": text }] });
        Ok(numbers(&self.ask("llama_cpu", &asked)?["tokens"]))
    }

    /// What the arm writes on a prompt.
    fn write(&mut self, arm: &str, at: usize, prompt: &[u64], record: &Record) -> Result<Vec<u64>, Problem> {
        let ends = self.ends()?;
        let honest = || {
            let missing = || Problem::new(Code::Internal, format!("llama.cpp wrote nothing on prompt {at}"), "");
            record.honest.get(&at).cloned().ok_or_else(missing)
        };
        match arm {
            // Tokens that have nothing to do with the text, in places that differ from prompt to prompt.
            "replaced" => {
                let mut tokens = honest()?;
                let count = tokens.len();
                for n in 0..REPLACED.min(count) {
                    let place = (at * 7 + n * count.div_ceil(REPLACED)) % count;
                    tokens[place] = 1000 + (at as u64 * 7919 + n as u64 * 104_729) % 40_000;
                }
                Ok(tokens)
            }
            // Half the text, ended as if the model had wanted it so.
            "truncated" => {
                let mut tokens = honest()?;
                tokens.truncate(tokens.len() / 2);
                tokens.extend(ends.last());
                Ok(tokens)
            }
            _ => {
                let asked = json!({ "op": "generate", "tokens": prompt, "max_tokens": TOKENS, "ends": ends });
                let answer = self.ask(arm, &asked)?;
                let tokens = numbers(&answer["tokens"]);
                if tokens.is_empty() { Err(no_answer(arm, &answer)) } else { Ok(tokens) }
            }
        }
    }

    /// The tokens that end a text.
    fn ends(&mut self) -> Result<Vec<u64>, Problem> {
        Ok(numbers(&self.engine("tender")?.hello["ends"]))
    }

    fn ask(&mut self, arm: &str, request: &Value) -> Result<Value, Problem> {
        let engine = self.engine(arm)?;
        let lost = |e: &std::io::Error| Problem::new(Code::Lost, format!("{arm} does not answer: {e}"), "");
        writeln!(engine.input, "{request}").and_then(|()| engine.input.flush()).map_err(|e| lost(&e))?;
        engine.answer().map_err(|e| lost(&e))
    }

    fn engine(&mut self, arm: &str) -> Result<&mut Engine, Problem> {
        if !self.running.contains_key(arm) {
            let started = self.start(arm)?;
            self.running.insert(arm.to_owned(), started);
        }
        self.running.get_mut(arm).ok_or_else(|| Problem::new(Code::Internal, format!("{arm} was not started"), ""))
    }

    fn start(&self, arm: &str) -> Result<Engine, Problem> {
        let mut command = match arm {
            "tender" | "candle" => {
                let mut command = Command::new(&self.oracle);
                command.arg(arm).arg(&self.model);
                command
            }
            _ => {
                let mut command = Command::new("node");
                let device = if arm == SLOW { "vulkan" } else { "cpu" };
                command.arg(&self.llama).args(["--device", device, "--model"]).arg(self.weakened(arm)?);
                command
            }
        };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|e| {
            Problem::new(Code::Unavailable, format!("{arm} does not start: {e}"), "run `cargo xtask peers` first")
        })?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Problem::new(Code::Internal, "pipes are missing", ""));
        };
        let mut engine = Engine { child, input, output: BufReader::new(output), hello: Value::Null };
        engine.hello = engine.answer().map_err(|e| {
            Problem::new(Code::Unavailable, format!("{arm} says nothing: {e}"), "run `cargo xtask peers` first")
        })?;
        eprintln!("{arm}: {}", engine.hello);
        Ok(engine)
    }

    /// The model as a cheat would use it, made when it is first needed; the real one for honest arms.
    fn weakened(&self, arm: &str) -> Result<PathBuf, Problem> {
        if !matches!(arm, "two_bits" | "three_bits" | "two_layers_less") {
            return Ok(self.model.clone());
        }
        let path = self.place.join(format!("{arm}.gguf"));
        if !path.is_file() {
            command::run(Command::new(&self.oracle).arg(arm).arg(&self.model).arg(&path))?;
        }
        Ok(path)
    }
}

impl Engine {
    /// The next line that is JSON: libraries print what they like.
    fn answer(&mut self) -> std::io::Result<Value> {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if let Ok(value @ Value::Object(_)) = serde_json::from_str(&line) {
                return Ok(value);
            }
        }
    }
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
}

fn no_answer(arm: &str, answer: &Value) -> Problem {
    Problem::new(Code::WorkFailed, format!("{arm} answers {answer}"), "")
}

fn read(path: &Path) -> Result<String, Problem> {
    fs::read_to_string(path).map_err(|e| stored(path, &e))
}

fn stored(path: &Path, error: &std::io::Error) -> Problem {
    Problem::new(Code::Storage, format!("{}: {error}", path.display()), "")
}
