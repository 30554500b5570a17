import { describe, expect, test } from 'vitest';
import { deadlineSeconds, emptyText, passages, refusedField, stops, textWork, type TextFields } from './work';

const fields = (changed: Partial<TextFields>): TextFields => ({ ...emptyText(), prompt: 'Hello', ...changed });

describe('a text job', () => {
  test('asks as the fields say, with the node’s defaults where nothing was changed', () => {
    expect(textWork(fields({}))).toEqual({
      work: {
        kind: 'generate',
        model: null,
        messages: [{ role: 'user', content: 'Hello' }],
        prompt: null,
        max_tokens: 256,
        temperature: 0,
        top_k: 0,
        top_p: 1,
        seed: 0,
        stop: [],
      },
      errors: {},
    });
  });

  test('the system message comes first, spaces in it and in the prompt are kept', () => {
    const { work } = textWork(fields({ system: ' Be short. ', prompt: '  Hello\n', model: 'm' }));
    expect(work).toMatchObject({
      model: 'm',
      messages: [
        { role: 'system', content: ' Be short. ' },
        { role: 'user', content: '  Hello\n' },
      ],
    });
    expect(textWork(fields({ system: ' \n' })).work).toMatchObject({ messages: [{ role: 'user' }] });
  });

  test('a prompt to continue goes without a chat, and without its system message', () => {
    expect(textWork(fields({ raw: true, system: 'Be short.', prompt: 'Once upon' })).work).toMatchObject({ messages: null, prompt: 'Once upon' });
  });

  test('numbers are read as people write them', () => {
    const { work, errors } = textWork(fields({ maxTokens: ' 16 ', temperature: '0,7', topK: '40', topP: '.9', seed: '9007199254740991' }));
    expect(errors).toEqual({});
    expect(work).toMatchObject({ max_tokens: 16, temperature: 0.7, top_k: 40, top_p: 0.9, seed: 2 ** 53 - 1 });
  });

  test.each([
    ['prompt', ' \n '],
    ['maxTokens', ''],
    ['maxTokens', '0'],
    ['maxTokens', '16385'],
    ['maxTokens', '1.5'],
    ['temperature', '-1'],
    ['temperature', '2.1'],
    ['temperature', 'warm'],
    ['topK', '1.5'],
    ['topK', '4294967296'],
    ['topP', '0'],
    ['topP', '1.01'],
    ['seed', '9007199254740992'],
    ['seed', '1e3'],
    ['stop', 'a\nb\nc\nd\ne\nf\ng\nh\ni'],
    ['stop', 'é'.repeat(33)],
  ] as const)('%s cannot be %j, and that field says so', (field, text) => {
    expect(Object.keys(textWork(fields({ [field]: text })).errors)).toEqual([field]);
  });
});

test('no text is longer than what its model can hold', () => {
  expect(textWork(fields({ maxTokens: '8191' }), 8192).errors).toEqual({});
  expect(textWork(fields({ maxTokens: '8192' }), 8192).errors.maxTokens).toContain('8,192');
  expect(textWork(fields({ maxTokens: '16385' }), 8192).errors.maxTokens).toContain('16384');
});

test('stop sequences are lines, and may hold line breaks', () => {
  expect(stops('END\n\n\\n\\n\n a \n\\\\n')).toEqual(['END', '\n\n', ' a ', '\\n']);
});

test('passages are lines without empty ones', () => {
  expect(passages(' one \n\n\ttwo\n')).toEqual(['one', 'two']);
});

test('a deadline is a whole number of seconds, a week at most', () => {
  expect(deadlineSeconds(' 300 ')).toBe(300);
  for (const text of ['', '0', '-5', '1.5', '604801', 'soon']) expect(deadlineSeconds(text)).toBeNaN();
});

test('a refusal of the node is said at its field', () => {
  expect(refusedField('prompt_tokens and max_tokens together is 9000, but must be between 2 and 8192')).toBe('maxTokens');
  expect(refusedField('the prompt is larger than the limit of 1048576')).toBe('prompt');
  expect(refusedField('top_p is 3, but must be above 0 and at most 1')).toBe('topP');
  expect(refusedField('there is no model llama')).toBe('model');
  expect(refusedField('budget_micro_usd is -1, but must be between 0 and 1')).toBe('budget');
  expect(refusedField('everything is stopped')).toBeNull();
});
