import { fromBase64 } from '../download';

/** The output of a text job, as the node stores it. */
export type Generation = {
  text: string;
  /** How many tokens were chosen, the one that ended the text included; null from runtimes that do not tell. */
  tokens: number | null;
  finish: 'stop' | 'length';
};

/** Reads the output of a text job; null when it is none. */
export function readGeneration(base64: string): Generation | null {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(fromBase64(base64)));
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  const { text, tokens, finish } = value as Record<string, unknown>;
  if (typeof text !== 'string' || (finish !== 'stop' && finish !== 'length')) return null;
  return { text, tokens: Array.isArray(tokens) ? tokens.length : null, finish };
}
