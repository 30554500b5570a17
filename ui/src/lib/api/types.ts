// Generated from tender-node's API types by `TENDER_WRITE_TYPES=1 cargo test -p tender-node typescript`. Do not edit.

export type ContractStateName =
  | 'announced' | 'proposed' | 'awarded' | 'running' | 'delivered' | 'accepted' | 'settled'
  | 'rejected' | 'lapsed' | 'failed' | 'abandoned';

/**
 * No input.
 */
export type Nothing = Record<symbol, never>;

/**
 * The screen of one glance.
 */
export type Overview = { 
/**
 * What the owner calls this node.
 */
name: string, 
/**
 * `did:key:…` of this node.
 */
did: string, 
/**
 * Whether and why it sells.
 */
selling: Selling, 
/**
 * Everything is stopped by the owner's switch.
 */
stopped: boolean, 
/**
 * Earned today (UTC), accepted deliveries only.
 */
earned_today_micro_usd: number, 
/**
 * Spent today (UTC), accepted purchases only.
 */
spent_today_micro_usd: number, 
/**
 * Set aside for awards that are under way.
 */
reserved_micro_usd: number, 
/**
 * The most that may be spent in a day.
 */
daily_spend_cap_micro_usd: number, 
/**
 * Peers paired.
 */
peers: number, 
/**
 * Jobs bought and sold that are under way, newest first.
 */
active: Array<JobSummary>, 
/**
 * Whether any trade was ever completed, real or demonstration.
 */
traded_before: boolean, 
/**
 * Where the A2A interface listens.
 */
a2a_address: string, 
/**
 * Where the identity's secret is kept, in words.
 */
identity_store: string, 
/**
 * Version of the node.
 */
version: string, };

/**
 * Whether the node sells now, and why not.
 */
export type Selling = { 
/**
 * The owner's switch.
 */
on: boolean, 
/**
 * One of `off`, `idle`, `busy`, `paused`, `stopped`.
 */
state: string, 
/**
 * In a sentence.
 */
reason: string, 
/**
 * End of a pause, when paused for a time.
 */
paused_until: string | null, };

/**
 * One line of the job list: a job bought, or a contract sold.
 */
export type JobSummary = { 
/**
 * Job id when bought, contract id when sold.
 */
id: string, 
/**
 * Bought or sold.
 */
role: 'client' | 'contractor', 
/**
 * Real or demonstration money.
 */
book: 'real' | 'demo', 
/**
 * Kind of work.
 */
kind: 'generate' | 'embed' | 'gemm' | 'kernel' | 'wgsl', 
/**
 * What it is, such as `24 passages` or `1024 × 1024 × 1024`.
 */
title: string, 
/**
 * For bought jobs.
 */
state: 'queued' | 'running' | 'verifying' | 'completed' | 'failed' | 'cancelled' | null, 
/**
 * For everything that has a contract.
 */
contract_state: ContractStateName | null, 
/**
 * Why it stands where it stands, in a sentence.
 */
reason: string, 
/**
 * The other side's name, or `this machine`.
 */
with: string | null, 
/**
 * What it costs or earns; the cap until it is delivered.
 */
amount_micro_usd: number | null, 
/**
 * Parts done and in all, while running.
 */
progress: Progress | null, 
/**
 * When it was submitted or called for.
 */
created_at: string, 
/**
 * When it last changed.
 */
changed_at: string, };

/**
 * How far a running job is.
 */
export type Progress = { 
/**
 * Parts done.
 */
done: number, 
/**
 * Parts in all.
 */
total: number, };

/**
 * Which jobs to list.
 */
export type JobsQuery = { 
/**
 * Only bought, or only sold.
 */
role: 'client' | 'contractor' | null, 
/**
 * How many at most; 200 when absent.
 */
limit: number | null, 
/**
 * Only those older than this id.
 */
before: string | null, };

/**
 * A page of jobs, newest first.
 */
export type JobPage = { 
/**
 * The jobs.
 */
jobs: Array<JobSummary>, 
/**
 * Give this as `before` to get the next page.
 */
next: string | null, };

/**
 * One job or contract by id.
 */
export type ById = { 
/**
 * The id, as listed.
 */
id: string, };

/**
 * Everything about one job or sold contract.
 */
export type JobDetail = { 
/**
 * Its line in the list.
 */
summary: JobSummary, 
/**
 * Its contracts, the chosen one first; one when sold, none when run here.
 */
contracts: Array<ContractDetail>, 
/**
 * The decision in words, line by line; empty until decided.
 */
decision: Array<DecisionRow>, 
/**
 * Why the chosen one was chosen, in a sentence.
 */
decision_summary: string | null, 
/**
 * How the result was checked and what was found; in words.
 */
verification: string | null, 
/**
 * Bytes of input and output.
 */
input_bytes: number, 
/**
 * None until delivered.
 */
output_bytes: number | null, 
/**
 * SHA-256 of the output.
 */
output_sha256: string | null, 
/**
 * What went wrong.
 */
problem: ApiProblem | null, 
/**
 * A text so far, while it is written; the whole is the output.
 */
text: string | null, 
/**
 * What was asked for, when it is a text.
 */
generate: GenerateFacts | null, };

/**
 * What a text job asks for.
 */
export type GenerateFacts = { 
/**
 * Name of the model.
 */
model: string, 
/**
 * Tokens of the prompt, the chat template's included.
 */
prompt_tokens: number, 
/**
 * Tokens to write at most.
 */
max_tokens: number, };

/**
 * One contract of a job.
 */
export type ContractDetail = { 
/**
 * Contract id.
 */
id: string, 
/**
 * The other side's name.
 */
with: string, 
/**
 * Where it stands.
 */
state: ContractStateName, 
/**
 * For whom it waits, in a sentence; empty when final.
 */
waits_for: string, 
/**
 * The states it went through, with times: the contract line.
 */
steps: Array<ContractStep>, 
/**
 * What it costs or earns.
 */
amount_micro_usd: number | null, 
/**
 * Joules, when measured.
 */
energy_joules: number | null, 
/**
 * The adapter that ran it.
 */
adapter: string | null, 
/**
 * Whether the complete, countersigned receipt is stored.
 */
receipt: boolean, };

/**
 * A state and when it was reached.
 */
export type ContractStep = { 
/**
 * The state.
 */
state: ContractStateName, 
/**
 * When.
 */
at: string, };

/**
 * One alternative of a decision.
 */
export type DecisionRow = { 
/**
 * `this machine` or the peer's name.
 */
name: string, 
/**
 * Cost, when it was offered.
 */
cost_micro_usd: number | null, 
/**
 * Whether the cost rests on measured figures or a signed price.
 */
cost_measured: boolean, 
/**
 * Expected time to the result.
 */
estimated_ms: number | null, 
/**
 * Chosen.
 */
chosen: boolean, 
/**
 * Answer to "why not this one?", or why it was chosen.
 */
why: string, };

/**
 * The decision behind a job, as `tender explain` prints it.
 */
export type Explanation = { 
/**
 * Plain text.
 */
text: string, 
/**
 * The decision receipt, complete, for replay.
 */
decision: unknown, };

/**
 * Which days of which book.
 */
export type EarningsQuery = { 
/**
 * Real or demonstration money; real when absent.
 */
book: 'real' | 'demo' | null, 
/**
 * How many days back, today included; 30 when absent, 366 at most.
 */
days: number | null, };

/**
 * Money earned and spent, by day.
 */
export type Earnings = { 
/**
 * Which book.
 */
book: 'real' | 'demo', 
/**
 * Oldest first, every day present.
 */
days: Array<EarningsDay>, 
/**
 * What peers owe now.
 */
owed_to_us_micro_usd: number, 
/**
 * What is owed to peers now.
 */
owed_by_us_micro_usd: number, 
/**
 * Delivered but not accepted yet.
 */
delivered_micro_usd: number, 
/**
 * Paid to us in all.
 */
paid_to_us_micro_usd: number, 
/**
 * Paid by us in all.
 */
paid_by_us_micro_usd: number, 
/**
 * By peer.
 */
by_peer: Array<PeerBalance>, 
/**
 * Whether every entry and the whole ledger balance.
 */
ledger_balances: boolean, };

/**
 * One day.
 */
export type EarningsDay = { 
/**
 * Date, UTC, `2026-11-21`.
 */
day: string, 
/**
 * Accepted deliveries sold.
 */
earned_micro_usd: number, 
/**
 * Accepted deliveries bought.
 */
spent_micro_usd: number, 
/**
 * How many sold.
 */
jobs_sold: number, 
/**
 * How many bought.
 */
jobs_bought: number, };

/**
 * What is owed between us and one peer.
 */
export type PeerBalance = { 
/**
 * The peer.
 */
did: string, 
/**
 * Its name.
 */
name: string, 
/**
 * It owes us.
 */
owes_us_micro_usd: number, 
/**
 * We owe it.
 */
we_owe_micro_usd: number, };

/**
 * A paired peer.
 */
export type Peer = { 
/**
 * The peer.
 */
did: string, 
/**
 * Its name.
 */
name: string, 
/**
 * Where it sells; none when it only buys.
 */
address: string | null, 
/**
 * The most it may owe us.
 */
credit_limit_micro_usd: number, 
/**
 * It owes us now.
 */
owes_us_micro_usd: number, 
/**
 * We owe it now.
 */
we_owe_micro_usd: number, 
/**
 * It holds an API key: this node signs in its name, so that its signatures prove nothing against this node.
 */
by_key: boolean, 
/**
 * When paired.
 */
paired_at: string, 
/**
 * Trades completed with it, either way.
 */
trades: number, };

/**
 * All peers.
 */
export type Peers = { 
/**
 * By name.
 */
peers: Array<Peer>, };

/**
 * Make an invitation.
 */
export type InviteInput = { 
/**
 * What the new peer may owe at most.
 */
credit_limit_micro_usd: number, 
/**
 * Valid for so many minutes; 60 when absent, a week at most.
 */
valid_minutes: number | null, };

/**
 * A one-line link to give to the peer.
 */
export type Invitation = { 
/**
 * Paste this on the other machine.
 */
link: string, 
/**
 * After this it no longer works.
 */
expires_at: string, };

/**
 * Issue an API key to a client that does not run Tender.
 */
export type KeyInput = { 
/**
 * What to call the client.
 */
name: string, 
/**
 * What it may owe at most.
 */
credit_limit_micro_usd: number, };

/**
 * An API key; it is not told again.
 */
export type IssuedKey = { 
/**
 * The key, to be sent as bearer token or as `X-API-Key`.
 */
key: string, 
/**
 * What it stands for among the peers.
 */
did: string, };

/**
 * Accept an invitation.
 */
export type AddPeerInput = { 
/**
 * The link.
 */
link: string, 
/**
 * What the inviter may owe us at most; 0 when absent.
 */
credit_limit_micro_usd: number | null, };

/**
 * Change a peer.
 */
export type ChangePeerInput = { 
/**
 * Which.
 */
did: string, 
/**
 * What it may owe at most.
 */
credit_limit_micro_usd: number, };

/**
 * One peer by key.
 */
export type ByDid = { 
/**
 * `did:key:…`.
 */
did: string, };

/**
 * Record a payment made outside the app: everything now owed to the peer is paid.
 */
export type PayInput = { 
/**
 * To whom.
 */
did: string, 
/**
 * How, in words, such as `bank transfer 2026-11-21`.
 */
method: string, 
/**
 * Real or demonstration money; real when absent.
 */
book: 'real' | 'demo' | null, };

/**
 * A payment both sides recorded.
 */
export type Paid = { 
/**
 * Payment id.
 */
payment: string, 
/**
 * How much.
 */
amount_micro_usd: number, 
/**
 * How many contracts it cleared.
 */
contracts: number, };

/**
 * Switch something.
 */
export type Switch = { 
/**
 * On or off.
 */
on: boolean, };

/**
 * Pause selling for a while.
 */
export type PauseInput = { 
/**
 * For so many minutes; 0 ends the pause.
 */
minutes: number, };

/**
 * All settings with their meaning.
 */
export type Settings = { 
/**
 * In the order in which they are shown.
 */
settings: Array<Setting>, };

/**
 * One setting.
 */
export type Setting = { 
/**
 * Its name, such as `price.embed.micro_usd`.
 */
key: string, 
/**
 * Its value now.
 */
value: string | number | boolean | null, 
/**
 * Its value when never set.
 */
default: string | number | boolean | null, 
/**
 * What it does, with its unit and range.
 */
about: string, };

/**
 * Set one setting.
 */
export type SetSettingInput = { 
/**
 * Its name.
 */
key: string, 
/**
 * Its new value; null returns to the default.
 */
value: string | number | boolean | null, };

/**
 * What works on this machine.
 */
export type Doctor = { 
/**
 * One line each.
 */
checks: Array<DoctorCheck>, };

/**
 * One thing looked at.
 */
export type DoctorCheck = { 
/**
 * What.
 */
name: string, 
/**
 * `ok`, `warning` or `fault`.
 */
state: string, 
/**
 * What was found.
 */
message: string, 
/**
 * What to do about it; empty when fine.
 */
remedy: string, };

/**
 * What became of a submission.
 */
export type Submitted = { 
/**
 * The job; none for a dry run.
 */
job: string | null, 
/**
 * The decision, for a dry run.
 */
explanation: Explanation | null, };

/**
 * A job's output.
 */
export type JobOutput = { 
/**
 * Bytes, base64.
 */
data_base64: string, 
/**
 * SHA-256.
 */
sha256: string, 
/**
 * How to read it, in words.
 */
layout: string, };

/**
 * A receipt as stored, for `tender verify`.
 */
export type ReceiptFile = { 
/**
 * The document.
 */
receipt: unknown, 
/**
 * Whether it verifies.
 */
valid: boolean, 
/**
 * Why not.
 */
problem: ApiProblem | null, };

/**
 * A demonstration trade with a second node on this machine.
 */
export type FirstTrade = { 
/**
 * `idle`, `running`, `done` or `failed`.
 */
state: string, 
/**
 * The steps, in order.
 */
steps: Array<TradeStep>, 
/**
 * The finished jobs.
 */
jobs: Array<TradeJob>, 
/**
 * What went wrong.
 */
problem: ApiProblem | null, };

/**
 * One step of a demonstration.
 */
export type TradeStep = { 
/**
 * What is done, in a sentence.
 */
title: string, 
/**
 * `waiting`, `running`, `done` or `failed`.
 */
state: string, 
/**
 * What was found, in a sentence.
 */
detail: string, 
/**
 * How long it took.
 */
ms: number | null, };

/**
 * One finished job of a demonstration.
 */
export type TradeJob = { 
/**
 * Kind of work.
 */
kind: 'generate' | 'embed' | 'gemm' | 'kernel' | 'wgsl', 
/**
 * Why it went where it went, in a sentence.
 */
decision: string, 
/**
 * The price proposed.
 */
quoted_micro_usd: number, 
/**
 * The price charged.
 */
charged_micro_usd: number, 
/**
 * Whether the result passed its check.
 */
verified: boolean, 
/**
 * How it was checked and what was found.
 */
verification: string, 
/**
 * Joules, when measured.
 */
energy_joules: number | null, 
/**
 * From submission to the countersigned receipt.
 */
wall_ms: number, };

/**
 * An error as the UI shows it.
 */
export type ApiProblem = { 
/**
 * The cause, for programs.
 */
code: string, 
/**
 * What happened.
 */
message: string, 
/**
 * What to do.
 */
hint: string, };

/**
 * Buy a job.
 */
export type SubmitInput = { 
/**
 * The work with its input.
 */
work: SubmitWork, 
/**
 * The most it may cost.
 */
budget_micro_usd: number, 
/**
 * The result must be there after so many seconds; 300 when absent.
 */
deadline_seconds: number | null, 
/**
 * Only the own GPU may see the input.
 */
private: boolean | null, 
/**
 * Decide only; run nothing.
 */
dry_run: boolean | null, 
/**
 * Never run it here, even if that is cheapest.
 */
peers_only: boolean | null, };

/**
 * Work with its input.
 */
export type SubmitWork = { "kind": "generate", 
/**
 * Name of the model; the catalogue's first when absent.
 */
model: string | null, 
/**
 * The chat so far.
 */
messages: Array<SubmitMessage> | null, 
/**
 * Text to continue, instead of a chat.
 */
prompt: string | null, 
/**
 * Tokens to write at most; 256 when absent.
 */
max_tokens: number | null, 
/**
 * 0, when absent, always takes the likeliest token; at most 2.
 */
temperature: number | null, 
/**
 * Only so many of the likeliest tokens; 0, when absent, for all.
 */
top_k: number | null, 
/**
 * Only the likeliest tokens that together have this probability; 1 when absent.
 */
top_p: number | null, 
/**
 * Seed of the draw; 0 when absent.
 */
seed: number | null, 
/**
 * The text ends before the first of these.
 */
stop: Array<string> | null, } | { "kind": "embed", 
/**
 * Name of the encoder; the catalogue's first when absent.
 */
model?: string, 
/**
 * The texts.
 */
passages: Array<string>, } | { "kind": "gemm", 
/**
 * Rows of A.
 */
m: number, 
/**
 * Columns of A.
 */
k: number, 
/**
 * Columns of B.
 */
n: number, 
/**
 * `f32` when absent, or `f16`: the elements of A and B. The product is f32.
 */
precision?: string, 
/**
 * A then B, row-major little-endian, base64.
 */
input_base64: string, } | { "kind": "kernel", 
/**
 * `sum`, `mean`, `norm`, `max`, `min`, `arg_max`, `softmax`, `layer_norm`, `rms_norm`, `monte_carlo_pi`
 * or `monte_carlo_call`.
 */
name: string, 
/**
 * Rows of the matrix, or blocks of random paths.
 */
rows: number, 
/**
 * Elements of a row, or paths of a block.
 */
columns: number, 
/**
 * The matrix, row-major little-endian f32, then gain and shift for `layer_norm`, gain for `rms_norm`; for
 * `monte_carlo_*` a little-endian u64 as seed, then spot, strike, rate, volatility and years as f32 for
 * `monte_carlo_call`. Base64.
 */
input_base64: string, } | { "kind": "wgsl", 
/**
 * WGSL source.
 */
source: string, 
/**
 * Entry point.
 */
entry: string, 
/**
 * Workgroups of the one-dimensional grid.
 */
workgroups: number, 
/**
 * Invocations per workgroup, as in the source.
 */
workgroup_size: number, 
/**
 * Loop iterations per invocation.
 */
fuel: number, 
/**
 * `u32` or `f32`: how results are compared.
 */
element: string, 
/**
 * Storage buffers of group 0.
 */
buffers: Array<SubmitBuffer>, };

/**
 * A message of a chat.
 */
export type SubmitMessage = { 
/**
 * `system`, `user` or `assistant`.
 */
role: string, 
/**
 * What was said.
 */
content: string, };

/**
 * A storage buffer of a kernel.
 */
export type SubmitBuffer = { 
/**
 * The binding.
 */
binding: number, 
/**
 * Length in bytes.
 */
bytes: number, 
/**
 * Content, base64; absent for the one output buffer.
 */
data_base64: string | null, };

/**
 * Every model that is known here.
 */
export type Models = { 
/**
 * The catalogue's in its order, then the added ones by name.
 */
models: Array<ModelRow>, 
/**
 * The folder of the downloads.
 */
folder: string, 
/**
 * Memory that a model may take now; none where nothing tells.
 */
free_memory_bytes: number | null, 
/**
 * Which memory that is and who says so, in a sentence.
 */
memory: string, };

/**
 * One model.
 */
export type ModelRow = { 
/**
 * Its name: what `submit` takes.
 */
name: string, 
/**
 * `text` writes, `embed` embeds.
 */
kind: 'text' | 'embed', 
/**
 * `ready`: on this machine and unchanged. `absent`: known to the catalogue, not here. `downloading`,
 * `checking`: its file is being read or hashed. `fault`: see `problem`.
 */
state: 'ready' | 'absent' | 'downloading' | 'checking' | 'fault', 
/**
 * The owner added its file; otherwise it is in the catalogue, and can be downloaded.
 */
added: boolean, 
/**
 * Bytes of its files.
 */
bytes: number, 
/**
 * Bytes of them that are on this machine.
 */
downloaded_bytes: number, 
/**
 * SPDX identifier; none for an added file.
 */
licence: string | null, 
/**
 * How most of its weights are stored, such as `Q4_K`.
 */
quantisation: string | null, 
/**
 * Tokens that it was trained to overlook.
 */
context_tokens: number | null, 
/**
 * Its parameters.
 */
parameters: number | null, 
/**
 * SHA-256 of its weights: how jobs and receipts name it.
 */
sha256: string, 
/**
 * Memory that it takes with this node's limits.
 */
needed_bytes: number | null, 
/**
 * Whether that is free now; none where nothing tells.
 */
fits: boolean | null, 
/**
 * The same in a sentence.
 */
fit: string, 
/**
 * What it is, in a sentence.
 */
about: string, 
/**
 * Where its file or folder is; none when it is not here.
 */
path: string | null, 
/**
 * What is wrong with it, or why its last download ended.
 */
problem: ApiProblem | null, };

/**
 * One model by name.
 */
export type ByModel = { 
/**
 * As listed.
 */
name: string, };

/**
 * Use a GGUF file of this machine. It stays where it is.
 */
export type AddModelInput = { 
/**
 * Absolute path of the file.
 */
path: string, 
/**
 * What it is to be called; the file's name without its ending when absent.
 */
name: string | null, };

/**
 * Forget an added model, or delete a downloaded one.
 */
export type RemoveModelInput = { 
/**
 * As listed.
 */
name: string, 
/**
 * Delete its files, too. A download without its files is no model, so the catalogue's need it.
 */
delete_files: boolean | null, };

/**
 * Every attached runtime.
 */
export type Runtimes = { 
/**
 * In the order of attaching.
 */
runtimes: Array<RuntimeRow>, };

/**
 * One attached runtime. What it did not say is absent.
 */
export type RuntimeRow = { 
/**
 * What the owner calls it.
 */
name: string, 
/**
 * Where it is.
 */
address: string, 
/**
 * On this machine, or a cloud from which is bought.
 */
place: 'this_machine' | 'cloud', 
/**
 * Whether it answers: `connecting` is before the first answer, for `fault` see `problem`.
 */
state: 'connected' | 'connecting' | 'fault', 
/**
 * The model whose jobs it does; none for a cloud that may do every text.
 */
serves: string | null, 
/**
 * Its own name for the model.
 */
model: string | null, 
/**
 * Which program, such as `llama-server`.
 */
engine: string | null, 
/**
 * Its version.
 */
build: string | null, 
/**
 * Quantisation of the weights.
 */
quantisation: string | null, 
/**
 * Most tokens of a prompt and its text together.
 */
context_tokens: number | null, 
/**
 * Texts at the same time.
 */
slots: number | null, 
/**
 * Whether clients may have texts from it.
 */
for_sale: boolean, 
/**
 * What it is used for, in a sentence.
 */
about: string, 
/**
 * Whether a key is kept for it.
 */
has_key: boolean, 
/**
 * What a cloud asks for a million tokens of prompt.
 */
prompt_micro_usd_per_million: number | null, 
/**
 * What a cloud asks for a million tokens of text.
 */
text_micro_usd_per_million: number | null, 
/**
 * Why it does not answer.
 */
problem: ApiProblem | null, };

/**
 * Attach a runtime. It is tried first, and has to write one token.
 */
export type AttachRuntimeInput = { 
/**
 * What it is to be called: letters, digits, `-` and `_`.
 */
name: string, 
/**
 * `127.0.0.1:8080` on this machine, `https://HOST/v1` for a cloud.
 */
address: string, 
/**
 * Its own name for the model; not needed when it has only one.
 */
model: string | null, 
/**
 * The model whose jobs it does, as `models` lists it. Needed on this machine; a cloud without does every text.
 */
serves: string | null, 
/**
 * Texts at the same time; what the runtime says when absent.
 */
slots: number | null, 
/**
 * The key that it asks for; it goes to the secret store.
 */
key: string | null, 
/**
 * A cloud's price of a million tokens of prompt. Both prices make it a cloud.
 */
prompt_micro_usd_per_million: number | null, 
/**
 * A cloud's price of a million tokens of text.
 */
text_micro_usd_per_million: number | null, };

/**
 * One runtime by name.
 */
export type ByRuntime = { 
/**
 * As listed.
 */
name: string, };

/**
 * Every agent that was added.
 */
export type Agents = { 
/**
 * In the order of adding.
 */
agents: Array<AgentRow>, };

/**
 * One agent.
 */
export type AgentRow = { 
/**
 * What the owner calls it.
 */
name: string, 
/**
 * Where its card is.
 */
url: string, 
/**
 * What it says of itself; absent until its card was read.
 */
about: string | null, 
/**
 * Whether its card is signed by a key that the owner pinned.
 */
signed: boolean, 
/**
 * What one text may cost, however long; absent when it is priced by tokens.
 */
price_micro_usd: number | null, 
/**
 * What a million tokens of prompt and text cost.
 */
price_micro_usd_per_million: number | null, 
/**
 * Who stated the price.
 */
price_of: 'owner' | 'card', 
/**
 * Whether a key is kept for it.
 */
has_key: boolean, 
/**
 * Why it is not asked now.
 */
problem: ApiProblem | null, };

/**
 * Add an agent. Its card is read first.
 */
export type AddAgentInput = { 
/**
 * `https://HOST/…`, below which its card is; `http://` for this machine only.
 */
url: string, 
/**
 * What it is to be called: letters, digits, `-` and `_`; by its own name when absent.
 */
name: string | null, 
/**
 * What one text may cost, however long; the price on its card when absent.
 */
price_micro_usd: number | null, 
/**
 * `did:key:…` that must sign its card; when absent the agent counts as unsigned.
 */
did: string | null, 
/**
 * The key that it asks for; it goes to the secret store.
 */
key: string | null, };

/**
 * One agent by name.
 */
export type ByAgent = { 
/**
 * As listed.
 */
name: string, };

export type BreakevenInput = { price_usd: number, resale_fraction: number, lifetime_years: number, discount_rate: number, gpu_watts: number, host_watts: number, idle_watts: number, psu_efficiency: number, cooling_overhead: number, maintenance_fraction: number, tariff_usd_per_kwh: number, opportunity_usd_per_active_hour: number, tokens_per_second: number, utilisation: number, api_usd_per_million: number, api_usd_per_million_input: number | null, input_output_ratio: number | null, prefill_tokens_per_second: number | null, cards: number | null };
export type Origin = { origin: 'measured' | 'stated' | 'assumed' | 'published' | 'computed', by?: string, on?: string };
export type WhyTerm = { name: string, value: number, unit: string } & Origin;
export type Why = { name: string, value: number, unit: string, formula: string, source: string, inputs: Array<WhyTerm> };
export type BreakevenPreset = { name: 'own' | 'example' | 'seed_004_claimed' | 'seed_004', input: BreakevenInput, origins: { [key in string]?: Origin }, history: string | null, claimed_tokens_per_day: number | null };
export type BreakevenPresets = { presets: Array<BreakevenPreset> };
export type BreakevenQuery = { input: BreakevenInput, origins: { [key in string]?: Origin }, margin: number };
export type Breakeven = { tokens_per_day: number | null, utilisation: number | null, reachable: boolean, why: string };
export type BreakevenOutput = { capital_usd_per_year: number, maintenance_usd_per_year: number, idle_energy_usd_per_year: number, active_energy_usd_per_year: number, opportunity_usd_per_year: number, total_usd_per_year: number, usd_per_million_tokens: number, marginal_usd_per_million_tokens: number, usd_per_active_hour: number, breakeven: Breakeven, why: Array<Why> };
export type CostLine = { usd_per_day: number, usd_per_million: number, until_tokens_per_day: number | null };
export type CostBand = { stated: CostLine, low: CostLine, high: CostLine };
export type BreakevenAnswer = { output: BreakevenOutput, at_best: Breakeven, at_worst: Breakeven, own: CostBand, buy: CostBand, capacity_tokens_per_day: number, tokens_per_day: number, whys: { [key in string]?: Why } };
export type ApiPriceList = { source: string, taken_on: string, rows: Array<ApiPriceRow> };
export type ApiPriceRow = { provider: string, model: string, prompt_usd_per_million: number, text_usd_per_million: number, varies_by_hour: boolean };
export type UsageQuery = { csv: string, input: BreakevenInput, busy_hours: number, stands_in_for: Array<string>, rent: RentInput | null };
export type RentInput = { usd_per_hour: number, tokens_per_second: number, prefill_tokens_per_second: number | null };
export type Choice = { choice: 'api' | 'buy' | 'rent', cards?: number };
export type Interval = { low: number, high: number };
export type Alternative = { usd_per_year: number, interval: Interval | null, saves_usd_per_year: number, saves_interval: Interval | null, cheapest_share: number | null, utilisation: number | null, overflow: number | null, flips_at_tokens_per_day: number | null, why: Why } & Choice;
export type UsageMonth = { month: string, days: number, usd: Array<number>, best: Choice, regret_usd: number, recommended_regret_usd: number };
export type UsageComparison = { days: number, prompt_tokens_per_day: number, text_tokens_per_day: number, alternatives: Array<Alternative>, recommended: Choice, flip_utilisation: number | null, months: Array<UsageMonth>, interval_unknown: string | null };
export type UsageAnswer = { comparison: UsageComparison, lines: number, models: Array<string>, stands_in_for: Array<string>, stated: boolean, priced_on: string | null, regret_whys: Array<Why>, input: BreakevenInput | null };

export type Operations = {
  overview: { kind: 'query'; input: Nothing; output: Overview };
  jobs: { kind: 'query'; input: JobsQuery; output: JobPage };
  job: { kind: 'query'; input: ById; output: JobDetail };
  explain: { kind: 'query'; input: ById; output: Explanation };
  output: { kind: 'query'; input: ById; output: JobOutput };
  receipt: { kind: 'query'; input: ById; output: ReceiptFile };
  earnings: { kind: 'query'; input: EarningsQuery; output: Earnings };
  peers: { kind: 'query'; input: Nothing; output: Peers };
  settings: { kind: 'query'; input: Nothing; output: Settings };
  doctor: { kind: 'query'; input: Nothing; output: Doctor };
  models: { kind: 'query'; input: Nothing; output: Models };
  runtimes: { kind: 'query'; input: Nothing; output: Runtimes };
  agents: { kind: 'query'; input: Nothing; output: Agents };
  api_prices: { kind: 'query'; input: Nothing; output: ApiPriceList };
  breakeven_presets: { kind: 'query'; input: Nothing; output: BreakevenPresets };
  breakeven: { kind: 'query'; input: BreakevenQuery; output: BreakevenAnswer };
  breakeven_usage: { kind: 'query'; input: UsageQuery; output: UsageAnswer };
  submit: { kind: 'command'; input: SubmitInput; output: Submitted };
  cancel_job: { kind: 'command'; input: ById; output: Nothing };
  sell: { kind: 'command'; input: Switch; output: Selling };
  pause: { kind: 'command'; input: PauseInput; output: Selling };
  stop_everything: { kind: 'command'; input: Switch; output: Overview };
  set_setting: { kind: 'command'; input: SetSettingInput; output: Settings };
  invite: { kind: 'command'; input: InviteInput; output: Invitation };
  issue_key: { kind: 'command'; input: KeyInput; output: IssuedKey };
  add_peer: { kind: 'command'; input: AddPeerInput; output: Peer };
  change_peer: { kind: 'command'; input: ChangePeerInput; output: Peer };
  remove_peer: { kind: 'command'; input: ByDid; output: Nothing };
  record_payment: { kind: 'command'; input: PayInput; output: Paid };
  start_first_trade: { kind: 'command'; input: Nothing; output: FirstTrade };
  download_model: { kind: 'command'; input: ByModel; output: Models };
  cancel_download: { kind: 'command'; input: ByModel; output: Models };
  add_model: { kind: 'command'; input: AddModelInput; output: Models };
  remove_model: { kind: 'command'; input: RemoveModelInput; output: Models };
  attach_runtime: { kind: 'command'; input: AttachRuntimeInput; output: Runtimes };
  detach_runtime: { kind: 'command'; input: ByRuntime; output: Runtimes };
  add_agent: { kind: 'command'; input: AddAgentInput; output: Agents };
  remove_agent: { kind: 'command'; input: ByAgent; output: Agents };
  watch_overview: { kind: 'subscription'; input: Nothing; output: Overview };
  watch_jobs: { kind: 'subscription'; input: Nothing; output: JobPage };
  watch_first_trade: { kind: 'subscription'; input: Nothing; output: FirstTrade };
  watch_models: { kind: 'subscription'; input: Nothing; output: Models };
  watch_runtimes: { kind: 'subscription'; input: Nothing; output: Runtimes };
  watch_agents: { kind: 'subscription'; input: Nothing; output: Agents };
};
