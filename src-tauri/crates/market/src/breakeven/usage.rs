//! What a team bought from APIs, read from a CSV in the dialect of whoever exported it.
//!
//! Needed are columns for date, model, prompt tokens, text tokens and cost, under any of their usual names. Commas,
//! semicolons, tabs and bars separate; a byte order mark, quotes, `$`, decimal commas and grouped thousands are
//! understood. What could be read in two ways is refused, with its line and field.

use crate::api_prices::ApiPrices;
use serde::Serialize;
use tender_base::{Code, Problem, Timestamp};

/// A line of an API bill, or a job of the own log.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// When; the start of the day when only that is known.
    pub at: Timestamp,
    /// The model, as the bill names it.
    pub model: String,
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub text_tokens: u64,
    /// What the API asked or would ask for it, USD.
    pub api_usd: f64,
}

/// A bill as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Bill {
    /// Its lines, in the file's order.
    pub rows: Vec<Usage>,
    /// The day of the published prices that stand for a missing cost column; none when the bill has costs.
    pub priced_on: Option<String>,
}

/// The use of one day, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Day {
    /// Its midnight.
    pub day: Timestamp,
    /// Tokens read.
    pub prompt_tokens: f64,
    /// Tokens written.
    pub text_tokens: f64,
    /// What the API asked, USD.
    pub api_usd: f64,
}

/// Longest span of a log or bill: a date with a wrong century is caught.
const MAX_DAYS: i64 = 20 * 366;
const DAY_MS: i64 = 86_400_000;

const DATE: &[&str] = &[
    "date",
    "usage_date",
    "usage_date_utc",
    "date_utc",
    "day",
    "timestamp",
    "timestamp_utc",
    "datetime",
    "created_at",
    "start_time_iso",
    "start_time",
    "start_date",
    "time",
    "created",
];
const MODEL: &[&str] =
    &["model", "model_name", "model_id", "model_version", "model_slug", "model_permaslug", "snapshot_id", "deployment"];
const PROMPT: &[&str] = &[
    "input_tokens",
    "prompt_tokens",
    "tokens_prompt",
    "tokens_in",
    "tokens_input",
    "context_tokens",
    "n_context_tokens_total",
    "input",
];
/// A bill that lists what was read from caches apart from the rest: the sum is what was read.
const PROMPT_PARTS: &[&str] = &[
    "usage_input_tokens_no_cache",
    "usage_input_tokens_cache_write_5m",
    "usage_input_tokens_cache_write_1h",
    "usage_input_tokens_cache_read",
];
const TEXT: &[&str] = &[
    "output_tokens",
    "completion_tokens",
    "tokens_completion",
    "tokens_out",
    "tokens_output",
    "generated_tokens",
    "n_generated_tokens_total",
    "usage_output_tokens",
    "output",
];
const COST: &[&str] = &[
    "cost",
    "cost_usd",
    "usd",
    "amount",
    "amount_usd",
    "total_cost",
    "total_cost_usd",
    "cost_total",
    "spend",
    "spend_usd",
    "amount_value",
    "cost_in_usd",
];

struct Columns {
    date: usize,
    model: usize,
    prompt: Vec<usize>,
    text: usize,
    cost: Option<usize>,
    currency: Option<usize>,
}

/// Reads a bill. Without a cost column the lines are priced by `prices`, at the price of their day.
///
/// # Errors
/// [`Code::Invalid`], naming line and field: a column that is missing, a cell that is no date or number, negative or
/// in another currency, a day after `now`, or a model without a published price where there is no cost.
pub fn parse(csv: &str, prices: &ApiPrices, now: Timestamp) -> Result<Bill, Problem> {
    let text = csv.trim_start_matches('\u{feff}');
    let separator = separator(text)?;
    let mut reader = csv::ReaderBuilder::new().delimiter(separator).trim(csv::Trim::All).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| malformed(&error))?.clone();
    let columns = columns(&header)?;
    let mut records = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| malformed(&error))?;
        let line = record.position().map_or(0, csv::Position::line);
        records.push((line, record));
    }
    if records.is_empty() {
        return Err(Problem::new(Code::Invalid, "the bill has no lines", "export a span with use in it"));
    }
    let order = order(records.iter().map(|(line, record)| (*line, &record[columns.date])))?;

    let mut rows = Vec::with_capacity(records.len());
    for (line, record) in &records {
        let refuse = |column: usize, field, wanted| refused(*line, field, &record[column], wanted);
        let at = date(&record[columns.date], order)
            .ok_or_else(|| refuse(columns.date, "date", "a day such as 2026-11-21"))?;
        if at > now {
            return Err(refuse(columns.date, "date", "a day that has been"));
        }
        let model = record[columns.model].to_owned();
        if model.is_empty() {
            return Err(refused(*line, "model", "", "a name"));
        }
        let mut prompt_tokens = 0u64;
        for &column in &columns.prompt {
            let tokens = count(&record[column]).ok_or_else(|| refuse(column, "input tokens", "a whole number"))?;
            prompt_tokens = prompt_tokens.saturating_add(tokens);
        }
        let text_tokens =
            count(&record[columns.text]).ok_or_else(|| refuse(columns.text, "output tokens", "a whole number"))?;
        if let Some(column) = columns.currency
            && !record[column].eq_ignore_ascii_case("usd")
        {
            return Err(refuse(column, "currency", "USD"));
        }
        let api_usd = match columns.cost {
            Some(column) => amount(&record[column], separator)
                .ok_or_else(|| refuse(column, "cost", "an amount in USD, 0 or more"))?,
            None => {
                let price = prices.find(&model, at).ok_or_else(|| {
                    Problem::new(
                        Code::Invalid,
                        format!("line {line}, model: no price of {model} is known, and the bill has no cost column"),
                        "export the bill with its costs",
                    )
                })?;
                price.amount(prompt_tokens, text_tokens).as_usd()
            }
        };
        rows.push(Usage { at, model, prompt_tokens, text_tokens, api_usd });
    }
    Ok(Bill { rows, priced_on: columns.cost.is_none().then(|| prices.taken_on.clone()) })
}

/// The days from the first to the last line, those without use among them. Only `models` count; all when empty: what
/// an own card cannot replace stays with the API and makes no difference.
///
/// # Errors
/// [`Code::Invalid`], naming the model that is not on the bill, or a span that nobody has.
pub fn days(rows: &[Usage], models: &[String]) -> Result<Vec<Day>, Problem> {
    if let Some(unknown) = models.iter().find(|model| !rows.iter().any(|row| row.model == **model)) {
        let message = format!("models: {unknown} is not on the bill");
        return Err(Problem::new(Code::Invalid, message, "name a model as the bill does"));
    }
    let index = |at: Timestamp| at.millis().div_euclid(DAY_MS);
    let (Some(first), Some(last)) =
        (rows.iter().map(|row| index(row.at)).min(), rows.iter().map(|row| index(row.at)).max())
    else {
        return Err(Problem::new(Code::Invalid, "the log has no lines", "take a span with use in it"));
    };
    if last - first >= MAX_DAYS {
        return Err(Problem::new(
            Code::Invalid,
            format!("date: the lines span {} days", last - first + 1),
            "look for a date with a wrong year",
        ));
    }
    let mut days: Vec<Day> = (first..=last)
        .map(|day| Day {
            day: Timestamp::from_millis(day * DAY_MS),
            prompt_tokens: 0.0,
            text_tokens: 0.0,
            api_usd: 0.0,
        })
        .collect();
    for row in rows.iter().filter(|row| models.is_empty() || models.contains(&row.model)) {
        let day = &mut days[(index(row.at) - first) as usize];
        day.prompt_tokens += row.prompt_tokens as f64;
        day.text_tokens += row.text_tokens as f64;
        day.api_usd += row.api_usd;
    }
    Ok(days)
}

fn separator(text: &str) -> Result<u8, Problem> {
    let first = text.lines().next().unwrap_or_default();
    [b',', b';', b'\t', b'|']
        .into_iter()
        .map(|separator| (first.bytes().filter(|byte| *byte == separator).count(), separator))
        .filter(|(times, _)| *times > 0)
        .max_by_key(|(times, _)| *times)
        .map(|(_, separator)| separator)
        .ok_or_else(|| {
            Problem::new(
                Code::Invalid,
                "line 1: no column names separated by commas, semicolons, tabs or bars",
                "give a CSV whose first line names its columns: date, model, input_tokens, output_tokens, cost",
            )
        })
}

fn columns(header: &csv::StringRecord) -> Result<Columns, Problem> {
    let names: Vec<String> = header.iter().map(normal).collect();
    let find = |known: &[&str]| known.iter().find_map(|name| names.iter().position(|column| column == name));
    let needed = |field: &str, known: &[&str]| {
        find(known).ok_or_else(|| {
            let has = header.iter().collect::<Vec<_>>().join(", ");
            Problem::new(
                Code::Invalid,
                format!("line 1: no column is the {field}; there are {has}"),
                format!("name one of them {}", known[0]),
            )
        })
    };
    let parts: Vec<usize> = PROMPT_PARTS.iter().filter_map(|name| find(&[name])).collect();
    let prompt = if parts.is_empty() { vec![needed("input tokens", PROMPT)?] } else { parts };
    let cost = find(COST);
    if cost.is_none()
        && let Some(other) = names
            .iter()
            .position(|name| ["cost", "amount", "spend", "price", "charge"].iter().any(|word| name.contains(word)))
    {
        return Err(Problem::new(
            Code::Invalid,
            format!("line 1: the cost may be in {}, but that is not said to be USD", &header[other]),
            "convert it to USD and name the column cost_usd",
        ));
    }
    Ok(Columns {
        date: needed("date", DATE)?,
        model: needed("model", MODEL)?,
        prompt,
        text: needed("output tokens", TEXT)?,
        cost,
        currency: find(&["currency", "amount_currency"]),
    })
}

/// `Usage date (UTC)` as `usage_date_utc`.
fn normal(name: &str) -> String {
    let spelled: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    spelled.split('_').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_")
}

/// Whether `03/04/2026` is in March or in April: what the other lines of the file show.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    MonthFirst,
    DayFirst,
}

fn order<'a>(dates: impl Iterator<Item = (u64, &'a str)>) -> Result<Order, Problem> {
    let (mut found, mut open) = (None, None);
    for (line, text) in dates {
        let Some((first, second, _)) = slashed(text) else { continue };
        let seen = match (first > 12, second > 12) {
            (true, false) => Order::DayFirst,
            (false, true) => Order::MonthFirst,
            _ => {
                open.get_or_insert((line, text));
                continue;
            }
        };
        if found.is_some_and(|found| found != seen) {
            return Err(refused(line, "date", text, "a day in the same order as in the lines before"));
        }
        found = Some(seen);
    }
    match (found, open) {
        (None, Some((line, text))) => Err(refused(
            line,
            "date",
            text,
            "2026-11-21: nothing in the file shows whether its day or its month comes first",
        )),
        (found, _) => Ok(found.unwrap_or(Order::MonthFirst)),
    }
}

/// The three numbers of `11/21/2026`.
fn slashed(text: &str) -> Option<(u32, u32, u32)> {
    let day = text.split([' ', 'T']).next()?;
    let mut parts = day.split('/').map(|part| part.parse().ok());
    let three = (parts.next()??, parts.next()??, parts.next()??);
    (parts.next().is_none() && three.0 <= 31 && three.2 >= 1000).then_some(three)
}

fn date(text: &str, order: Order) -> Option<Timestamp> {
    if let Some(at) = Timestamp::parse(text) {
        return Some(at);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return match text.len() {
            8 => midnight(&text[..4], &text[4..6], &text[6..]),
            10 => Some(Timestamp::from_millis(text.parse::<i64>().ok()? * 1000)),
            13 => Some(Timestamp::from_millis(text.parse().ok()?)),
            _ => None,
        };
    }
    if let Some((first, second, year)) = slashed(text) {
        let (month, day) = if order == Order::DayFirst { (second, first) } else { (first, second) };
        return midnight(&year.to_string(), &month.to_string(), &day.to_string());
    }
    let (day, time) = text.split_once([' ', 'T']).unwrap_or((text, ""));
    let parts: Vec<&str> = day.split(['-', '/', '.']).collect();
    let [first, second, third] = parts[..] else { return None };
    let midnight = if first.len() == 4 { midnight(first, second, third) } else { midnight(third, second, first) }?;
    if time.is_empty() {
        return Some(midnight);
    }
    // A time of day without a zone, or with UTC written out: bills are in UTC.
    let time = time.trim_end_matches("UTC").trim().trim_end_matches("+00:00").trim_end_matches("+0000").trim();
    let time = if time.len() == 5 { format!("{time}:00") } else { time.trim_end_matches('Z').to_owned() };
    let day = midnight.to_string();
    Timestamp::parse(&format!("{}T{time}Z", day.split('T').next()?))
}

fn midnight(year: &str, month: &str, day: &str) -> Option<Timestamp> {
    (year.len() == 4).then_some(())?;
    Timestamp::parse(&format!("{year}-{month:0>2}-{day:0>2}T00:00:00Z"))
}

/// A whole number, thousands grouped or not.
fn count(text: &str) -> Option<u64> {
    let plain: String = text.chars().filter(|c| !matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '\'' | '_')).collect();
    if let Some(digits) = ungrouped(&plain, ',').or_else(|| ungrouped(&plain, '.')) {
        return digits.parse().ok();
    }
    let value: f64 = plain.parse().ok()?;
    ((0.0..9e15).contains(&value) && value == libm::trunc(value)).then_some(value as u64)
}

/// The digits of `1,234,567`; none when that is not how it is written.
fn ungrouped(text: &str, mark: char) -> Option<String> {
    let groups: Vec<&str> = text.split(mark).collect();
    let digits = |group: &str| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit());
    let (first, rest) = groups.split_first()?;
    (!rest.is_empty() && first.len() <= 3 && digits(first) && rest.iter().all(|g| g.len() == 3 && digits(g)))
        .then(|| groups.concat())
}

/// An amount in USD, 0 or more.
fn amount(text: &str, separator: u8) -> Option<f64> {
    let upper = text.to_ascii_uppercase();
    let bare = upper.trim().trim_start_matches("US").trim_start_matches('$').trim_end_matches("USD").trim();
    let bare: String = bare.chars().filter(|c| !matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '\'')).collect();
    let plain = match (bare.rfind('.'), bare.rfind(',')) {
        (Some(point), Some(comma)) if point > comma => bare.replace(',', ""),
        (Some(_), Some(_)) => bare.replace('.', "").replace(',', "."),
        // Where commas separate the columns, a comma in a number groups thousands if it can.
        (None, Some(_)) => match ungrouped(&bare, ',') {
            Some(digits) if separator == b',' || bare.matches(',').count() > 1 => digits,
            _ => bare.replace(',', "."),
        },
        _ => bare,
    };
    let value: f64 = plain.parse().ok()?;
    (value.is_finite() && value >= 0.0).then_some(value)
}

fn refused(line: u64, field: &str, text: &str, wanted: &str) -> Problem {
    // Cells come from a foreign file and go to a terminal.
    let shown: String = text.chars().take(40).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let shown = if shown.is_empty() { "empty".to_owned() } else { shown };
    Problem::new(Code::Invalid, format!("line {line}, {field}: {shown}"), format!("give {field} as {wanted}"))
}

fn malformed(error: &csv::Error) -> Problem {
    let line = error.position().map_or(1, csv::Position::line);
    let message = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("line {line}: {len} cells, but the first line names {expected_len} columns")
        }
        other => format!("line {line}: {other:?}"),
    };
    Problem::new(Code::Invalid, message, "export the bill again; an amount with a comma needs quotes around it")
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
