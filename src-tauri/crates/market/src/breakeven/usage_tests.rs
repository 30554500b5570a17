use super::*;
use proptest::prelude::*;

fn now() -> Timestamp {
    Timestamp::parse("2026-11-21T12:00:00Z").unwrap()
}

fn read(csv: &str) -> Result<Bill, Problem> {
    parse(csv, &ApiPrices::bundled(now()).unwrap(), now())
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// The same two lines, as five exporters write them.
#[test]
fn common_dialects_say_the_same() {
    let dialects = [
        "date,model,input_tokens,output_tokens,cost\n\
         2026-11-19,gpt-4o-mini,1234567,2000,0.18\n2026-11-20,gpt-4o-mini,10,20,1234.5\n",
        "\u{feff}Date;Model;Prompt tokens;Completion tokens;Cost (USD)\r\n\
         19.11.2026;gpt-4o-mini;1.234.567;2.000;0,18\r\n20.11.2026;gpt-4o-mini;10;20;1.234,50\r\n",
        "timestamp\tmodel\ttokens_prompt\ttokens_completion\tcost_total\n\
         2026-11-19 00:00:00 UTC\tgpt-4o-mini\t1234567\t2000\t$0.18\n2026-11-20T00:00:00Z\tgpt-4o-mini\t10\t20\t$1,234.50\n",
        "\"usage_date_utc\",\"model_version\",\"usage_input_tokens_no_cache\",\"usage_input_tokens_cache_read\",\
         \"usage_output_tokens\",\"amount\"\n\
         \"11/19/2026\",\"gpt-4o-mini\",\"1,234,000\",\"567\",\"2,000\",\"0.18 USD\"\n\
         \"11/20/2026\",\"gpt-4o-mini\",\"10\",\"0\",\"20\",\"1,234.50\"\n",
        "start_time|snapshot_id|n_context_tokens_total|n_generated_tokens_total|spend|currency\n\
         1795046400|gpt-4o-mini|1234567.0|2e3|1.8e-1|usd\n20261120|gpt-4o-mini|10|20|1234.5|USD\n",
    ];
    let plain = read(dialects[0]).unwrap();
    assert_eq!(plain.priced_on, None);
    assert_eq!(plain.rows.len(), 2);
    assert_eq!((plain.rows[0].prompt_tokens, plain.rows[0].text_tokens), (1_234_567, 2000));
    assert_eq!((plain.rows[0].at, plain.rows[1].api_usd), (at("2026-11-19T00:00:00Z"), 1234.5));
    for dialect in dialects {
        assert_eq!(read(dialect).unwrap(), plain, "{dialect}");
    }
}

#[test]
fn a_bill_without_costs_is_priced_with_the_date_of_the_prices() {
    let bill = read("date,model,input_tokens,output_tokens\n2026-11-19,openai/gpt-4o-mini,1000000,1000000\n").unwrap();
    assert_eq!(bill.priced_on.as_deref(), Some("2026-11-21"));
    assert!((bill.rows[0].api_usd - 0.75).abs() < 1e-12);
    let problem = read("date,model,input_tokens,output_tokens\n2026-11-19,ours,1,1\n").unwrap_err();
    assert!(problem.message.contains("line 2, model") && problem.message.contains("ours"), "{problem}");
}

#[test]
fn what_is_wrong_is_named_by_line_and_field() {
    let head = "date,model,input_tokens,output_tokens,cost\n2026-11-19,m,1,1,1\n";
    for (line, named) in [
        ("soon,m,1,1,1", "line 3, date: soon"),
        ("2026-02-30,m,1,1,1", "line 3, date"),
        ("2026-11-22,m,1,1,1", "line 3, date"),
        ("2026-11-20,,1,1,1", "line 3, model: empty"),
        ("2026-11-20,m,-1,1,1", "line 3, input tokens: -1"),
        ("2026-11-20,m,1.5,1,1", "line 3, input tokens"),
        ("2026-11-20,m,1,,1", "line 3, output tokens: empty"),
        ("2026-11-20,m,1,NaN,1", "line 3, output tokens"),
        ("2026-11-20,m,1,1,-0.5", "line 3, cost"),
        ("2026-11-20,m,1,1,inf", "line 3, cost"),
        ("2026-11-20,m,1,1,€ 3", "line 3, cost"),
        ("2026-11-20,m,1,1", "line 3: 4 cells"),
        ("2026-11-20,m,1,1,0,12", "line 3: 6 cells"),
        ("03/04/2026,m,1,1,1", "line 3, date: 03/04/2026"),
    ] {
        let problem = read(&format!("{head}{line}\n")).unwrap_err();
        assert!(problem.code == Code::Invalid && problem.message.starts_with(named), "{line}: {problem}");
    }
    for (csv, named) in [
        ("", "line 1"),
        ("hello\n", "line 1"),
        ("date,model,input_tokens,cost\n", "output tokens"),
        ("model,input_tokens,output_tokens,cost\n", "date"),
        ("date,input_tokens,output_tokens,cost\n", "model"),
        ("date,model,output_tokens,cost\n", "input tokens"),
        ("date,model,input_tokens,output_tokens,cost_eur\n", "cost_eur"),
        ("date,model,input_tokens,output_tokens,cost\n", "no lines"),
        ("date,model,input_tokens,output_tokens,cost,currency\n2026-11-19,m,1,1,1,EUR\n", "line 2, currency: EUR"),
    ] {
        let problem = read(csv).unwrap_err();
        assert!(problem.message.contains(named), "{csv}: {problem}");
    }
    let mixed = "date,model,input_tokens,output_tokens,cost\n13/04/2026,m,1,1,1\n04/13/2026,m,1,1,1\n";
    assert!(read(mixed).unwrap_err().message.starts_with("line 3, date"));
}

#[test]
fn a_day_that_could_be_two_is_decided_by_the_other_lines() {
    let csv = "date,model,input_tokens,output_tokens,cost\n03/04/2026,m,1,1,1\n13/04/2026,m,1,1,1\n";
    assert_eq!(read(csv).unwrap().rows[0].at, at("2026-04-03T00:00:00Z"));
}

#[test]
fn days_are_whole_and_without_gaps() {
    let csv = "date,model,input_tokens,output_tokens,cost\n\
               2026-11-17T23:59:59Z,a,1,2,0.5\n2026-11-20 07:30,a,10,20,5\n2026-11-20,b,100,200,50\n";
    let rows = read(csv).unwrap().rows;
    let all = days(&rows, &[]).unwrap();
    assert_eq!(all.len(), 4, "two days in between without use");
    assert_eq!((all[3].prompt_tokens, all[3].text_tokens, all[3].api_usd), (110.0, 220.0, 55.0));
    assert_eq!((all[1].text_tokens, all[1].api_usd), (0.0, 0.0));
    let only = days(&rows, &["a".to_owned()]).unwrap();
    assert_eq!((only.len(), only[3].api_usd), (4, 5.0));
    assert!(days(&rows, &["c".to_owned()]).unwrap_err().message.contains("c is not on the bill"));
    assert!(days(&[], &[]).is_err());
    let old = Usage { at: at("1970-01-01T00:00:00Z"), ..rows[0].clone() };
    assert!(days(&[old, rows[0].clone()], &[]).unwrap_err().message.starts_with("date"));
}

proptest! {
    /// Whatever is in the file: rows or an error, never a panic, never a number that is none.
    #[test]
    fn no_file_breaks_the_reader(lines in proptest::collection::vec("[-0-9a-zA-Z.,;/\"$€ :]{0,40}", 0..6)) {
        let csv = format!("date,model,input_tokens,output_tokens,cost\n{}\n", lines.join("\n"));
        if let Ok(bill) = read(&csv) {
            prop_assert!(bill.rows.iter().all(|row| row.api_usd.is_finite() && row.api_usd >= 0.0));
        }
    }

    /// Nothing is lost between the lines and the days.
    #[test]
    fn days_hold_what_the_lines_hold(rows in proptest::collection::vec((0..60i64, 0..1_000_000u64, 0..1000u64), 1..50)) {
        let rows: Vec<Usage> = rows.iter().map(|(day, tokens, cents)| Usage {
            at: Timestamp::from_millis(day * DAY_MS + 5),
            model: "m".to_owned(),
            prompt_tokens: *tokens,
            text_tokens: *tokens / 2,
            api_usd: *cents as f64 / 100.0,
        }).collect();
        let days = days(&rows, &[]).unwrap();
        let usd: f64 = days.iter().map(|day| day.api_usd).sum();
        prop_assert!((usd - rows.iter().map(|row| row.api_usd).sum::<f64>()).abs() < 1e-6);
        let tokens: f64 = days.iter().map(|day| day.prompt_tokens).sum();
        prop_assert_eq!(tokens, rows.iter().map(|row| row.prompt_tokens as f64).sum::<f64>());
    }
}
