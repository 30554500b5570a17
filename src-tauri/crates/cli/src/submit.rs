//! `tender submit`.

use crate::{
    args::{ElementOption, KindOption, PrecisionOption, Submit},
    ask::{Source, dollars},
    print,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use std::{fs, path::Path, time::Duration};
use tender_base::{
    Code, JobState, Problem,
    text::{ChatMessage, Generation, Prompt, Raw},
};
use tender_node::api::types::*;

pub(crate) async fn run(dir: &Path, options: Submit, json: bool) -> Result<(), Problem> {
    let input = SubmitInput {
        budget_micro_usd: dollars(&options.budget)?,
        deadline_seconds: Some(options.deadline),
        private: Some(options.private),
        dry_run: Some(options.dry_run),
        peers_only: Some(options.peers_only),
        work: work(&options)?,
    };
    let node = Source::of(dir, false).await?;
    let submitted: Submitted = node.ask("submit", &input).await?;
    let Some(id) = submitted.job.clone().filter(|_| !options.no_wait) else {
        print::answer(json, &submitted, |s| match (&s.job, &s.explanation) {
            (Some(job), _) => format!("Submitted as {job}"),
            (None, Some(explanation)) => explanation.text.trim_end().to_owned(),
            (None, None) => String::new(),
        });
        return Ok(());
    };
    let streams = options.kind == KindOption::Generate && !json && options.output.is_none();
    let detail = wait(&node, &id, streams).await?;
    if let (Some(file), Some(JobState::Completed)) = (&options.output, detail.summary.state) {
        let output: JobOutput = node.ask("output", &ById { id }).await?;
        let bytes = BASE64.decode(&output.data_base64).unwrap_or_default();
        fs::write(file, bytes)
            .map_err(|e| Problem::new(Code::Storage, format!("cannot write {}: {e}", file.display()), ""))?;
    }
    if detail.summary.state == Some(JobState::Completed) || json {
        print::answer(json, &detail, print::job);
    }
    match (detail.summary.state, detail.problem) {
        (Some(JobState::Completed), _) => Ok(()),
        (_, Some(problem)) => {
            Err(Problem::new(Code::WorkFailed, format!("job {}: {}", detail.summary.id, problem.message), problem.hint))
        }
        (_, None) => Err(Problem::new(Code::WorkFailed, "the job did not complete", "")),
    }
}

/// Waits for the job's end; a text is printed while it is written.
async fn wait(node: &Source, id: &str, streams: bool) -> Result<JobDetail, Problem> {
    let (mut pause, longest) = (Duration::from_millis(20), if streams { 100 } else { 500 });
    let mut printed = String::new();
    loop {
        let detail: JobDetail = node.ask("job", &ById { id: id.to_owned() }).await?;
        let over = detail.summary.state.is_none_or(JobState::is_final);
        if streams {
            let text = if over { whole_text(node, id).await? } else { detail.text.clone() };
            // Until another has begun, what was printed of a rejected text stays.
            if let Some(text) = text.filter(|text| over || !text.is_empty()) {
                if !text.starts_with(&printed) {
                    print::piece("\n\n[That text was not accepted. Another one:]\n\n", false);
                    printed.clear();
                }
                print::piece(&text[printed.len()..], over && !text.is_empty());
                printed = text;
            }
        }
        if over {
            return Ok(detail);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(longest));
    }
}

/// The text of a completed job.
async fn whole_text(node: &Source, id: &str) -> Result<Option<String>, Problem> {
    let output = match node.ask::<_, JobOutput>("output", &ById { id: id.to_owned() }).await {
        Ok(output) => output,
        Err(problem) if problem.code == Code::NotFound => return Ok(None),
        Err(problem) => return Err(problem),
    };
    let bytes = BASE64.decode(&output.data_base64).unwrap_or_default();
    Ok(serde_json::from_slice::<Generation>(&bytes).ok().map(|generation| generation.text))
}

fn generate(options: &Submit, text: String) -> Result<SubmitWork, Problem> {
    // A file that is called JSON must be a prompt in JSON: a mistyped member would go to the model as text.
    let called_json = options.input.as_ref().is_some_and(|file| file.extension().is_some_and(|e| e == "json"));
    let prompt = match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(value) if value.get("messages").is_some() => Prompt::from_json(text.as_bytes())?,
        _ if called_json => Prompt::from_json(text.as_bytes())?,
        _ if options.raw => Prompt::Raw(Raw { prompt: text }),
        _ => Prompt::of_user(text),
    };
    let (messages, prompt) = match prompt {
        Prompt::Chat(chat) => {
            let message = |m: ChatMessage| SubmitMessage { role: m.role.name().to_owned(), content: m.content };
            (Some(chat.messages.into_iter().map(message).collect()), None)
        }
        Prompt::Raw(raw) => (None, Some(raw.prompt)),
    };
    Ok(SubmitWork::Generate {
        model: options.model.clone(),
        messages,
        prompt,
        max_tokens: Some(options.max_tokens),
        temperature: Some(options.temperature),
        top_k: Some(options.top_k),
        top_p: Some(options.top_p),
        seed: Some(options.seed),
        stop: Some(options.stop.clone()),
    })
}

fn work(options: &Submit) -> Result<SubmitWork, Problem> {
    let bytes = match (&options.input, &options.prompt) {
        (Some(file), _) => read(file)?,
        (None, Some(text)) => text.clone().into_bytes(),
        (None, None) => Vec::new(),
    };
    match options.kind {
        KindOption::Generate => generate(options, utf8(bytes)?),
        KindOption::Embed => {
            let text = utf8(bytes)?;
            let paragraphs = text.split("\n\n").map(str::trim).filter(|p| !p.is_empty());
            let passages = paragraphs.map(str::to_owned).collect();
            Ok(SubmitWork::Embed { model: options.model.clone(), passages })
        }
        KindOption::Gemm => {
            let &[m, k, n] = options.shape.as_slice() else {
                return Err(Problem::new(Code::Invalid, "gemm needs --shape M,K,N", "such as --shape 512,512,512"));
            };
            Ok(SubmitWork::Gemm {
                m,
                k,
                n,
                precision: match options.precision {
                    PrecisionOption::F32 => None,
                    PrecisionOption::F16 => Some("f16".to_owned()),
                },
                input_base64: BASE64.encode(bytes),
            })
        }
        KindOption::Kernel => kernel(options, bytes),
        KindOption::Wgsl => Ok(SubmitWork::Wgsl {
            source: utf8(bytes)?,
            entry: options.entry.clone(),
            workgroups: options.workgroups,
            workgroup_size: options.workgroup_size,
            fuel: options.fuel,
            element: match options.element {
                ElementOption::U32 => "u32".to_owned(),
                ElementOption::F32 => "f32".to_owned(),
            },
            buffers: options.buffer.iter().map(|text| buffer(text)).collect::<Result<_, _>>()?,
        }),
    }
}

/// Random paths take their input from the options, other kernels from the file.
fn kernel(options: &Submit, mut bytes: Vec<u8>) -> Result<SubmitWork, Problem> {
    let Some(name) = options.kernel.clone() else {
        return Err(Problem::new(Code::Invalid, "kernel needs --kernel NAME", "such as --kernel softmax"));
    };
    if name.starts_with("monte_carlo_") {
        bytes = options.seed.to_le_bytes().to_vec();
        bytes.extend(options.option.iter().flat_map(|number| number.to_le_bytes()));
        if name == "monte_carlo_call" && options.option.len() != 5 {
            let hint = "such as --option 100,105,0.03,0.2,1";
            let message = "monte_carlo_call needs --option SPOT,STRIKE,RATE,VOLATILITY,YEARS";
            return Err(Problem::new(Code::Invalid, message, hint));
        }
    }
    let (rows, columns) = (options.rows, options.columns);
    Ok(SubmitWork::Kernel { name, rows, columns, input_base64: BASE64.encode(bytes) })
}

/// `BINDING=BYTES` is the output, `BINDING=FILE` an input.
fn buffer(text: &str) -> Result<SubmitBuffer, Problem> {
    let wrong = || {
        let hint = "write 0=4096 for the output or 1=data.bin for an input";
        Problem::new(Code::Invalid, format!("--buffer {text} is not BINDING=FILE or BINDING=BYTES"), hint)
    };
    let (binding, what) = text.split_once('=').ok_or_else(wrong)?;
    let binding = binding.parse().map_err(|_| wrong())?;
    if let Ok(bytes) = what.parse() {
        return Ok(SubmitBuffer { binding, bytes, data_base64: None });
    }
    let data = read(Path::new(what))?;
    let bytes = u32::try_from(data.len()).map_err(|_| wrong())?;
    Ok(SubmitBuffer { binding, bytes, data_base64: Some(BASE64.encode(data)) })
}

fn read(file: &Path) -> Result<Vec<u8>, Problem> {
    fs::read(file).map_err(|e| Problem::new(Code::Invalid, format!("cannot read {}: {e}", file.display()), ""))
}

fn utf8(bytes: Vec<u8>) -> Result<String, Problem> {
    String::from_utf8(bytes).map_err(|_| Problem::new(Code::Invalid, "the input is not UTF-8 text", "convert it first"))
}
