// llama.cpp as a peer: for benchmarks in the same run, for calibration, and as a server that speaks OpenAI's HTTP.
//
//   node llama.mjs --model FILE.gguf [--device cpu|vulkan] [--threads N] [--context N] [--serve PORT]
//   node llama.mjs --check [--device cpu|vulkan]: says what there is, without a model
//
// It reads one JSON request per line from standard input and answers each by one line on standard output, in order.
// The first line it prints says what was loaded; it ends with its input. An `id` in a request comes back.
//
//   {"op":"tokenize","text":"…"}                     → {"tokens":[…]}
//   {"op":"chat","messages":[{"role","content"}]}    → {"prompt":"…","tokens":[…]}: the file's own template
//   {"op":"generate","tokens":[…],"max_tokens":32}   → {"tokens":[…],"text":"…","finish":"stop"|"length"}: greedy;
//       the token that ended the text is the last
//   {"op":"score","prompt":[…],"tokens":[…]}         → {"logits":[…],"max_logits":[…],"argmax":[…]}: what this engine
//       says of each token when it is forced on it; the margin of a token is max_logit − logit
//   {"op":"bench","prompt_tokens":128,"generate_tokens":32,"runs":5}
//       → {"prefill":{"median","values"},"decode":{"median","values"}} in tokens/s, after `warmups` runs that are not
//       counted (one unless given)
//
// Wherever tokens are asked for, `text` may stand instead and is tokenised. A request that fails is answered by
// {"error":"…"}. `cargo xtask peers` installs what this needs; TENDER_PEERS names another folder than target/peers.

import { createInterface } from 'node:readline';
import { readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { listen } from './openai.mjs';

const PEERS = resolve(process.env.TENDER_PEERS ?? fileURLToPath(new URL('../../target/peers', import.meta.url)));

const { values: given } = parseArgs({
  options: {
    model: { type: 'string' },
    device: { type: 'string', default: 'cpu' },
    threads: { type: 'string', default: '1' },
    context: { type: 'string', default: '2048' },
    serve: { type: 'string' },
    check: { type: 'boolean', default: false }
  }
});

/** A module that `cargo xtask peers` installed. */
async function peer(name) {
  const folder = join(PEERS, 'node_modules', ...name.split('/'));
  const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8').catch(() => 'null'));
  if (!manifest) throw new Error(`${name} is not in ${PEERS}: run \`cargo xtask peers\``);
  return { version: manifest.version, module: await import(pathToFileURL(join(folder, 'dist/index.js')).href) };
}

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

const seconds = (from) => Number(process.hrtime.bigint() - from) / 1e9;

/** llama.cpp on the device that was asked for, without a model. */
async function open() {
  if (!['cpu', 'vulkan'].includes(given.device)) throw new Error('--device is cpu or vulkan');
  // llama.cpp leaves CPU adapters such as lavapipe out unless they are named.
  if (given.device === 'vulkan') process.env.GGML_VK_VISIBLE_DEVICES ??= '0';
  const { version, module } = await peer('node-llama-cpp');
  const gpu = given.device === 'vulkan' ? 'vulkan' : false;
  const llama = await module.getLlama({
    gpu,
    build: 'never',
    skipDownload: true,
    // The context's own number is taken as it is.
    maxThreads: 0,
    progressLogs: false,
    logLevel: module.LlamaLogLevel.error,
    logger: (_, message) => process.stderr.write(`llama.cpp: ${message}\n`)
  });
  if (llama.gpu !== gpu) throw new Error(`llama.cpp runs on ${llama.gpu || 'the CPU'}, not on ${given.device}`);
  const names = gpu ? await llama.getGpuDeviceNames() : ['CPU'];
  if (names.length === 0) throw new Error('there is no Vulkan adapter');
  const about = {
    engine: 'llama.cpp',
    build: llama.llamaCppRelease.release,
    binding: `node-llama-cpp ${version}`,
    device: given.device,
    adapter: names.join(', ')
  };
  return { llama, about };
}

/** One model on one device, one sequence at a time. */
class Llama {
  static async load() {
    if (!given.model) throw new Error('--model FILE.gguf is missing');
    const { llama, about } = await open();
    const { Template } = (await peer('@huggingface/jinja')).module;
    const file = resolve(given.model);
    const model = await llama.loadModel({
      modelPath: file,
      gpuLayers: llama.gpu ? 'max' : 0,
      ignoreMemorySafetyChecks: true
    });
    const context = await model.createContext({
      contextSize: Math.min(Number(given.context), model.trainContextSize),
      threads: { ideal: Number(given.threads), min: Number(given.threads) },
      ignoreMemorySafetyChecks: true
    });
    return new Llama({ about, model, context, Template, file });
  }

  constructor(parts) {
    Object.assign(this, parts);
    this.sequence = this.context.getSequence();
    this.metadata = this.model.fileInfo.metadata;
    // One request at a time: there is one sequence.
    this.turn = Promise.resolve();
  }

  info() {
    return {
      ...this.about,
      gpu_layers: this.model.gpuLayers,
      threads: this.context.currentThreads,
      model: basename(this.file),
      path: this.file,
      // llama.cpp says architecture, size and quantisation in one text.
      quantisation: this.model.typeDescription.split(' ').slice(2).join(' '),
      parameters: this.model.fileInsights?.totalParameters ?? null,
      context: this.context.contextSize,
      vocabulary: this.metadata.tokenizer?.ggml?.tokens?.length ?? null
    };
  }

  /** Runs `work` when nothing else does. */
  exclusively(work) {
    const result = this.turn.then(work);
    this.turn = result.catch(() => {});
    return result;
  }

  tokenize(text, special = true) {
    return [...this.model.tokenize(text, special)];
  }

  /** As `tokenize`, with the token that the model expects at the head of a text. */
  prompt(text) {
    const tokens = this.tokenize(text);
    const bos = this.model.tokens.bos;
    if (this.model.tokens.shouldPrependBosToken && bos != null && tokens[0] !== bos) tokens.unshift(bos);
    return tokens;
  }

  chat(messages) {
    const source = this.metadata.tokenizer?.chat_template;
    if (!source) throw new Error('the model file has no chat template');
    const piece = (token) => (token == null ? '' : this.model.detokenize([token], true));
    const prompt = new this.Template(source).render({
      messages,
      add_generation_prompt: true,
      bos_token: piece(this.model.tokens.bos),
      eos_token: piece(this.model.tokens.eos)
    });
    return { prompt, tokens: this.prompt(prompt) };
  }

  text(tokens) {
    return this.model.detokenize(tokens);
  }

  /** The tokens of a request, bounded by the context. */
  wanted(tokens, text, more) {
    const list = tokens ?? this.prompt(text ?? '');
    if (!Array.isArray(list) || list.length === 0) throw new Error('tokens or text is empty');
    if (list.length + more > this.context.contextSize) {
      throw new Error(`${list.length} + ${more} tokens do not fit into the context of ${this.context.contextSize}`);
    }
    return list;
  }

  /** Yields {token, logprob, top}, the token that ends the text included; `sampling` as node-llama-cpp takes it. */
  async *stream(tokens, maxTokens, sampling = {}, { logprobs = false } = {}) {
    await this.sequence.clearHistory();
    if (maxTokens === 0) return;
    const options = { temperature: 0, ...sampling, yieldEogToken: true };
    let count = 0;
    for await (const { token, probabilities } of this.sequence.evaluateWithMetadata(
      tokens,
      { probabilities: logprobs },
      options
    )) {
      const top = probabilities?.entries().next().value;
      yield {
        token,
        logprob: probabilities ? Math.log(probabilities.get(token)) : null,
        top: top ? { token: top[0], logprob: Math.log(top[1]) } : null
      };
      count += 1;
      if (count >= maxTokens || this.model.isEogToken(token)) return;
    }
  }

  async generate({ tokens, text, max_tokens: max = 32 }) {
    const prompt = this.wanted(tokens, text, max);
    const made = [];
    for await (const { token } of this.stream(prompt, max)) made.push(token);
    const ended = this.model.isEogToken(made.at(-1));
    return { tokens: made, text: this.text(made), finish: ended ? 'stop' : 'length' };
  }

  async score({ prompt, text, tokens }) {
    const head = this.wanted(prompt, text, tokens.length);
    await this.sequence.clearHistory();
    const all = [...head, ...tokens.slice(0, -1)];
    const input = all.map((token, at) => {
      const next = tokens[at - head.length + 1];
      return next === undefined
        ? token
        : [token, { generateNext: { logits: { filter: { tokens: [next], includeTop: 1 } } } }];
    });
    const found = await this.sequence.controlledEvaluate(input);
    const outcome = { logits: [], max_logits: [], argmax: [] };
    tokens.forEach((token, at) => {
      const logits = found[head.length - 1 + at]?.next?.logits;
      if (!logits?.has(token)) throw new Error(`llama.cpp gives no logit for token ${token} at ${at}`);
      const [best, most] = [...logits].reduce((one, other) => (other[1] > one[1] ? other : one));
      outcome.logits.push(logits.get(token));
      outcome.max_logits.push(most);
      outcome.argmax.push(best);
    });
    return outcome;
  }

  async bench({ prompt_tokens: length = 128, generate_tokens: more = 32, runs = 5, warmups = 1 }) {
    // Every token of the vocabulary's middle is as much work as any other.
    const from = Math.floor((this.info().vocabulary ?? 1024) / 2);
    const prompt = Array.from({ length }, (_, at) => from + (at % 97));
    this.wanted(prompt, null, more);
    const prefill = [];
    const decode = [];
    for (let run = 1 - warmups; run <= runs; run += 1) {
      await this.sequence.clearHistory();
      const started = process.hrtime.bigint();
      // The end of an answer is no end of the measurement.
      const tokens = this.sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true });
      if ((await tokens.next()).done) throw new Error('llama.cpp gave no token');
      const first = seconds(started);
      const going = process.hrtime.bigint();
      for (let made = 0; made < more; made += 1) {
        if ((await tokens.next()).done) throw new Error('llama.cpp gave no token');
      }
      const rest = seconds(going);
      await tokens.return();
      // The first run pays for shader compilation and page faults.
      if (run > 0) {
        prefill.push(length / first);
        decode.push(more / rest);
      }
    }
    const figure = (values) => ({ median: median(values), values });
    return { prompt_tokens: length, generate_tokens: more, prefill: figure(prefill), decode: figure(decode) };
  }

  answer(request) {
    switch (request.op) {
      case 'tokenize':
        return { tokens: this.tokenize(request.text) };
      case 'chat':
        return this.chat(request.messages);
      case 'generate':
        return this.generate(request);
      case 'score':
        return this.score(request);
      case 'bench':
        return this.bench(request);
      default:
        throw new Error(`unknown op: ${request.op}`);
    }
  }
}

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

try {
  if (given.check) {
    say({ ready: true, ...(await open()).about });
    process.exit(0);
  }
  const llama = await Llama.load();
  const address = given.serve === undefined ? null : await listen(llama, Number(given.serve));
  say({ ready: true, ...llama.info(), address });
  for await (const line of createInterface({ input: process.stdin })) {
    if (!line.trim()) continue;
    let id;
    try {
      const request = JSON.parse(line);
      id = request.id;
      say({ id, ...(await llama.exclusively(async () => llama.answer(request))) });
    } catch (error) {
      say({ id, error: error.message });
    }
  }
  process.exit(0);
} catch (error) {
  say({ ready: false, error: error.message });
  process.exit(1);
}
