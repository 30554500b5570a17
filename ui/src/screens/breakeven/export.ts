import type { BreakevenAnswer, BreakevenInput, BreakevenPreset, Origin, UsageAnswer, Why } from '$lib/api/types';
import { count } from '$lib/format/number';
import { figure, fullDay, month as monthWords, percent, roundUsd, signedUsd, usd, volume as volumeWords } from '$lib/format/usd';
import { m } from '$lib/paraglide/messages.js';
import { originWords } from '$lib/parts/origin';
import { ALL, type FieldName, fields, shownWithUnit } from './fields';
import { adviceWords, choiceWords, intervalWords, keyWords, noneWords, verdictWords } from './words';
import { YEARLY } from './yearly';

export type Exported = {
  /** Which model must be able to do what another does for the answer to hold. */
  standIn: string;
  /** The model on the card, as it was named. */
  cardModel: string;
  /** Whether the price of prompts is in that of text. */
  folded: boolean;
  answer: BreakevenAnswer;
  asked: { input: BreakevenInput; origins: Record<string, Origin | undefined>; margin: number };
  volume: number;
  volumeLabel: string;
  /** Whether the volume is the mean of the bill's days. */
  onBill: boolean;
  found: UsageAnswer | null;
  /** The picture as it stands on the screen. */
  svg: string;
  preset: BreakevenPreset | null;
  case: string;
  on: Date;
};

const STYLE = `
:root { color-scheme: light dark; --text: light-dark(#2a2521, #efebe7); --muted: light-dark(#615a54, #b3aca6);
  --line: light-dark(#e0dad4, #453f39); --line-strong: light-dark(#8c857e, #837b74); --raised: light-dark(#fffefd, #1f1b18);
  --sunken: light-dark(#f4f0ec, #16120f); --earning: light-dark(#006a60, #55c8ba); --spending: light-dark(#4347a9, #a3a8ff); }
body { max-width: 60rem; margin: 0 auto; padding: 2rem 1rem 4rem; background: var(--raised); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
h1 { margin: 0 0 .25rem; font-size: 1.3rem; } h2 { margin: 2.5rem 0 .75rem; font-size: 1.1rem; }
.key { margin: 1rem 0 0; font-size: 2.6rem; font-weight: 600; line-height: 1.2; letter-spacing: -.02em; }
.soft, caption { color: var(--muted); } .wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; } caption { padding: 0 0 .4rem; text-align: left; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { color: var(--muted); font-weight: 500; } .n { text-align: right; white-space: nowrap; }
code { font-size: .92em; } dl { margin: 0 0 1.2rem; } dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
svg { max-width: 100%; height: auto; } svg text { fill: var(--muted); font: 12px system-ui, sans-serif; }
svg .strong, svg .direct { fill: var(--text); font-weight: 600; } svg .halo { stroke: var(--raised); stroke-width: 4px; paint-order: stroke; }
svg .direct.own { fill: var(--earning); } svg .direct.buy { fill: var(--spending); }
.tick { stroke: var(--line); } .zero, .limit, .cursor { stroke: var(--line-strong); } .limit { stroke-dasharray: 2 3; }
.beyond { fill: var(--sunken); } .band { opacity: .16; } .band.own { fill: var(--earning); } .band.buy { fill: var(--spending); }
.line { fill: none; stroke-width: 2; } .line.own { stroke: var(--earning); } .line.buy { stroke: var(--spending); stroke-dasharray: 7 3; }
.volume { stroke: var(--text); stroke-width: 1.5; } .interval { fill: var(--text); opacity: .35; }
.drop { stroke: var(--text); stroke-dasharray: 3 3; } .cross { fill: var(--raised); stroke: var(--text); stroke-width: 2; }
.dot.own { fill: var(--earning); } .dot.buy { fill: var(--spending); }
`;

const escape = (text: string) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

type Cell = string | { number: string };
function table(caption: string, head: Cell[], rows: Cell[][]): string {
  const cell = (of: Cell, tag: string) => (typeof of === 'string' ? `<${tag}>${escape(of)}</${tag}>` : `<${tag} class="n">${escape(of.number)}</${tag}>`);
  const body = rows.map((row) => `<tr>${row.map((of) => cell(of, 'td')).join('')}</tr>`).join('\n');
  return `<div class="wide" tabindex="0" role="region" aria-label="${escape(caption)}"><table><caption>${escape(caption)}</caption><thead><tr>${head.map((of) => cell(of, 'th')).join('')}</tr></thead><tbody>\n${body}\n</tbody></table></div>\n`;
}
const n = (number: string): Cell => ({ number });

function assumptions({ asked, volume, volumeLabel, cardModel, folded }: Exported): string {
  const rows = fields(ALL, folded).map((field): Cell[] => {
    const value = asked.input[field.name as FieldName];
    const origin = asked.origins[field.name];
    return [
      field.label(),
      n(value === null ? '–' : shownWithUnit(field, value)),
      originWords(origin ?? { origin: 'stated' }),
    ];
  });
  rows.unshift([m.be_card_model(), n(cardModel.trim() || m.be_not_named()), '']);
  rows.unshift([volumeLabel, n(m.be_tokens_a_day({ tokens: volumeWords(volume) })), '']);
  rows.push([m.be_margin(), n(percent(asked.margin)), m.be_margin_hint()]);
  return `<h2>${escape(m.be_assumptions())}</h2>\n${table(m.be_assumptions_caption(), [m.be_col_input(), n(m.be_col_value()), m.be_col_origin()], rows)}`;
}

function alternatives(found: UsageAnswer): string {
  const { comparison } = found;
  const between = (of: { low: number; high: number } | null, words: (value: number) => string) =>
    of === null ? '–' : m.be_range({ low: words(of.low), high: words(of.high) });
  const share = (value: number | null) => (value === null ? '–' : percent(value));
  const list = comparison.alternatives.map((row): Cell[] => [
    choiceWords(row),
    n(roundUsd(row.usd_per_year)),
    n(between(row.interval, roundUsd)),
    n(row.choice === 'api' ? '–' : signedUsd(row.saves_usd_per_year)),
    n(share(row.cheapest_share)),
    n(share(row.utilisation)),
    n(share(row.overflow)),
    n(row.flips_at_tokens_per_day === null ? '–' : volumeWords(row.flips_at_tokens_per_day)),
  ]);
  const months = comparison.months.map((row): Cell[] => [
    monthWords(row.month),
    n(count(row.days)),
    n(usd(row.usd[0] ?? 0)),
    choiceWords(row.best),
    n(usd(row.regret_usd)),
    n(usd(row.recommended_regret_usd)),
  ]);
  const head = [m.be_col_alternative(), n(m.be_col_per_year()), n(m.be_col_interval()), n(m.be_col_saved()), n(m.be_col_cheapest()), n(m.be_col_at_work()), n(m.be_col_overflow()), n(m.be_col_pays_from())];
  const monthHead = [m.be_col_month(), n(m.be_col_days()), n(m.be_col_api()), m.be_col_best(), n(m.be_col_regret_api()), n(m.be_col_regret_advice())];
  const read = m.be_bill_read({ lines: count(found.lines), days: count(comparison.days), tokens: volumeWords(comparison.text_tokens_per_day) });
  const priced = found.priced_on ? ` ${m.be_bill_priced({ day: fullDay(found.priced_on) })}` : '';
  const stands = `${m.be_stands_in()}: ${found.stands_in_for.join(', ')}. ${found.stated ? m.be_stands_in_stated() : m.be_stands_in_assumed()}`;
  return [
    `<h2>${escape(m.be_bill())}</h2>\n<p>${escape(m.be_advice({ choice: choiceWords(comparison.recommended) }))}</p>\n<p class="soft">${escape(read + priced)} ${escape(stands)}</p>`,
    table(m.be_alternatives(), head, list),
    `<p class="soft">${escape(m.be_alternatives_note())}</p>`,
    table(m.be_regret(), monthHead, months),
    `<p class="soft">${escape(m.be_regret_note())}</p>`,
  ].join('\n');
}

function explained(why: Why): string {
  const terms = why.inputs.map((term) => `${term.name} = ${figure(term.value)} ${term.unit} (${originWords(term)})`);
  return `<dt>${escape(`${why.name} = ${figure(why.value)} ${why.unit}`)}</dt><dd><code>${escape(why.formula)}</code></dd>${terms
    .map((term) => `<dd class="soft">${escape(term)}</dd>`)
    .join('')}<dd class="soft">${escape(m.why_source({ source: why.source }))}</dd>`;
}

/** One page that says everything by itself: the answer, the picture, the assumptions, and how each number follows. */
export function exportedPage(of: Exported): string {
  const { answer, found } = of;
  const none = noneWords(answer);
  const interval = intervalWords(answer);
  const about = none || (interval ? m.be_key_interval({ interval, margin: percent(of.asked.margin) }) : '');
  const yearly = YEARLY.map((part): Cell[] => [part.label(), n(usd(answer.output[part.key]))]);
  const whys = [...Object.values(answer.whys), ...(found?.comparison.alternatives.map((row) => row.why) ?? []), ...(found?.regret_whys ?? [])];
  const on = new Intl.DateTimeFormat(undefined, { dateStyle: 'long' }).format(of.on);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escape(m.be_page_title())}</title><style>${STYLE}</style></head><body><main>
<h1>${escape(m.be_page_title())}</h1>
<p class="soft">${escape((found ? m.be_page_about_bill : m.be_page_about)({ day: on, case: of.case }))}</p>
<p class="key">${escape(keyWords(answer))}</p>
<p class="soft">${escape(`${none ? m.be_key_label_none() : m.be_key_label()}. ${about}`)}</p>
<p>${escape([found ? adviceWords(found) : '', of.onBill ? '' : verdictWords(answer, of.volume), of.standIn].join(' ').trim())}</p>
<h2>${escape(m.be_chart())}</h2>
${of.svg}
<p class="soft">${escape(m.be_margin_hint())}</p>
${assumptions(of)}
${of.preset?.history ? `<p class="soft">${escape(of.preset.history)}</p>` : ''}
<h2>${escape(m.be_yearly())}</h2>
${table(m.be_yearly_caption(), [m.be_col_part(), n(m.be_col_per_year())], yearly)}
${found ? alternatives(found) : ''}
<h2>${escape(m.be_page_whys())}</h2>
<dl>${whys
    .filter((why): why is Why => why !== undefined)
    .map(explained)
    .join('</dl>\n<dl>')}</dl>
</main></body></html>
`;
}
