import type { Breakeven, LogAnswer, UsageComparison, Why } from '$lib/api/types';
import { m } from '$lib/paraglide/messages.js';

/** A figure that the log gave, or that it could not give. */
export type LogFigure = { label: string; about: string; why: Why | null };

/** What the log says, as this screen reads it. */
export type Log = { figures: LogFigure[]; comparison: UsageComparison | null; breakeven: Breakeven | null };

const named = (answer: LogAnswer, name: string): Why | null => (answer.evidence as Why[]).find((why) => why.name === name) ?? null;

/** Reads an answer: measured figures, what was not measured named as such, and the comparison where there is one. */
export function readLog(answer: LogAnswer): Log {
  const output = answer.breakeven as { breakeven: Breakeven } | null;
  const figures =
    answer.evidence.length === 0
      ? []
      : [
          { label: m.log_writing(), about: m.log_writing_about(), why: named(answer, 'speed of writing') },
          { label: m.log_reading(), about: m.log_reading_about(), why: named(answer, 'speed of reading') },
          { label: m.log_draw(), about: m.log_draw_about(), why: named(answer, 'draw at work') },
          { label: m.log_occupancy(), about: m.log_occupancy_about(), why: inPercent(named(answer, 'occupancy')) },
        ];
  return { figures, comparison: answer.comparison as UsageComparison | null, breakeven: output?.breakeven ?? null };
}

const inPercent = (why: Why | null): Why | null => (why === null ? null : { ...why, value: why.value * 100, unit: '%' });

/** What the log measured, by the field of the calculation it belongs to. */
export function measured(answer: LogAnswer): { tokens_per_second?: number; prefill_tokens_per_second?: number; gpu_watts?: number; volume?: number; input_output_ratio?: number } {
  const found: ReturnType<typeof measured> = {};
  const [writing, reading, draw] = ['speed of writing', 'speed of reading', 'draw at work'].map((name) => named(answer, name));
  const comparison = answer.comparison as UsageComparison | null;
  if (writing) found.tokens_per_second = writing.value;
  if (reading) found.prefill_tokens_per_second = reading.value;
  if (draw) found.gpu_watts = draw.value;
  if (comparison && comparison.text_tokens_per_day > 0) {
    found.volume = comparison.text_tokens_per_day;
    found.input_output_ratio = comparison.prompt_tokens_per_day / comparison.text_tokens_per_day;
  }
  return found;
}
