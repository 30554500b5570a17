import { describe, expect, test } from 'vitest';
import { atEnd } from './follow';
import { readGeneration } from './generation';

const base64 = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64');

describe('the output of a text job', () => {
  test('is read with its tokens counted', () => {
    const output = base64({ text: 'Grüße, 世界 🙂', tokens: [1, 2, 3], finish: 'stop' });
    expect(readGeneration(output)).toEqual({ text: 'Grüße, 世界 🙂', tokens: 3, finish: 'stop' });
  });

  test('may come without tokens, from a runtime that does not tell', () => {
    expect(readGeneration(base64({ text: '', tokens: null, finish: 'length' }))).toEqual({ text: '', tokens: null, finish: 'length' });
  });

  test.each([
    ['no base64', '%%%'],
    ['no JSON', base64('Once upon a time')],
    ['null', base64(null)],
    ['another end', base64({ text: 'a', finish: 'tired' })],
    ['text that is none', base64({ text: 7, finish: 'stop' })],
    ['bytes that are no UTF-8', Buffer.from([0x22, 0xff, 0x22]).toString('base64')],
  ])('%s is none', (_, output) => {
    expect(readGeneration(output)).toBeNull();
  });
});

describe('a text that grows', () => {
  const box = (scrollTop: number) => ({ scrollHeight: 1000, clientHeight: 300, scrollTop });

  test('is followed at its end, and no longer when the reader has scrolled up', () => {
    expect(atEnd(box(700))).toBe(true);
    expect(atEnd(box(680))).toBe(true);
    expect(atEnd(box(640))).toBe(false);
    expect(atEnd({ scrollHeight: 200, clientHeight: 300, scrollTop: 0 })).toBe(true);
  });
});
