import type { Origin } from '$lib/api/types';
import { fullDay } from '$lib/format/usd';
import { m } from '$lib/paraglide/messages.js';

/** Where a number comes from, in words. */
export function originWords(origin: Origin): string {
  switch (origin.origin) {
    case 'measured':
      return m.origin_measured();
    case 'stated':
      return m.origin_stated();
    case 'assumed':
      return m.origin_assumed();
    case 'computed':
      return m.origin_computed();
    case 'published':
      return m.origin_published({ by: origin.by ?? '', day: origin.on ? fullDay(origin.on) : '' });
  }
}
