import type { Selling } from '$lib/api/types';
import { soon } from '$lib/format/time';
import { m } from '$lib/paraglide/messages.js';
import { sentence } from './sentence';

/** Why the machine sells or does not, and until when, in local time. */
export function sellingWords(selling: Selling): string {
  if (selling.state === 'paused' && selling.paused_until) return m.sell_paused_until({ time: soon(selling.paused_until) });
  const reason = sentence(selling.reason);
  return selling.resumes_at ? `${reason} ${m.sell_resumes({ time: soon(selling.resumes_at) })}` : reason;
}
