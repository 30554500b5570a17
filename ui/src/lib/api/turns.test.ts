import { expect, test } from 'vitest';
import { oneAtATime } from './turns';

const settle = () => new Promise((resolve) => setTimeout(resolve, 0));

test('calls during a run are answered by one more run after it', async () => {
  const ends: (() => void)[] = [];
  const stir = oneAtATime(() => new Promise((resolve) => ends.push(resolve)));
  stir();
  stir();
  stir();
  expect(ends).toHaveLength(1);
  ends[0]!();
  await settle();
  expect(ends).toHaveLength(2);
  ends[1]!();
  await settle();
  expect(ends).toHaveLength(2);
  stir();
  expect(ends).toHaveLength(3);
});
