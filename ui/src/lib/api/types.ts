// Generated from tender-node's API types by `TENDER_WRITE_TYPES=1 cargo test -p tender-node typescript`. Do not edit.

export type ContractStateName =
  | 'announced' | 'proposed' | 'awarded' | 'running' | 'delivered' | 'accepted' | 'settled'
  | 'rejected' | 'lapsed' | 'failed' | 'abandoned' | 'handed_back';

export type GuardTriggerName =
  | 'game' | 'other_program' | 'temperature' | 'power' | 'battery' | 'activity' | 'schedule' | 'metered' | 'test';

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
 * What the guard could see once and has not for half a minute; selling goes on without it.
 */
guard_lost: Array<GuardLost>, 
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
 * Why it stands there, when that says more than its state: why it failed, was rejected, given up or handed back.
 */
reason: string | null, 
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
receipt: boolean, 
/**
 * Why it ended as it did, when it did not end well.
 */
problem: ApiProblem | null, };

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
decision: unknown, 
/**
 * How the expected total of each alternative that was ranked follows from its inputs.
 */
whys: unknown[], };

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
 * What a million tokens of prompt and text cost; of text alone where the prompt has a price of its own.
 */
price_micro_usd_per_million: number | null, 
/**
 * What a million tokens of prompt cost, where that is another price.
 */
prompt_micro_usd_per_million: number | null, 
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

/**
 * What a card costs and does, and what the API asks: the fields of `tender breakeven --input`.
 */
export type BreakevenInput = { 
/**
 * Price of a card, USD.
 */
price_usd: number, 
/**
 * What it is worth when it is sold, as a fraction of the price.
 */
resale_fraction: number, 
/**
 * Years until it is sold.
 */
lifetime_years: number, 
/**
 * Interest per year.
 */
discount_rate: number, 
/**
 * The card's draw while it works, watts.
 */
gpu_watts: number, 
/**
 * What the rest of the machine draws more while the card works, watts.
 */
host_watts: number, 
/**
 * What card and machine draw for this purpose while they wait, watts.
 */
idle_watts: number, 
/**
 * Share of the power at the wall that the power supply passes on.
 */
psu_efficiency: number, 
/**
 * Energy for cooling as a fraction of that at the wall.
 */
cooling_overhead: number, 
/**
 * Maintenance per year as a fraction of the price.
 */
maintenance_fraction: number, 
/**
 * Price of electricity, USD/kWh.
 */
tariff_usd_per_kwh: number, 
/**
 * Margin of the best other use that an active hour displaces, USD.
 */
opportunity_usd_per_active_hour: number, 
/**
 * Tokens of text per second while a card works.
 */
tokens_per_second: number, 
/**
 * Fraction of the year in which it works.
 */
utilisation: number, 
/**
 * What the API asks for a million tokens of text, USD.
 */
api_usd_per_million: number, 
/**
 * What the API asks for a million tokens of prompt, USD.
 */
api_usd_per_million_input: number | null, 
/**
 * Tokens of prompt for each token of text.
 */
input_output_ratio: number | null, 
/**
 * Tokens of prompt that a card reads per second.
 */
prefill_tokens_per_second: number | null, 
/**
 * How many equal cards; one when absent.
 */
cards: number | null, };

/**
 * Where a number comes from.
 */
export type Origin = { 
/**
 * How it is known.
 */
origin: 'measured' | 'stated' | 'assumed' | 'published' | 'computed', 
/**
 * Who published it.
 */
by?: string, 
/**
 * On which day, `2026-11-21`.
 */
on?: string, };

/**
 * One input of a number.
 */
export type WhyTerm = { 
/**
 * As the formula names it.
 */
name: string, 
/**
 * Its value.
 */
value: number, 
/**
 * Its unit; empty for a plain number.
 */
unit: string, 
/**
 * How it is known.
 */
origin: 'measured' | 'stated' | 'assumed' | 'published' | 'computed', 
/**
 * Who published it.
 */
by?: string, 
/**
 * On which day, `2026-11-21`.
 */
on?: string, };

/**
 * Why a number is what it is.
 */
export type Why = { 
/**
 * What the number is.
 */
name: string, 
/**
 * The number.
 */
value: number, 
/**
 * Its unit.
 */
unit: string, 
/**
 * How it follows from the inputs, in their names.
 */
formula: string, 
/**
 * Where the formula is from.
 */
source: string, 
/**
 * What it stands on.
 */
inputs: Array<WhyTerm>, };

/**
 * A case to start from.
 */
export type BreakevenPreset = { 
/**
 * Which one.
 */
name: 'own' | 'example' | 'seed_004_claimed' | 'seed_004', 
/**
 * Its numbers.
 */
input: BreakevenInput, 
/**
 * Where each of them comes from, by field.
 */
origins: { [key in string]: Origin }, 
/**
 * Where the case comes from, when it has a story.
 */
history: string | null, 
/**
 * What it claims: tokens of text a day above which owning is cheaper.
 */
claimed_tokens_per_day: number | null, };

/**
 * All cases.
 */
export type BreakevenPresets = { 
/**
 * The own card first, where it is known.
 */
presets: Array<BreakevenPreset>, };

/**
 * A question of break-even.
 */
export type BreakevenQuery = { 
/**
 * The numbers.
 */
input: BreakevenInput, 
/**
 * Where each of them comes from, by field; stated when absent.
 */
origins: { [key in string]: Origin }, 
/**
 * By how much speed, power draw, tariff, resale value and the API's price may each be wrong, 0 to 0.9.
 */
margin: number, };

/**
 * The volume from which on the cards are cheaper than the API.
 */
export type Breakeven = { 
/**
 * Tokens of text a day; none when there is no such volume.
 */
tokens_per_day: number | null, 
/**
 * The utilisation at which the cards make that many; above 1 they cannot.
 */
utilisation: number | null, 
/**
 * Whether these cards can make that many.
 */
reachable: boolean, 
/**
 * In a sentence.
 */
why: string, };

/**
 * The yearly bill and the break-even, of all cards together: the answer of `tender breakeven --input`.
 */
export type BreakevenOutput = { 
/**
 * Annuity of the price less the present value of the resale.
 */
capital_usd_per_year: number, 
/**
 * Maintenance.
 */
maintenance_usd_per_year: number, 
/**
 * Energy while waiting.
 */
idle_energy_usd_per_year: number, 
/**
 * Energy while working.
 */
active_energy_usd_per_year: number, 
/**
 * Income forgone.
 */
opportunity_usd_per_year: number, 
/**
 * The five above.
 */
total_usd_per_year: number, 
/**
 * Total over the tokens of text made.
 */
usd_per_million_tokens: number, 
/**
 * What a million tokens more cost.
 */
marginal_usd_per_million_tokens: number, 
/**
 * Total over the active hours.
 */
usd_per_active_hour: number, 
/**
 * From where on it pays.
 */
breakeven: Breakeven, 
/**
 * How the two figures that a person acts on came about.
 */
why: Array<Why>, };

/**
 * Cost per day as a line over tokens of text per day.
 */
export type CostLine = { 
/**
 * USD a day without any token.
 */
usd_per_day: number, 
/**
 * USD for each million tokens more.
 */
usd_per_million: number, 
/**
 * To so many tokens a day; what is more goes to the API. None where there is no end.
 */
until_tokens_per_day: number | null, };

/**
 * A line with its least and its most.
 */
export type CostBand = { 
/**
 * By the numbers as they are.
 */
stated: CostLine, 
/**
 * When all are wrong so that it is cheapest.
 */
low: CostLine, 
/**
 * When all are wrong so that it is dearest.
 */
high: CostLine, };

/**
 * The answer, with what the picture of the crossing is drawn from.
 */
export type BreakevenAnswer = { 
/**
 * The contract's answer.
 */
output: BreakevenOutput, 
/**
 * The break-even when everything is wrong to the cards' advantage.
 */
at_best: Breakeven, 
/**
 * The break-even when everything is wrong to the cards' disadvantage.
 */
at_worst: Breakeven, 
/**
 * Owning.
 */
own: CostBand, 
/**
 * Buying tokens.
 */
buy: CostBand, 
/**
 * What the cards can make: tokens of text a day.
 */
capacity_tokens_per_day: number, 
/**
 * What they make at the utilisation given: tokens of text a day.
 */
tokens_per_day: number, 
/**
 * Why each number is what it is, by its field in `output`; `tokens_per_day` for the break-even,
 * `capacity_tokens_per_day`, `at_best` and `at_worst` where there are such.
 */
whys: { [key in string]: Why }, };

/**
 * What large providers ask, as it was published on a day.
 */
export type ApiPriceList = { 
/**
 * Whose collection it is, with its version.
 */
source: string, 
/**
 * The day on which it was taken.
 */
taken_on: string, 
/**
 * In the collection's order.
 */
rows: Array<ApiPriceRow>, };

/**
 * What one model costs today.
 */
export type ApiPriceRow = { 
/**
 * Who asks it.
 */
provider: string, 
/**
 * The model.
 */
model: string, 
/**
 * USD for a million tokens of prompt.
 */
prompt_usd_per_million: number, 
/**
 * USD for a million tokens of text.
 */
text_usd_per_million: number, 
/**
 * Whether it is dearer at some hours.
 */
varies_by_hour: boolean, };

/**
 * A bill for API use, against the alternatives.
 */
export type UsageQuery = { 
/**
 * The bill as CSV, in the dialect of whoever exported it.
 */
csv: string, 
/**
 * The card; `utilisation`, prices at the API and mix of tokens are the bill's.
 */
input: BreakevenInput, 
/**
 * Hours of a day in which work comes, above 0 to 24.
 */
busy_hours: number, 
/**
 * The models that the card's may stand in for; all when empty.
 */
stands_in_for: Array<string>, 
/**
 * A card to rent instead.
 */
rent: RentInput | null, };

/**
 * A card to rent by the hour.
 */
export type RentInput = { 
/**
 * Price of an hour, USD.
 */
usd_per_hour: number, 
/**
 * Tokens of text that it writes per second.
 */
tokens_per_second: number, 
/**
 * Tokens of prompt that it reads per second.
 */
prefill_tokens_per_second: number | null, };

/**
 * One of the alternatives.
 */
export type Choice = { 
/**
 * Stay with the API, buy cards, or rent by the hour.
 */
choice: 'api' | 'buy' | 'rent', 
/**
 * How many cards to buy.
 */
cards?: number, };

/**
 * A 95 % interval.
 */
export type Interval = { 
/**
 * Its lower end.
 */
low: number, 
/**
 * Its upper end.
 */
high: number, };

/**
 * What an alternative costs for the use seen.
 */
export type Alternative = { 
/**
 * USD for a year of such days.
 */
usd_per_year: number, 
/**
 * Its 95 % interval; none when there are too few days.
 */
interval: Interval | null, 
/**
 * Saved against staying with the API, USD per year.
 */
saves_usd_per_year: number, 
/**
 * Its 95 % interval.
 */
saves_interval: Interval | null, 
/**
 * In which fraction of the replicates this is the cheapest.
 */
cheapest_share: number | null, 
/**
 * Fraction of all hours in which the cards would work.
 */
utilisation: number | null, 
/**
 * Fraction of the work that is left to the API.
 */
overflow: number | null, 
/**
 * Tokens of text a day from which on this beats the API; none when never.
 */
flips_at_tokens_per_day: number | null, 
/**
 * How the yearly cost came about.
 */
why: Why, 
/**
 * Stay with the API, buy cards, or rent by the hour.
 */
choice: 'api' | 'buy' | 'rent', 
/**
 * How many cards to buy.
 */
cards?: number, };

/**
 * A calendar month of the bill.
 */
export type UsageMonth = { 
/**
 * `2026-11`.
 */
month: string, 
/**
 * How many of its days were seen.
 */
days: number, 
/**
 * What each alternative would have cost, USD, in the order of the alternatives.
 */
usd: Array<number>, 
/**
 * The cheapest in hindsight.
 */
best: Choice, 
/**
 * What staying with the API cost more than that, USD.
 */
regret_usd: number, 
/**
 * What the alternative recommended over the whole span cost more than that, USD.
 */
recommended_regret_usd: number, };

/**
 * The alternatives over the days of a bill.
 */
export type UsageComparison = { 
/**
 * Days compared, those without use among them.
 */
days: number, 
/**
 * Tokens of prompt on a mean day.
 */
prompt_tokens_per_day: number, 
/**
 * Tokens of text on a mean day.
 */
text_tokens_per_day: number, 
/**
 * The API first, then one to four cards, then rent.
 */
alternatives: Array<Alternative>, 
/**
 * The cheapest over the whole span.
 */
recommended: Choice, 
/**
 * The utilisation of a card from which on it beats the API at the price paid; none when never.
 */
flip_utilisation: number | null, 
/**
 * Month by month.
 */
months: Array<UsageMonth>, 
/**
 * Why there are no intervals; none when there are.
 */
interval_unknown: string | null, };

/**
 * What a bill says.
 */
export type UsageAnswer = { 
/**
 * The comparison.
 */
comparison: UsageComparison, 
/**
 * Lines of the bill.
 */
lines: number, 
/**
 * All models of the bill.
 */
models: Array<string>, 
/**
 * Those that the card's model is taken to stand in for.
 */
stands_in_for: Array<string>, 
/**
 * Whether that was stated, rather than assumed of all.
 */
stated: boolean, 
/**
 * The day of the published prices that stand for a missing cost column.
 */
priced_on: string | null, 
/**
 * How the regret of each month came about, in the months' order.
 */
regret_whys: Array<Why>, 
/**
 * The card in the bill's use, mix of tokens and price paid; none when no text was written.
 */
input: BreakevenInput | null, };

/**
 * What can be simulated.
 */
export type SimulationPresets = { 
/**
 * In the order of their documentation.
 */
presets: Array<SimulationPreset>, 
/**
 * Most runs of one simulation.
 */
max_runs: number, };

/**
 * A world.
 */
export type SimulationPreset = { 
/**
 * Its name.
 */
name: string, 
/**
 * What happens in it, in a sentence.
 */
about: string, 
/**
 * Ways of deciding that it can follow, its own first; none when it compares rules instead.
 */
policies: Array<string>, };

/**
 * A simulation to run.
 */
export type SimulationInput = { 
/**
 * Name of the world.
 */
preset: string, 
/**
 * Way of deciding; the preset's own when absent.
 */
policy: string | null, 
/**
 * Runs per scenario.
 */
runs: number, 
/**
 * Seed of all draws: the same seed, the same figures.
 */
seed: number, };

/**
 * Mean and spread over runs.
 */
export type Spread = { 
/**
 * Mean.
 */
mean: number, 
/**
 * Sample standard deviation; none for a single run.
 */
sd: number | null, };

/**
 * Which share of the decisions each kind of place won, in per cent.
 */
export type Won = { 
/**
 * The own card.
 */
local: number, 
/**
 * Peers.
 */
peer: number, 
/**
 * Clouds.
 */
cloud: number, };

/**
 * One scenario over all runs.
 */
export type SimulationRow = { 
/**
 * Which scenario.
 */
id: string, 
/**
 * Client agents.
 */
clients: number, 
/**
 * Contractors.
 */
contractors: number, 
/**
 * Days simulated.
 */
days: number, 
/**
 * Runs started.
 */
runs: number, 
/**
 * Runs that ended.
 */
runs_ok: number, 
/**
 * Cost reduction as the paper counts it.
 */
cost_reduction_pct: Spread | null, 
/**
 * Time savings, counted in the same way.
 */
time_savings_pct: Spread | null, 
/**
 * Share of decisions for a peer or a cloud.
 */
outsourced_pct: number | null, 
/**
 * Mean closeness of the places that were bought from.
 */
topsis_mean: number | null, 
/**
 * Who won.
 */
won_pct: Won | null, 
/**
 * 1 − actual total/all-local total, losses counted.
 */
honest_saving_pct: number | null, 
/**
 * The same for always taking the lowest bill.
 */
cheapest_saving_pct: number | null, 
/**
 * The same for knowing every true parameter.
 */
oracle_saving_pct: number | null, 
/**
 * Mean decisions of a run.
 */
decisions: number, 
/**
 * Share of decisions that explored.
 */
explored_pct: number | null, 
/**
 * Runs whose rate of exploration was not what the policy announced.
 */
exploration_alarms: number, 
/**
 * Share of a pool's hours that were used.
 */
utilisation_pct: number | null, 
/**
 * What the paper and its authors' code say; in the paper's world only.
 */
published: PublishedRow | null, };

/**
 * What is known of a scenario of the paper's, in per cent.
 */
export type PublishedRow = { 
/**
 * Cost reduction that the paper prints.
 */
paper_cost: Spread, 
/**
 * Time savings that the paper prints.
 */
paper_time: Spread, 
/**
 * Cost reduction of the authors' code, run again.
 */
peer_cost: Spread, 
/**
 * Time savings of the same.
 */
peer_time: Spread, 
/**
 * Honest saving of the same.
 */
peer_honest: number, 
/**
 * What the same would have been with the cheapest place per task.
 */
peer_oracle: number, };

/**
 * What a simulation says.
 */
export type Simulation = { 
/**
 * One row per scenario, or per rule.
 */
rows: Array<SimulationRow>, };

/**
 * A page about a simulation, complete in itself.
 */
export type SimulationReport = { 
/**
 * HTML.
 */
page: string, };

/**
 * How far the simulation is that runs.
 */
export type SimulationProgress = { 
/**
 * Whether one runs.
 */
running: boolean, 
/**
 * Runs begun, over all scenarios.
 */
begun: number, 
/**
 * Runs in all; none for a page, which compares many simulations.
 */
total: number | null, };

/**
 * For which prices reasons are wanted.
 */
export type PricesQuery = { 
/**
 * One kind of work; all when absent.
 */
kind: 'embed' | 'gemm' | 'kernel' | 'wgsl' | 'generate' | null, 
/**
 * What to earn on top of the floor, as a fraction of it, 0 to 10; a quarter when absent.
 */
margin: number | null, 
/**
 * Most that can be asked for a unit, micro-dollars; what the cheapest attached cloud asks when absent.
 */
cap_micro_usd_per_unit: number | null, };

/**
 * What is asked for work on the own card, and what could be.
 */
export type Prices = { 
/**
 * A row for each kind of work.
 */
rows: Array<PriceRow>, 
/**
 * How many hours a day somebody is expected to pay for.
 */
paid_hours: PaidHours, };

/**
 * A price as it is stated: so much for so many units.
 */
export type PriceRate = { 
/**
 * Micro-dollars.
 */
micro_usd: number, 
/**
 * For so many units.
 */
per_units: number, };

/**
 * One kind of work.
 */
export type PriceRow = { 
/**
 * Which.
 */
kind: 'embed' | 'gemm' | 'kernel' | 'wgsl' | 'generate', 
/**
 * What a unit is: `token`, `flop`, `element` or `step`.
 */
unit: string, 
/**
 * What is asked now; of a text alone where its prompt has a price of its own.
 */
asked: PriceRate, 
/**
 * What is asked for a text's prompt, where that is another price.
 */
asked_prompt: PriceRate | null, 
/**
 * What the asked price covers of the floor, when that is less than all.
 */
warning: string | null, 
/**
 * The suggestion; absent when it is unknown.
 */
suggested: SuggestedPrice | null, 
/**
 * Why there is no suggestion.
 */
unknown: string | null, };

/**
 * A price to ask.
 */
export type SuggestedPrice = { 
/**
 * The price.
 */
rate: PriceRate, 
/**
 * The same for a second of the card, dollars.
 */
usd_per_gpu_second: number, 
/**
 * What a unit costs here at the tariff of this hour, micro-dollars.
 */
floor_micro_usd_per_unit: number, 
/**
 * What held the price.
 */
held: 'free' | 'at_floor' | 'at_cap' | 'cap_below_floor', 
/**
 * Beyond the floor in the paid hours of a day, dollars: expected, and both ends of the interval; absent when
 * the paid hours are unknown.
 */
margin_usd_per_day: Array<number> | null, 
/**
 * How price and floor came about.
 */
why: unknown[], };

/**
 * Hours of a day that somebody pays for.
 */
export type PaidHours = { 
/**
 * Hours a day; absent when unknown.
 */
mean: number | null, 
/**
 * Lower end of the 95 % interval.
 */
low: number | null, 
/**
 * Upper end of the 95 % interval.
 */
high: number | null, 
/**
 * Why they are unknown.
 */
unknown: string | null, 
/**
 * How they came about.
 */
why: unknown, };

/**
 * Ask this price from now on.
 */
export type SetPriceInput = { 
/**
 * For which kind of work.
 */
kind: 'embed' | 'gemm' | 'kernel' | 'wgsl' | 'generate', 
/**
 * The price; of a text for its prompt as well, unless that has its own.
 */
rate: PriceRate, 
/**
 * The prompt's own price: as it is when absent, none with `per_units` 0.
 */
prompt?: PriceRate, };

/**
 * Break-even from the own job log.
 */
export type LogQuery = { 
/**
 * The API's model, as the published prices name it, such as `openai/gpt-4o-mini`.
 */
api_model: string, 
/**
 * Days of the log, back from today; 90 when absent, 366 at most.
 */
days: number | null, 
/**
 * Hours of the day in which work comes; 24 when absent.
 */
busy_hours: number | null, 
/**
 * Seed of the bootstrap behind the intervals; 1 when absent.
 */
seed: number | null, };

/**
 * What the own job log says about buying cards.
 */
export type LogAnswer = { 
/**
 * The API's price.
 */
api: LogApiPrice, 
/**
 * Text jobs of the card in the log.
 */
card_jobs: number, 
/**
 * Text jobs of the owner in the log, wherever they ran.
 */
own_jobs: number, 
/**
 * Speeds, watts and occupancy of the card, each with its why; empty when the log is too short.
 */
evidence: unknown[], 
/**
 * Why there is no evidence.
 */
unknown: string | null, 
/**
 * The yearly bill and the break-even of one card, as `tender breakeven --input` gives them; absent without
 * evidence.
 */
breakeven: unknown, 
/**
 * Cards, rent and API compared over the days of the log; absent without evidence.
 */
comparison: unknown, 
/**
 * The rule that holds.
 */
rule: BreakevenRule | null, };

/**
 * A published price.
 */
export type LogApiPrice = { 
/**
 * Who asks it.
 */
provider: string, 
/**
 * For which model.
 */
model: string, 
/**
 * For a million tokens of prompt, micro-dollars.
 */
prompt_micro_usd_per_million: number, 
/**
 * For a million tokens of text, micro-dollars.
 */
text_micro_usd_per_million: number, 
/**
 * Whose collection.
 */
source: string, 
/**
 * The day on which it was taken.
 */
taken_on: string, };

/**
 * From which volume on work goes to the own card.
 */
export type BreakevenRule = { 
/**
 * Tokens of text a day.
 */
tokens_per_day: number, 
/**
 * When it was computed.
 */
computed_at: string, 
/**
 * Tokens of text written today for the owner, wherever.
 */
today: number, };

/**
 * Which decisions to list.
 */
export type DecisionsQuery = { 
/**
 * How many at most, 1 to 200; 50 when absent.
 */
limit: number | null, 
/**
 * Only those of jobs older than this one.
 */
before: string | null, };

/**
 * A page of decisions, newest first.
 */
export type Decisions = { 
/**
 * The decisions.
 */
decisions: Array<DecisionSummary>, 
/**
 * Give this as `before` to get the next page.
 */
next: string | null, };

/**
 * One decision in a list.
 */
export type DecisionSummary = { 
/**
 * The job that was decided about.
 */
job: string, 
/**
 * When it was decided.
 */
at: string, 
/**
 * What the job is, such as `24 passages`.
 */
title: string, 
/**
 * Kind of work.
 */
kind: 'generate' | 'embed' | 'gemm' | 'kernel' | 'wgsl', 
/**
 * Who was chosen; absent when nobody could be.
 */
chosen: string | null, 
/**
 * The policy that chose; absent for what an earlier version decided.
 */
policy: string | null, 
/**
 * Another than the best was tried, to learn about it.
 */
explored: boolean, 
/**
 * Probability with which the policy takes the one it took; absent where that follows from what was learned.
 */
odds: number | null, 
/**
 * How many alternatives there were.
 */
alternatives: number, 
/**
 * Of these, how many met every constraint.
 */
considered: number, 
/**
 * The bill that was expected of the chosen one.
 */
expected_micro_usd: number | null, 
/**
 * Whether that rests on measured figures or a signed price.
 */
measured: boolean, 
/**
 * What it came to.
 */
actual_micro_usd: number | null, };

/**
 * Which decision, and by which policy it is decided again.
 */
export type DecisionQuery = { 
/**
 * The job.
 */
job: string, 
/**
 * Another policy, such as `greedy`, `epsilon=0.1`, `graduated=0.5`, `ucb1=0.3`, `thompson` or `cheapest`; none
 * when absent.
 */
policy: string | null, };

/**
 * A decision, all of it.
 */
export type DecisionView = { 
/**
 * The job that was decided about.
 */
job: string, 
/**
 * When it was decided.
 */
at: string, 
/**
 * What the job is.
 */
title: string, 
/**
 * Kind of work.
 */
kind: 'generate' | 'embed' | 'gemm' | 'kernel' | 'wgsl', 
/**
 * Where the job stands.
 */
state: 'queued' | 'running' | 'verifying' | 'completed' | 'failed' | 'cancelled', 
/**
 * What the job may cost at most.
 */
budget_micro_usd: number, 
/**
 * When its result must be here.
 */
deadline: string, 
/**
 * The version of the rules that decided.
 */
engine: string, 
/**
 * What was compared; empty for what an earlier version decided.
 */
criteria: Array<DecisionCriterion>, 
/**
 * The alternatives, in the order in which they are tried, then those that could not be considered.
 */
rows: Array<DecisionAlternative>, 
/**
 * Who was chosen.
 */
chosen: string | null, 
/**
 * Why, in a sentence; why nobody was, when nobody was.
 */
summary: string, 
/**
 * What to do when nobody was chosen; empty otherwise.
 */
hint: string, 
/**
 * Where the cost gate drew its lines; absent when nothing was ranked.
 */
gate: DecisionGate | null, 
/**
 * The policy that chose; absent for what an earlier version decided.
 */
policy: string | null, 
/**
 * Seed of its draws, as text: it may exceed what JavaScript counts.
 */
seed: string | null, 
/**
 * Another than the best was tried, to learn about it.
 */
explored: boolean, 
/**
 * How it was explored, in a few words.
 */
exploration: string | null, 
/**
 * Probability of trying another than the best that the policy announced; absent where it follows from what was
 * learned.
 */
exploration_rate: number | null, 
/**
 * The draw that was compared with it, 0 to 1; absent where nothing is explored.
 */
draw: number | null, 
/**
 * Decided again just now: whether the same bits came out. Absent for what an earlier version decided.
 */
same_bits: boolean | null, 
/**
 * Why they did not.
 */
replay_problem: ApiProblem | null, 
/**
 * What was expected of the chosen one.
 */
expected: DecisionOutcome | null, 
/**
 * What it came to; absent until the job has ended.
 */
actual: DecisionOutcome | null, 
/**
 * What the policy asked for would have done.
 */
instead: DecisionInstead | null, };

/**
 * A column of the matrix.
 */
export type DecisionCriterion = { 
/**
 * `cost`, `reliability`, `latency` or `security`.
 */
name: string, 
/**
 * Unit of its values: `USD`, `s`, or `fraction` from 0 to 1.
 */
unit: string, 
/**
 * Whether less is better (`cost`) or more is (`benefit`).
 */
direction: 'cost' | 'benefit', 
/**
 * Its weight after the correlation adjustment; all weights sum to 1.
 */
weight: number, 
/**
 * Its weight before that.
 */
stated_weight: number, };

/**
 * One place where the job could run.
 */
export type DecisionAlternative = { 
/**
 * `this machine`, or the owner's name for it.
 */
name: string, 
/**
 * What it is.
 */
source: 'local' | 'peer' | 'agent' | 'cloud', 
/**
 * It was taken.
 */
chosen: boolean, 
/**
 * It was best; another than the one taken when exploring.
 */
best: boolean, 
/**
 * Place in the order in which they are tried, from 1; absent when it could not be considered.
 */
rank: number | null, 
/**
 * What kept it from being considered: `unavailable`, `private`, `malformed`, `over_budget`, `over_spend_cap`,
 * `rule`, `too_late`, `skills`, `incompatible`, `memory` or `region`.
 */
excluded_by: string | null, 
/**
 * Its value per criterion, in the criterion's unit; empty when it was not ranked.
 */
values: Array<number>, 
/**
 * The same, made comparable, 0 to 1; of two rows the better one has less where the criterion is a cost.
 */
normalised: Array<number>, 
/**
 * Closeness to the ideal, 0 to 1; says nothing across decisions.
 */
closeness: number | null, 
/**
 * What the cost gate said.
 */
gate: 'passed' | 'not_below_own' | 'above_lowest' | null, 
/**
 * Probability with which the policy takes it; absent where it was not ranked, and where that follows from what
 * was learned.
 */
odds: number | null, 
/**
 * The bill that it offers, or what the job costs here.
 */
cost_micro_usd: number | null, 
/**
 * What checking its result is expected to cost.
 */
checking_micro_usd: number | null, 
/**
 * Expected total in micro-dollars, risk and waiting included; fractions count.
 */
expected_micro_usd: number | null, 
/**
 * The same with its reliability at the lower confidence bound.
 */
cautious_micro_usd: number | null, 
/**
 * Expected time to the result.
 */
estimated_ms: number | null, 
/**
 * Whether its cost is binding or measured.
 */
measured: boolean, 
/**
 * Why not this one, in a sentence; of the one taken, why it was.
 */
why: string, 
/**
 * What must be known of it beside its terms.
 */
note: string | null, };

/**
 * The two lines of the cost gate.
 */
export type DecisionGate = { 
/**
 * Both in words.
 */
text: string, 
/**
 * Most that what is bought may come to at the lower bound of its reliability, micro-dollars; absent without the
 * own card.
 */
cautious_micro_usd: number | null, 
/**
 * Most that what is taken may be expected to cost, micro-dollars.
 */
expected_micro_usd: number | null, };

/**
 * What a job was expected to come to, or came to.
 */
export type DecisionOutcome = { 
/**
 * The bill, or what it cost here.
 */
cost_micro_usd: number, 
/**
 * Until the result was here.
 */
ms: number, };

/**
 * What another policy would have done with the same knowledge and the same draws.
 */
export type DecisionInstead = { 
/**
 * The policy.
 */
policy: string, 
/**
 * Whom it takes.
 */
chosen: string | null, 
/**
 * Whether it takes the same place.
 */
same: boolean, 
/**
 * Both in a sentence.
 */
text: string, 
/**
 * Its table.
 */
rows: Array<DecisionAlternative>, };

/**
 * Whether the node sells now, and why not.
 */
export type Selling = { 
/**
 * The owner's switch.
 */
on: boolean, 
/**
 * The one state that the guard decides.
 */
state: 'off' | 'idle' | 'busy' | 'paused' | 'stopped' | 'yielding' | 'draining', 
/**
 * In a sentence.
 */
reason: string, 
/**
 * End of a pause, when paused for a time.
 */
paused_until: string | null, 
/**
 * For what the machine is given back now; absent when it is not, or when the owner paused by hand.
 */
trigger: GuardTriggerName | null, 
/**
 * When selling goes on by itself, if nothing else comes; absent while what it yields to lasts and its end is
 * not known.
 */
resumes_at: string | null, };

/**
 * Something that the guard is told to look for and cannot see any more.
 */
export type GuardLost = { 
/**
 * Its name.
 */
trigger: GuardTriggerName, 
/**
 * What it is, in words.
 */
what: string, 
/**
 * Why it cannot be seen.
 */
why: string, };

/**
 * The guard: what it looks for, what it sees, and what it did.
 */
export type Guard = { 
/**
 * Whether it looks now: while selling is on, or work runs on the card.
 */
looking: boolean, 
/**
 * What it looks for, the strongest first.
 */
triggers: Array<GuardTrigger>, 
/**
 * When it gave the machine back, newest first, 20 at most.
 */
yields: Array<GuardYield>, 
/**
 * The longest that a yield takes, from the trigger to memory read back as free, in milliseconds: the
 * longest of the self-test, rounded up to 10. None before the first self-test.
 */
promise_ms: number | null, 
/**
 * When it was tested.
 */
tested_at: string | null, 
/**
 * With how many yields.
 */
tests: number, 
/**
 * What the self-test measured.
 */
test: GuardTest | null, 
/**
 * The self-test under way: yields done and in all.
 */
testing: Progress | null, 
/**
 * Why the last self-test came to nothing.
 */
test_problem: ApiProblem | null, };

/**
 * One thing that the guard looks for.
 */
export type GuardTrigger = { 
/**
 * Its name.
 */
name: GuardTriggerName, 
/**
 * Whether it is looked for.
 */
on: boolean, 
/**
 * Whether this machine can tell.
 */
available: boolean, 
/**
 * Why not.
 */
unavailable_why: string | null, 
/**
 * Whether it was there at the last look.
 */
present: boolean, 
/**
 * What was seen, or is looked for, in a sentence.
 */
detail: string, 
/**
 * Whether own jobs stop, too; else only what is sold.
 */
stops_own_jobs: boolean, 
/**
 * The settings that it follows.
 */
settings: Array<string>, };

/**
 * One time that the machine was given back.
 */
export type GuardYield = { 
/**
 * When the trigger was seen.
 */
at: string, 
/**
 * What it was.
 */
trigger: GuardTriggerName, 
/**
 * In a sentence.
 */
reason: string, 
/**
 * From there to memory free, in milliseconds; absent when there was nothing to free, or own jobs went on.
 */
freed_ms: number | null, 
/**
 * Memory freed, in bytes; absent when nobody measures it.
 */
freed_bytes: number | null, 
/**
 * Whether memory was read back: by the card's sensor, or as that of a process that is gone.
 */
memory_measured: boolean, 
/**
 * Sold jobs handed back.
 */
jobs_handed_back: number, 
/**
 * When selling went on; absent while it has not.
 */
resumed_at: string | null, };

/**
 * What a self-test measured, in milliseconds from the trigger to memory read back as free.
 */
export type GuardTest = { 
/**
 * Yields.
 */
n: number, 
/**
 * Median.
 */
p50_ms: number, 
/**
 * Longest.
 */
max_ms: number, 
/**
 * The adapter that worked.
 */
adapter: string, 
/**
 * Its driver.
 */
driver: string, 
/**
 * Whether memory was read back each time.
 */
memory_measured: boolean, 
/**
 * When it ended.
 */
at: string, };

/**
 * Which days.
 */
export type DemandQuery = { 
/**
 * How many days back, today included; 30 when absent, 400 at most.
 */
days: number | null, };

/**
 * The way of calls from peers and holders of a key, from the call to the delivery.
 */
export type Demand = { 
/**
 * Calls that came.
 */
seen: number, 
/**
 * Of these, for what is offered here.
 */
matched: number, 
/**
 * Of these, answered with a proposal, or taken by a plain A2A client.
 */
quoted: number, 
/**
 * Of these, awarded.
 */
won: number, 
/**
 * Of these, delivered.
 */
delivered: number, 
/**
 * How proposals and awards ended that brought nothing: `declined` (another was taken), `expired` (nobody
 * answered), `failed`, `abandoned`, `handed_back` or `rejected`. The most frequent first.
 */
lost: Array<DemandReason>, 
/**
 * Why calls were refused: `stopped`, `not_selling`, `paused`, `guard`, `slots_taken`, `too_many_open`,
 * `credit_used_up`; and for what is not offered here `no_such_model`, `does_not_fit`, `deadline`, `unconfined`,
 * `other_money` or `other`. The most frequent first.
 */
refused: Array<DemandReason>, 
/**
 * By day, oldest first, every day present.
 */
days: Array<DemandDay>, };

/**
 * A reason and how often.
 */
export type DemandReason = { 
/**
 * A word, as listed in `Demand`.
 */
why: string, 
/**
 * How many calls.
 */
count: number, };

/**
 * One day.
 */
export type DemandDay = { 
/**
 * Date, UTC, `2026-11-21`.
 */
day: string, 
/**
 * Calls that came.
 */
seen: number, 
/**
 * Of these, for what is offered here.
 */
matched: number, 
/**
 * Of these, answered with a proposal.
 */
quoted: number, 
/**
 * Of these, awarded.
 */
won: number, 
/**
 * Of these, delivered.
 */
delivered: number, };

/**
 * Where to.
 */
export type BackupInput = { 
/**
 * A folder that does not exist yet; an absolute path on the node's machine.
 */
path: string, };

/**
 * A backup.
 */
export type Backup = { 
/**
 * The folder.
 */
path: string, 
/**
 * How large it is.
 */
bytes: number, 
/**
 * Whether the identity's key is in it; a key in a keyring stays there.
 */
identity_included: boolean, };

/**
 * A report for who helps. It holds no key, token, name or address of others, and nothing that anybody wrote.
 */
export type SupportBundle = { 
/**
 * A name for the file.
 */
name: string, 
/**
 * Plain text.
 */
text: string, };

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
 * Every hour of a week, Monday's first hour first, by the owner's clock (`utc_offset_minutes`).
 */
hours: Array<EarningsHour>, 
/**
 * There were more contracts than are read at once: costs, what is left, and hours lack the oldest of them.
 */
truncated: boolean, 
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
 * One day. What its sold work cost is reckoned at the machine and the tariff that are set now.
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
jobs_bought: number, 
/**
 * Electricity of the work sold, rejected deliveries included, at the tariff of the hour; absent where the use of
 * some of it is not known, and of a rented machine.
 */
electricity_micro_usd: number | null, 
/**
 * Wear of that work: capital and maintenance, or the rent; absent where the time of some of it is not known.
 */
wear_micro_usd: number | null, 
/**
 * Earned, less both; absent where either is not known.
 */
net_micro_usd: number | null, 
/**
 * What the proposals promised of the same work: their price, less what the estimated time costs.
 */
predicted_micro_usd: number | null, 
/**
 * Whether a sensor measured the draw behind all of the electricity; otherwise it is as stated or assumed.
 */
measured: boolean, };

/**
 * One hour of the week.
 */
export type EarningsHour = { 
/**
 * 0 for Monday to 6 for Sunday.
 */
weekday: number, 
/**
 * 0 to 23.
 */
hour: number, 
/**
 * Accepted deliveries that ended in it.
 */
earned_micro_usd: number, 
/**
 * How many.
 */
jobs: number, };

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
 * The same, one line per contract.
 */
export type EarningsLines = { 
/**
 * Comma-separated values with a line of names.
 */
csv: string, 
/**
 * How many contracts.
 */
lines: number, 
/**
 * There are more, older ones than are read at once.
 */
truncated: boolean, };

/**
 * The machine now and in the last ten minutes. What is not told is absent.
 */
export type Machine = { 
/**
 * The time of this answer: the end of the axis.
 */
now: string, 
/**
 * Milliseconds between two samples; a longer step between them is a time in which nobody looked.
 */
every_ms: number, 
/**
 * How far back samples are kept, milliseconds: the length of the axis.
 */
span_ms: number, 
/**
 * The cards with a sensor.
 */
cards: Array<MachineCard>, 
/**
 * The rest of the machine.
 */
host: MachineHost, 
/**
 * Oldest first.
 */
samples: Array<MachineSample>, 
/**
 * What ran here meanwhile, oldest first.
 */
jobs: Array<MachineJob>, };

/**
 * One card.
 */
export type MachineCard = { 
/**
 * Its name.
 */
name: string, 
/**
 * Its PCI address.
 */
address: string, 
/**
 * What it draws.
 */
power_watts: number | null, 
/**
 * What it may draw.
 */
power_limit_watts: number | null, 
/**
 * Its temperature in degrees Celsius.
 */
temperature_c: number | null, 
/**
 * Video memory in use.
 */
memory_used_bytes: number | null, 
/**
 * Video memory in all.
 */
memory_total_bytes: number | null, 
/**
 * How much of the time it computes, 0 to 1.
 */
utilisation: number | null, 
/**
 * What slows it down now, in words; empty when nothing does.
 */
slowed_by: Array<string>, 
/**
 * The last gap in its samples that could not be read; none in the span when absent.
 */
unread?: UnreadCard | null, };

/**
 * A look at a card that failed.
 */
export type UnreadCard = { 
/**
 * When.
 */
at: string, 
/**
 * Why, in words.
 */
why: string, };

/**
 * The machine beside its cards.
 */
export type MachineHost = { 
/**
 * Use of all processors together, 0 to 1.
 */
cpu_utilisation: number | null, 
/**
 * Memory in use.
 */
memory_used_bytes: number | null, 
/**
 * Memory in all.
 */
memory_total_bytes: number | null, };

/**
 * One look: of several cards the sum of power and memory, the hottest and the busiest.
 */
export type MachineSample = { 
/**
 * When.
 */
at: string, 
/**
 * Watts.
 */
power_watts: number | null, 
/**
 * Degrees Celsius.
 */
temperature_c: number | null, 
/**
 * Video memory in use.
 */
memory_used_bytes: number | null, 
/**
 * How much of the time the cards compute, 0 to 1.
 */
utilisation: number | null, 
/**
 * Use of all processors together, 0 to 1.
 */
cpu_utilisation: number | null, };

/**
 * A job on the axis of the samples.
 */
export type MachineJob = { 
/**
 * Job id when own, contract id when sold.
 */
id: string, 
/**
 * What it is.
 */
title: string, 
/**
 * `client` for own work, `contractor` for what was sold.
 */
role: 'client' | 'contractor', 
/**
 * When it began to run.
 */
from: string, 
/**
 * When it ended; absent while it runs.
 */
until: string | null, };

/**
 * What to measure.
 */
export type BenchmarkInput = { 
/**
 * Kinds of work; all when absent or empty.
 */
kinds: Array<'embed' | 'gemm' | 'kernel' | 'wgsl' | 'generate'> | null, };

/**
 * A benchmark of the own card: real work of each kind, whose speed prices and the agent card then know.
 */
export type Benchmark = { 
/**
 * Where it stands.
 */
state: 'idle' | 'running' | 'done' | 'failed' | 'stopped', 
/**
 * A step for each kind, in order.
 */
steps: Array<BenchmarkStep>, 
/**
 * The adapter that works, once it is known.
 */
adapter: string | null, 
/**
 * How long the rest is expected to take, while it runs.
 */
remaining_ms: number | null, 
/**
 * Why it failed or was stopped.
 */
problem: ApiProblem | null, };

/**
 * One kind of work.
 */
export type BenchmarkStep = { 
/**
 * Which.
 */
kind: 'embed' | 'gemm' | 'kernel' | 'wgsl' | 'generate', 
/**
 * Where it stands; what this machine lacks a model for is skipped.
 */
state: 'waiting' | 'running' | 'done' | 'failed' | 'skipped', 
/**
 * What was done, such as `1024 × 1024 × 1024`.
 */
title: string | null, 
/**
 * What a unit is: `token`, `flop`, `element` or `step`.
 */
unit: string, 
/**
 * Median of the runs.
 */
units_per_second: number | null, 
/**
 * Runs that were counted; the first, which loads what is needed, is not.
 */
runs: number, 
/**
 * Mean draw of the card meanwhile; absent without its sensor.
 */
watts: number | null, 
/**
 * How long the step took.
 */
ms: number | null, 
/**
 * Why it failed or was skipped.
 */
problem: ApiProblem | null, };

export type Operations = {
  overview: { kind: 'query'; input: Nothing; output: Overview };
  jobs: { kind: 'query'; input: JobsQuery; output: JobPage };
  job: { kind: 'query'; input: ById; output: JobDetail };
  explain: { kind: 'query'; input: ById; output: Explanation };
  decisions: { kind: 'query'; input: DecisionsQuery; output: Decisions };
  decision: { kind: 'query'; input: DecisionQuery; output: DecisionView };
  job_input: { kind: 'query'; input: ById; output: JobOutput };
  output: { kind: 'query'; input: ById; output: JobOutput };
  receipt: { kind: 'query'; input: ById; output: ReceiptFile };
  earnings: { kind: 'query'; input: EarningsQuery; output: Earnings };
  earnings_lines: { kind: 'query'; input: EarningsQuery; output: EarningsLines };
  demand: { kind: 'query'; input: DemandQuery; output: Demand };
  peers: { kind: 'query'; input: Nothing; output: Peers };
  settings: { kind: 'query'; input: Nothing; output: Settings };
  doctor: { kind: 'query'; input: Nothing; output: Doctor };
  guard: { kind: 'query'; input: Nothing; output: Guard };
  support_bundle: { kind: 'query'; input: Nothing; output: SupportBundle };
  models: { kind: 'query'; input: Nothing; output: Models };
  runtimes: { kind: 'query'; input: Nothing; output: Runtimes };
  agents: { kind: 'query'; input: Nothing; output: Agents };
  prices: { kind: 'query'; input: PricesQuery; output: Prices };
  breakeven_log: { kind: 'query'; input: LogQuery; output: LogAnswer };
  api_prices: { kind: 'query'; input: Nothing; output: ApiPriceList };
  breakeven_presets: { kind: 'query'; input: Nothing; output: BreakevenPresets };
  breakeven: { kind: 'query'; input: BreakevenQuery; output: BreakevenAnswer };
  breakeven_usage: { kind: 'query'; input: UsageQuery; output: UsageAnswer };
  simulation_presets: { kind: 'query'; input: Nothing; output: SimulationPresets };
  simulate: { kind: 'query'; input: SimulationInput; output: Simulation };
  simulation_report: { kind: 'query'; input: SimulationInput; output: SimulationReport };
  simulation_progress: { kind: 'query'; input: Nothing; output: SimulationProgress };
  stop_simulation: { kind: 'command'; input: Nothing; output: Nothing };
  submit: { kind: 'command'; input: SubmitInput; output: Submitted };
  cancel_job: { kind: 'command'; input: ById; output: Nothing };
  run_again: { kind: 'command'; input: ById; output: Submitted };
  sell: { kind: 'command'; input: Switch; output: Selling };
  pause: { kind: 'command'; input: PauseInput; output: Selling };
  finish_then_pause: { kind: 'command'; input: Switch; output: Selling };
  test_guard: { kind: 'command'; input: Nothing; output: Guard };
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
  set_price: { kind: 'command'; input: SetPriceInput; output: Prices };
  use_breakeven: { kind: 'command'; input: LogQuery; output: LogAnswer };
  drop_breakeven: { kind: 'command'; input: Nothing; output: Nothing };
  write_backup: { kind: 'command'; input: BackupInput; output: Backup };
  run_benchmark: { kind: 'command'; input: BenchmarkInput; output: Benchmark };
  stop_benchmark: { kind: 'command'; input: Nothing; output: Benchmark };
  watch_overview: { kind: 'subscription'; input: Nothing; output: Overview };
  watch_jobs: { kind: 'subscription'; input: Nothing; output: JobPage };
  watch_first_trade: { kind: 'subscription'; input: Nothing; output: FirstTrade };
  watch_models: { kind: 'subscription'; input: Nothing; output: Models };
  watch_runtimes: { kind: 'subscription'; input: Nothing; output: Runtimes };
  watch_agents: { kind: 'subscription'; input: Nothing; output: Agents };
  watch_guard: { kind: 'subscription'; input: Nothing; output: Guard };
  watch_benchmark: { kind: 'subscription'; input: Nothing; output: Benchmark };
  watch_machine: { kind: 'subscription'; input: Nothing; output: Machine };
};
