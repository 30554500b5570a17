//! The command line.

mod economics;

pub(crate) use economics::{Breakeven, Log, Price, Replay, Simulate};

use clap::{Parser, Subcommand, ValueEnum};
use std::{net::SocketAddr, path::PathBuf};

/// Sell spare GPU time to your peers, and buy it where it is really cheapest.
#[derive(Parser)]
#[command(name = "tender", version, max_term_width = 100)]
pub(crate) struct Args {
    /// Print one JSON document instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Where the node keeps its data [default: the platform's data folder].
    #[arg(long, global = true, env = "TENDER_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// A whole trade on this machine: two throw-away nodes, real jobs, verified and settled with play money.
    Demo {
        /// The worker's executable, when it is not beside `tender`.
        #[arg(long, value_name = "FILE")]
        worker: Option<PathBuf>,
    },
    /// Host a node; the app and the other commands attach to it.
    Serve(Serve),
    /// Run a job: here or on a peer, whichever is cheapest under its constraints.
    Submit(Box<Submit>),
    /// Sell to peers, or stop selling.
    Sell {
        /// on, off, or finish: take nothing new, and pause when what runs is done.
        state: SellState,
    },
    /// What the machine is given back for, when it was, and how long that takes.
    Guard {
        /// Measure it: real work on the card, interrupted again and again. Takes half a minute or so.
        #[arg(long)]
        test: bool,
    },
    /// Stop everything, or end that stop.
    Stop {
        /// on or off.
        state: OnOff,
    },
    /// Look at settings or change them.
    Settings {
        #[command(subcommand)]
        command: Option<SettingsCommand>,
    },
    /// Your circle of peers.
    Peers {
        #[command(subcommand)]
        command: Option<PeersCommand>,
    },
    /// Models: which are here, which fit, which can be downloaded.
    Models {
        #[command(subcommand)]
        command: Option<ModelsCommand>,
    },
    /// Other programs that write texts: a llama-server, Ollama or vLLM on this machine, and clouds.
    Runtimes {
        #[command(subcommand)]
        command: Option<RuntimesCommand>,
    },
    /// A2A agents that are no peers: hired for texts, at a price that you or their card state.
    Agents {
        #[command(subcommand)]
        command: Option<AgentsCommand>,
    },
    /// This node's keys: show them, or put new ones in their place.
    Identity {
        #[command(subcommand)]
        command: Option<IdentityCommand>,
    },
    /// Jobs bought and sold, newest first; with an id, everything about one.
    Jobs {
        /// Job or contract id.
        id: Option<String>,
        /// Write the job's output to this file.
        #[arg(long, value_name = "FILE", requires = "id")]
        output: Option<PathBuf>,
        /// Write the signed receipt to this file.
        #[arg(long, value_name = "FILE", requires = "id")]
        receipt: Option<PathBuf>,
    },
    /// End a job of yours; what was awarded is given up, nothing is owed.
    Cancel {
        /// Job id.
        id: String,
    },
    /// What was earned and spent, delivered, owed and paid.
    Earnings {
        /// How many days back.
        #[arg(long, default_value_t = 30)]
        days: u32,
        /// The demonstration's play money instead.
        #[arg(long)]
        demo: bool,
    },
    /// Why a job ran where it ran, and why not elsewhere.
    Explain {
        /// Job id.
        job: String,
    },
    /// Decide again from the receipts of decisions: bit for bit, or what another policy would have done.
    Replay(Replay),
    /// Rank the alternatives of a matrix (TOPSIS).
    #[command(after_long_help = economics::MATRIX)]
    Decide {
        /// The matrix, as JSON.
        #[arg(long, value_name = "FILE")]
        matrix: PathBuf,
    },
    /// What to ask for work on the own card: floor, suggestion and paid hours. It suggests; --set asks it.
    Price(Price),
    /// Buy a card or buy tokens: what each costs, and from which volume on a card pays.
    #[command(after_long_help = economics::CARD)]
    Breakeven(Breakeven),
    /// What a way of deciding comes to, in markets whose truth is known.
    #[command(after_help = economics::presets())]
    Simulate(Simulate),
    /// Check a receipt or an agent card offline.
    Verify {
        /// The file.
        file: PathBuf,
    },
    /// What works on this machine, and what to do about what does not.
    Doctor,
    /// Copy identity and ledger into a new folder.
    Backup {
        /// A folder that does not exist yet.
        to: PathBuf,
    },
    /// Write a report for who helps: versions, what works, settings and the end of the log, without keys, names,
    /// addresses, prompts and outputs.
    Support {
        /// The file; standard output when absent.
        file: Option<PathBuf>,
    },
    /// Put a backup into an empty data directory.
    Restore {
        /// The folder that `tender backup` made.
        from: PathBuf,
    },
    /// Measure this machine.
    Bench(Bench),
    /// Write the manual pages; packages are built with them.
    #[command(hide = true)]
    Manual {
        /// A folder that exists.
        to: PathBuf,
    },
}

/// What to do with the sale.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SellState {
    /// Sell.
    On,
    /// Stop selling.
    Off,
    /// Take nothing new, and pause when what runs is done.
    Finish,
}

#[derive(clap::Args)]
pub(crate) struct Serve {
    /// Where peers reach this node; TLS unless loopback. Port 0 takes a free one.
    #[arg(long, value_name = "ADDR", env = "TENDER_A2A", default_value = "127.0.0.1:7420")]
    pub(crate) a2a: SocketAddr,
    /// Where the local API and the screens are; loopback only.
    #[arg(long, value_name = "ADDR", env = "TENDER_API", default_value = "127.0.0.1:7421")]
    pub(crate) api: SocketAddr,
    /// HOST:PORT that peers use, when it differs from --a2a.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) public_address: Option<String>,
    /// Where a new identity's key is kept [default: the keyring if it works, else a file].
    #[arg(long, value_enum)]
    pub(crate) identity: Option<IdentityOption>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum IdentityOption {
    /// The desktop's keyring.
    Keyring,
    /// A systemd credential named tender-identity.
    Credential,
    /// A file that only this user can read.
    File,
}

#[derive(clap::Args)]
pub(crate) struct Submit {
    /// What kind of work.
    #[arg(long, value_enum)]
    pub(crate) kind: KindOption,
    /// generate: the prompt, or JSON with `messages`. embed: a text file, one passage per paragraph. gemm: A then B
    /// as little-endian f32 or f16. kernel: the matrix, then gain and shift where there are any, as little-endian f32.
    /// wgsl: the source.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["prompt", "kernel"])]
    pub(crate) input: Option<PathBuf>,
    /// generate, embed: the text itself.
    #[arg(long, value_name = "TEXT", conflicts_with = "input")]
    pub(crate) prompt: Option<String>,
    /// The model, as `tender models` lists it; SmolLM2-135M-Instruct for generate and all-MiniLM-L6-v2 for embed when
    /// absent.
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// generate: tokens to write at most.
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(crate) max_tokens: u32,
    /// generate: 0 always takes the likeliest token, 2 is the most.
    #[arg(long, value_name = "T", default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) temperature: f64,
    /// generate: only so many of the likeliest tokens; 0 for all.
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub(crate) top_k: u32,
    /// generate: only the likeliest tokens that together have this probability.
    #[arg(long, value_name = "P", default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) top_p: f64,
    /// generate, kernel monte_carlo_*: seed of the draw.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub(crate) seed: u64,
    /// generate: what the text ends before; may be repeated.
    #[arg(long, value_name = "TEXT")]
    pub(crate) stop: Vec<String>,
    /// generate: continue the prompt as it is, without the model's chat template.
    #[arg(long)]
    pub(crate) raw: bool,
    /// gemm: M,K,N.
    #[arg(long, value_name = "M,K,N", value_delimiter = ',')]
    pub(crate) shape: Vec<u32>,
    /// gemm: the elements of A and B.
    #[arg(long, value_enum, default_value = "f32")]
    pub(crate) precision: PrecisionOption,
    /// kernel: which, such as softmax; an unknown name lists them.
    #[arg(long, value_name = "NAME")]
    pub(crate) kernel: Option<String>,
    /// kernel: rows of the matrix, or blocks of random paths.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) rows: u32,
    /// kernel: elements of a row, or paths of a block.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) columns: u32,
    /// kernel monte_carlo_call: SPOT,STRIKE,RATE,VOLATILITY,YEARS, such as 100,105,0.03,0.2,1.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', allow_negative_numbers = true)]
    pub(crate) option: Vec<f32>,
    /// wgsl: entry point.
    #[arg(long, default_value = "main")]
    pub(crate) entry: String,
    /// wgsl: workgroups of the grid.
    #[arg(long, default_value_t = 1)]
    pub(crate) workgroups: u32,
    /// wgsl: invocations per workgroup, as in the source.
    #[arg(long, default_value_t = 64)]
    pub(crate) workgroup_size: u32,
    /// wgsl: loop iterations per invocation.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) fuel: u32,
    /// wgsl: how results are compared.
    #[arg(long, value_enum, default_value = "u32")]
    pub(crate) element: ElementOption,
    /// wgsl: a storage buffer, BINDING=FILE to read or BINDING=BYTES to write (exactly one); may be repeated.
    #[arg(long, value_name = "BINDING=FILE|BYTES")]
    pub(crate) buffer: Vec<String>,
    /// The most it may cost, in US dollars.
    #[arg(long, value_name = "USD", default_value = "0.01", allow_negative_numbers = true)]
    pub(crate) budget: String,
    /// The result must be there after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub(crate) deadline: u32,
    /// Only the own GPU may see the input.
    #[arg(long)]
    pub(crate) private: bool,
    /// Never run it here.
    #[arg(long, conflicts_with = "private")]
    pub(crate) peers_only: bool,
    /// Decide only; run nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Write the output to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Come back at once instead of waiting for the result.
    #[arg(long, conflicts_with = "output")]
    pub(crate) no_wait: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KindOption {
    /// Text by a language model.
    Generate,
    /// Sentence embeddings.
    Embed,
    /// A dense matrix product.
    Gemm,
    /// A built-in kernel: reductions, softmax, norms, random paths.
    Kernel,
    /// Your own compute kernel.
    Wgsl,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum PrecisionOption {
    /// 32-bit floats.
    F32,
    /// 16-bit floats; the product is f32.
    F16,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum ElementOption {
    /// Bit for bit.
    U32,
    /// Within a relative tolerance.
    F32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnOff {
    /// On.
    On,
    /// Off.
    Off,
}

#[derive(Subcommand)]
pub(crate) enum SettingsCommand {
    /// Print one setting, or all.
    Get {
        /// Its name.
        key: Option<String>,
    },
    /// Change one setting.
    Set {
        /// Its name.
        key: String,
        /// Its new value; `default` returns to the default.
        value: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum IdentityCommand {
    /// The public key, and where the secret is.
    Show,
    /// Go on under a new key, which the old one names to your peers. Nothing may be open or owed, and no node may run.
    Rotate,
    /// A new key for the encrypted connection; peers follow by themselves. No node may run.
    RotateTls,
}

#[derive(Subcommand)]
pub(crate) enum PeersCommand {
    /// Print a one-line invitation to paste on the other machine.
    Invite {
        /// What the new peer may owe you at most, in US dollars.
        #[arg(long, value_name = "USD", default_value = "1")]
        credit: String,
        /// Valid for so many minutes.
        #[arg(long, value_name = "MINUTES", default_value_t = 60)]
        valid: u32,
    },
    /// Issue an API key to a client that does not run Tender. It is printed once; the client sends it as bearer token or
    /// as X-API-Key.
    Key {
        /// What to call the client.
        name: String,
        /// What it may owe you at most, in US dollars.
        #[arg(long, value_name = "USD")]
        limit: String,
    },
    /// Accept an invitation.
    Add {
        /// The line that `peers invite` printed.
        link: String,
        /// What the inviter may owe you at most, in US dollars.
        #[arg(long, value_name = "USD", default_value = "0")]
        credit: String,
    },
    /// Change what a peer may owe you.
    Credit {
        /// did:key:…
        did: String,
        /// In US dollars.
        usd: String,
    },
    /// Record that everything owed to a peer, or by the holder of an API key, was paid outside the app.
    Paid {
        /// did:key:…
        did: String,
        /// How, such as "bank transfer 2026-11-21".
        #[arg(long)]
        method: String,
    },
    /// End the trade with a peer.
    Remove {
        /// did:key:…
        did: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum ModelsCommand {
    /// Download a model of the catalogue; a download that broke off goes on.
    Get {
        /// Its name.
        name: String,
        /// Come back at once; the node goes on.
        #[arg(long)]
        no_wait: bool,
    },
    /// End a download; what came is kept.
    Cancel {
        /// Its name.
        name: String,
    },
    /// Use a GGUF file of this machine. It stays where it is.
    Add {
        /// The file.
        path: PathBuf,
        /// What it is to be called [default: the file's name].
        #[arg(long)]
        name: Option<String>,
    },
    /// Forget an added model, or delete a downloaded one.
    Remove {
        /// Its name.
        name: String,
        /// Delete its files, too.
        #[arg(long)]
        delete_files: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum RuntimesCommand {
    /// Try a runtime and attach it: it has to write one token.
    Attach(AttachArgs),
    /// Forget a runtime and its key.
    Detach {
        /// Its name.
        name: String,
    },
}

#[derive(clap::Args)]
pub(crate) struct AttachArgs {
    /// What it is to be called: letters, digits, - and _.
    pub(crate) name: String,
    /// 127.0.0.1:8080 on this machine, https://HOST/v1 for a cloud.
    pub(crate) address: String,
    /// Its own name for the model; not needed when it has only one.
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// The model whose jobs it does, as `tender models` lists it. Needed on this machine; a cloud without it does
    /// every text.
    #[arg(long, value_name = "MODEL")]
    pub(crate) serves: Option<String>,
    /// Texts at the same time [default: what the runtime says].
    #[arg(long)]
    pub(crate) slots: Option<u32>,
    /// Read its key from standard input; it goes to the secret store.
    #[arg(long)]
    pub(crate) key_stdin: bool,
    /// A cloud's price of a million tokens of prompt, USD.
    #[arg(long, value_name = "USD", requires = "text_price", allow_negative_numbers = true)]
    pub(crate) prompt_price: Option<f64>,
    /// A cloud's price of a million tokens of text, USD.
    #[arg(long, value_name = "USD", requires = "prompt_price", allow_negative_numbers = true)]
    pub(crate) text_price: Option<f64>,
}

#[derive(Subcommand)]
pub(crate) enum AgentsCommand {
    /// Read an agent's card and add it.
    Add(AddAgentArgs),
    /// The agents that may be hired.
    List,
    /// Forget an agent and the key for it.
    Remove {
        /// Its name.
        name: String,
    },
}

#[derive(clap::Args)]
pub(crate) struct AddAgentArgs {
    /// https://HOST/…, below which its card is; http:// for this machine only.
    pub(crate) url: String,
    /// What it is to be called: letters, digits, - and _ [default: by its own name].
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// What one text may cost at most, USD [default: the price on its card].
    #[arg(long, value_name = "USD")]
    pub(crate) price: Option<f64>,
    /// The did:key that must sign its card; without one it counts as unsigned.
    #[arg(long, value_name = "DID")]
    pub(crate) did: Option<String>,
    /// Read a key for it from standard input; it goes to the secret store.
    #[arg(long)]
    pub(crate) key_stdin: bool,
}

#[derive(clap::Args)]
pub(crate) struct Bench {
    /// What to measure.
    #[arg(value_enum)]
    pub(crate) name: BenchName,
    /// The worker's executable, when it is not beside `tender`.
    #[arg(long, value_name = "FILE")]
    pub(crate) worker: Option<PathBuf>,
    /// The GGUF file to measure text with [default: SmolLM2 among the downloaded models].
    #[arg(long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum BenchName {
    /// Call for proposals to 16 peers, and award to the first frame of progress.
    Quote,
    /// Matrix products, beside cuBLAS, and the catalogue of kernels.
    Gemm,
    /// Text, beside llama.cpp, and what sandbox, metering and killing cost.
    Generate,
    /// Sentence embeddings.
    Embed,
    /// The A2A interface of a node under load, beside the Python SDK's server.
    A2a,
    /// The decision among 100 and 1,000 candidates, beside pymcdm's ranking.
    Decide,
    /// From the start of a game to the card's memory free, with sold work on the card.
    Guard,
}
