/** One event of a stream. */
export type ServerEvent = { id: string; data: string };

/**
 * Reads server-sent events from text that arrives in pieces of any size. Only `id` and `data` are used; comments
 * (keep-alives) are skipped.
 */
export function eventReader(): (piece: string) => ServerEvent[] {
  let rest = '';
  let id = '';
  let data: string[] = [];
  return (piece) => {
    rest += piece;
    const events: ServerEvent[] = [];
    for (;;) {
      const end = rest.search(/[\r\n]/);
      // A carriage return at the very end may be half of a line break.
      if (end < 0 || (rest[end] === '\r' && end === rest.length - 1)) return events;
      const line = rest.slice(0, end);
      rest = rest.slice(end + (rest.startsWith('\r\n', end) ? 2 : 1));
      if (line === '') {
        if (data.length > 0) events.push({ id, data: data.join('\n') });
        data = [];
        continue;
      }
      const colon = line.indexOf(':');
      if (colon === 0) continue;
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (field === 'data') data.push(value);
      else if (field === 'id') id = value;
    }
  };
}
