import { expect, test } from 'vitest';
import { eventReader } from './sse';

const stream = ': keep-alive\n\nid: 7\ndata: {"a":1}\n\nid: 8\r\ndata: {"b":\r\ndata: 2}\r\n\r\nevent: x\ndata:no space\n\n';
const wanted = [
  { id: '7', data: '{"a":1}' },
  { id: '8', data: '{"b":\n2}' },
  { id: '8', data: 'no space' },
];

test('reads whole events', () => {
  expect(eventReader()(stream)).toEqual(wanted);
});

test('reads the same wherever the pieces are cut', () => {
  for (let size = 1; size < stream.length; size += 1) {
    const read = eventReader();
    const events = [];
    for (let at = 0; at < stream.length; at += size) events.push(...read(stream.slice(at, at + size)));
    expect(events, `pieces of ${size}`).toEqual(wanted);
  }
});

test('an event is complete only at its empty line', () => {
  const read = eventReader();
  expect(read('id: 1\ndata: x\n')).toEqual([]);
  expect(read('\n')).toEqual([{ id: '1', data: 'x' }]);
});
