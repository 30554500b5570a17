import type { ApiProblem } from '../api/types';

/** What went wrong, as the node says it, or as the transport found it. */
export class Problem extends Error implements ApiProblem {
  readonly code: string;
  readonly hint: string;

  constructor(code: string, message: string, hint = '') {
    super(message);
    this.name = 'Problem';
    this.code = code;
    this.hint = hint;
  }

  /** The node did not answer: nothing is known about what the node did. */
  get unreachable(): boolean {
    return this.code === 'unreachable';
  }
}

function isProblem(value: unknown): value is ApiProblem {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as ApiProblem).code === 'string' &&
    typeof (value as ApiProblem).message === 'string'
  );
}

/** The problem in anything that was thrown or sent. */
export function toProblem(value: unknown): Problem {
  if (value instanceof Problem) return value;
  if (isProblem(value)) return new Problem(value.code, value.message, value.hint ?? '');
  return new Problem('unexpected', value instanceof Error ? value.message : String(value));
}

/** The problem in an answer with a status of 400 or more. */
export async function problemOf(response: Response): Promise<Problem> {
  const text = await response.text().catch(() => '');
  try {
    const body: unknown = JSON.parse(text);
    if (isProblem(body)) return toProblem(body);
  } catch {
    // Not JSON: said below in the transport's own words.
  }
  return new Problem('unexpected', `${response.status} ${response.statusText}`.trim(), text.slice(0, 200));
}
