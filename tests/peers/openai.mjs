// The part of llama-server's HTTP that Tender's engine uses, in front of a real llama.cpp: OpenAI's completions and chat
// completions with usage and logprobs, and llama-server's own /health, /props, /apply-template and
// /tokenize.

import { createServer } from 'node:http';

/** Largest request: what a test sends, with room. */
const MAX_BODY_BYTES = 4 << 20;

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function body(request) {
  const pieces = [];
  let length = 0;
  for await (const piece of request) {
    length += piece.length;
    if (length > MAX_BODY_BYTES) throw new Refused(413, 'the request is too large');
    pieces.push(piece);
  }
  try {
    return JSON.parse(Buffer.concat(pieces).toString('utf8'));
  } catch {
    throw new Refused(400, 'the request is not JSON');
  }
}

/** Text as it may be sent: whole characters, and nothing that could be the beginning of a stop sequence. */
function settled(text, sent, stops) {
  const whole = text.endsWith('\uFFFD') ? text.slice(0, -1) : text;
  const held = Math.max(0, ...stops.map((stop) => stop.length - 1));
  return whole.slice(sent, Math.max(sent, whole.length - held));
}

/** Generates and hands over {text, tokens} as they settle; answers how it ended. */
async function generate(llama, request, prompt, isGone, emit) {
  const context = llama.context.contextSize;
  const max = Math.min(
    request.max_tokens ?? request.max_completion_tokens ?? context - prompt.length,
    context - prompt.length
  );
  const stops = [request.stop ?? []].flat();
  const logprobs = Boolean(request.logprobs);
  const sampling = {
    temperature: request.temperature ?? 0.8,
    topK: request.top_k ?? 0,
    topP: request.top_p ?? 1,
    minP: request.min_p ?? 0,
    seed: request.seed
  };
  const all = [];
  let fresh = [];
  let sent = 0;
  let finish = 'length';
  let text = '';
  for await (const made of llama.stream(prompt, max, sampling, { logprobs })) {
    if (isGone()) return null;
    all.push(made.token);
    fresh.push(made);
    if (llama.model.isEogToken(made.token)) {
      finish = 'stop';
      break;
    }
    text = llama.text(all);
    const ends = stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
    if (ends.length > 0) {
      text = text.slice(0, Math.min(...ends));
      finish = 'stop';
      break;
    }
    const piece = settled(text, sent, stops);
    if (piece) {
      emit(piece, fresh);
      sent += piece.length;
      fresh = [];
    }
  }
  if (text.length > sent || fresh.length > 0) emit(text.slice(sent), fresh);
  const usage = { prompt_tokens: prompt.length, completion_tokens: all.length };
  return { finish, usage: { ...usage, total_tokens: usage.prompt_tokens + usage.completion_tokens } };
}

async function complete(llama, request, response, chat) {
  const asked = await body(request);
  if (asked.model && asked.model !== llama.info().model) throw new Refused(404, `model '${asked.model}' not found`);
  const prompt = chat ? llama.chat(asked.messages).tokens : llama.prompt(String(asked.prompt ?? ''));
  if (prompt.length === 0) throw new Refused(400, 'the prompt is empty');
  if (prompt.length >= llama.context.contextSize) {
    throw new Refused(400, `the request (${prompt.length} tokens) exceeds the context (${llama.context.contextSize})`);
  }
  let gone = false;
  response.on('close', () => (gone = true));
  const piece = (token) => llama.model.detokenize([token], true);
  const entry = ({ token, logprob, top }) => ({
    id: token,
    token: piece(token),
    bytes: [...Buffer.from(piece(token))],
    logprob,
    top_logprobs: top ? [{ id: top.token, token: piece(top.token), logprob: top.logprob }] : []
  });
  const head = {
    id: `cmpl-${Date.now()}`,
    object: chat ? (asked.stream ? 'chat.completion.chunk' : 'chat.completion') : 'text_completion',
    created: Math.floor(Date.now() / 1000),
    model: llama.info().model,
    system_fingerprint: llama.info().build
  };
  const event = (data) => response.write(`data: ${JSON.stringify({ ...head, ...data })}\n\n`);
  const choice = (text, made, finish, delta) => ({
    index: 0,
    ...(chat ? { [delta ? 'delta' : 'message']: text === null ? {} : { role: 'assistant', content: text } } : { text }),
    logprobs: asked.logprobs && made.length > 0 ? { content: made.map(entry) } : null,
    finish_reason: finish
  });
  let text = '';
  const made = [];
  if (asked.stream) response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  const ended = await llama.exclusively(() =>
    generate(llama, asked, prompt, () => gone, (piece, tokens) => {
      text += piece;
      made.push(...tokens);
      if (asked.stream) event({ choices: [choice(piece, tokens, null, true)] });
    })
  );
  if (ended === null) return;
  if (!asked.stream) {
    json(response, 200, { ...head, choices: [choice(text, made, ended.finish, false)], usage: ended.usage });
    return;
  }
  event({ choices: [choice(chat ? null : '', [], ended.finish, true)] });
  if (asked.stream_options?.include_usage) event({ choices: [], usage: ended.usage });
  response.end('data: [DONE]\n\n');
}

function json(response, status, value) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
}

async function route(llama, request, response) {
  const info = llama.info();
  switch (`${request.method} ${request.url.split('?')[0]}`) {
    case 'GET /health':
      return json(response, 200, { status: 'ok' });
    case 'GET /v1/models': {
      const meta = { n_ctx_train: llama.model.trainContextSize, n_params: info.parameters, n_vocab: info.vocabulary };
      return json(response, 200, {
        object: 'list',
        data: [{ id: info.model, object: 'model', owned_by: 'llamacpp', meta }]
      });
    }
    case 'GET /props':
      return json(response, 200, {
        default_generation_settings: { n_ctx: info.context },
        total_slots: 1,
        model_path: info.path,
        build_info: `${info.build} (${info.binding})`
      });
    case 'POST /apply-template':
      return json(response, 200, { prompt: llama.chat((await body(request)).messages).prompt });
    case 'POST /tokenize': {
      const { content, add_special: special, parse_special: parse = true } = await body(request);
      return json(response, 200, { tokens: special ? llama.prompt(content) : llama.tokenize(content, parse) });
    }
    case 'POST /v1/completions':
      return complete(llama, request, response, false);
    case 'POST /v1/chat/completions':
      return complete(llama, request, response, true);
    default:
      throw new Refused(404, 'there is no such path');
  }
}

/** Serves `llama` on a loopback port, 0 for any; answers the address. */
export function listen(llama, port) {
  const server = createServer((request, response) => {
    route(llama, request, response).catch((error) => {
      if (response.headersSent) {
        response.end(`data: ${JSON.stringify({ error: { code: 500, message: error.message } })}\n\n`);
      } else {
        const status = error.status ?? 500;
        json(response, status, { error: { code: status, message: error.message, type: 'invalid_request_error' } });
      }
    });
  });
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(`http://127.0.0.1:${server.address().port}`));
  });
}
