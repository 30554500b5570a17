import type { SubmitWork } from '$lib/api/types';
import { count } from '$lib/format/number';
import { m } from '$lib/paraglide/messages.js';
import type { ComputeField } from './compute';

/** What the fields of a text job hold, as typed. */
export type TextFields = {
  /** Name of the model; empty for the node's own choice. */
  model: string;
  prompt: string;
  system: string;
  /** The prompt is text to continue, not a message of a chat. */
  raw: boolean;
  maxTokens: string;
  temperature: string;
  topK: string;
  topP: string;
  seed: string;
  /** One sequence a line. */
  stop: string;
};

/** A field for which something can be said. */
export type FieldName = keyof TextFields | ComputeField | 'passages' | 'budget' | 'deadline';
export type Errors = Partial<Record<FieldName, string>>;

// The node's limits (`base/job.rs`); it checks them again.
const MAX_TOKENS = 16_384;
const MAX_TEMPERATURE = 2;
const MAX_TOP_K = 2 ** 32 - 1;
const MAX_STOPS = 8;
const MAX_STOP_BYTES = 64;
const MAX_DEADLINE_SECONDS = 7 * 24 * 3600;

export const emptyText = (): TextFields => ({
  model: '',
  prompt: '',
  system: '',
  raw: false,
  maxTokens: '256',
  temperature: '0',
  topK: '0',
  topP: '1',
  seed: '0',
  stop: '',
});

const whole = (text: string): number => (/^\d+$/.test(text.trim()) ? Number(text) : NaN);
const decimal = (text: string): number => (/^(\d+([.,]\d*)?|[.,]\d+)$/.test(text.trim()) ? Number(text.trim().replace(',', '.')) : NaN);

/** Passages, one a line; empty lines are none. */
export const passages = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');

/** Stop sequences, one a line; `\n` stands for a line break, `\t` for a tab, `\\` for a backslash. */
export const stops = (text: string): string[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.replace(/\\([nt\\])/g, (_, letter: string) => ({ n: '\n', t: '\t' })[letter] ?? '\\'));

/** Seconds until the deadline; NaN when the field holds none that the node takes. */
export const deadlineSeconds = (text: string): number => {
  const seconds = whole(text);
  return seconds >= 1 && seconds <= MAX_DEADLINE_SECONDS ? seconds : NaN;
};

/**
 * The text job that the fields describe, and what is wrong with them by field. `context` is what the model can read
 * and write in all, where that is known; how much of it the prompt takes, only the node can count.
 */
export function textWork(fields: TextFields, context: number | null = null): { work: SubmitWork; errors: Errors } {
  const errors: Errors = {};
  const ask = (field: keyof TextFields, fine: boolean, message: () => string) => {
    if (!fine) errors[field] = message();
  };
  const maxTokens = whole(fields.maxTokens);
  const temperature = decimal(fields.temperature);
  const topK = whole(fields.topK);
  const topP = decimal(fields.topP);
  const seed = whole(fields.seed);
  const stop = stops(fields.stop);
  const bytes = (text: string) => new TextEncoder().encode(text).length;
  ask('prompt', fields.prompt.trim() !== '', m.prompt_missing);
  ask('maxTokens', maxTokens >= 1 && maxTokens <= MAX_TOKENS, m.max_tokens_invalid);
  if (!errors.maxTokens && context !== null && maxTokens >= context) errors.maxTokens = m.max_tokens_over({ count: count(context) });
  ask('temperature', temperature <= MAX_TEMPERATURE, m.temperature_invalid);
  ask('topK', topK <= MAX_TOP_K, m.top_k_invalid);
  ask('topP', topP > 0 && topP <= 1, m.top_p_invalid);
  ask('seed', Number.isSafeInteger(seed), m.seed_invalid);
  ask('stop', stop.length <= MAX_STOPS && stop.every((sequence) => bytes(sequence) <= MAX_STOP_BYTES), m.stop_invalid);
  const system = fields.system.trim() === '' ? [] : [{ role: 'system', content: fields.system }];
  return {
    work: {
      kind: 'generate',
      model: fields.model || null,
      messages: fields.raw ? null : [...system, { role: 'user', content: fields.prompt }],
      prompt: fields.raw ? fields.prompt : null,
      max_tokens: maxTokens,
      temperature,
      top_k: topK,
      top_p: topP,
      seed,
      stop,
    },
    errors,
  };
}

/** The fields that stand under "More". */
export const MORE = ['temperature', 'topK', 'topP', 'seed', 'stop'] as const satisfies FieldName[];

// How the node's refusals begin, and which field they are about.
const REFUSALS: [RegExp, FieldName][] = [
  [/^prompt_tokens and max_tokens/, 'maxTokens'],
  [/^max_tokens/, 'maxTokens'],
  [/^(the prompt|prompt)\b/, 'prompt'],
  [/^(the chat|messages)\b/, 'prompt'],
  [/^there is no (language model|encoder|model)\b/, 'model'],
  [/^the model\b/, 'model'],
  [/^model\b/, 'model'],
  [/^temperature\b/, 'temperature'],
  [/^top_k\b/, 'topK'],
  [/^top_p\b/, 'topP'],
  [/^seed\b/, 'seed'],
  [/^(every )?stop\b/, 'stop'],
  [/^passages\b/, 'passages'],
  [/^(work\.)?rows\b/, 'rows'],
  [/^(work\.)?columns\b/, 'columns'],
  [/^workgroups\b/, 'workgroups'],
  [/^workgroup_size\b/, 'workgroupSize'],
  [/^fuel\b/, 'fuel'],
  [/^(source_bytes|the source|the kernel|kernel)\b/, 'source'],
  [/^budget_micro_usd\b/, 'budget'],
  [/^deadline_seconds\b/, 'deadline'],
];

/** The field that a refusal of the node is about; null when it is about none. */
export const refusedField = (message: string): FieldName | null =>
  REFUSALS.find(([begins]) => begins.test(message))?.[1] ?? null;
