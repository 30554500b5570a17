use super::*;

fn now() -> Timestamp {
    Timestamp::parse("2026-11-22T12:00:00Z").unwrap()
}

fn query(margin: f64) -> BreakevenQuery {
    let (input, origins) = example(now()).unwrap();
    BreakevenQuery { input: same(input).unwrap(), origins, margin }
}

fn answer(query: BreakevenQuery) -> Answer<BreakevenAnswer> {
    let input: Input = same(&query.input)?;
    answered(&query, &input)
}

fn at(line: &CostLine, tokens: f64) -> f64 {
    line.usd_per_day + line.usd_per_million * tokens / 1e6
}

#[test]
fn the_lines_cross_at_the_break_even_and_the_bands_at_its_ends() {
    let found = answer(query(0.1)).unwrap();
    let crossing = found.output.breakeven.tokens_per_day.unwrap();
    // 2.64 million at $0.60: the golden value of the table in docs/economics.md.
    assert!((crossing - 2_636_738.234).abs() < 1.0, "{crossing}");
    let (best, worst) = (found.at_best.tokens_per_day.unwrap(), found.at_worst.tokens_per_day.unwrap());
    assert!(best < crossing && crossing < worst);
    for (own, buy, at_tokens) in [
        (&found.own.stated, &found.buy.stated, crossing),
        (&found.own.low, &found.buy.high, best),
        (&found.own.high, &found.buy.low, worst),
    ] {
        assert!((at(own, at_tokens) - at(buy, at_tokens)).abs() < 1e-9);
    }
    // The day at the utilisation given costs a day's share of the year.
    let day = at(&found.own.stated, found.tokens_per_day);
    assert!((day * 365.0 - found.output.total_usd_per_year).abs() < 1e-6);
    let exact = answer(query(0.0)).unwrap();
    assert_eq!((exact.at_best.tokens_per_day, exact.at_worst.tokens_per_day), (Some(crossing), Some(crossing)));
    assert!(answer(query(0.95)).unwrap_err().message.contains("margin"));
    assert!(answer(query(f64::NAN)).unwrap_err().message.contains("margin"));
}

#[test]
fn prompts_and_cards_are_in_the_lines() {
    let mut query = query(0.2);
    query.input.input_output_ratio = Some(4.0);
    query.input.cards = Some(3);
    let found = answer(query).unwrap();
    let crossing = found.output.breakeven.tokens_per_day.unwrap();
    assert!((at(&found.own.stated, crossing) - at(&found.buy.stated, crossing)).abs() < 1e-9);
    assert!((found.capacity_tokens_per_day - crossing / found.output.breakeven.utilisation.unwrap()).abs() < 1e-3);
}

#[test]
fn every_figure_says_why() {
    let found = answer(query(0.1)).unwrap();
    let Value::Object(figures) = serde_json::to_value(&found.output).unwrap() else { panic!("no object") };
    for (name, figure) in figures.iter().filter(|(_, figure)| figure.is_number()) {
        assert_eq!(found.whys[name].value, figure.as_f64().unwrap(), "{name}");
    }
    assert_eq!(found.whys["tokens_per_day"].value, found.output.breakeven.tokens_per_day.unwrap());
    assert_eq!(found.whys["at_best"].value, found.at_best.tokens_per_day.unwrap());
    let price = found.whys["tokens_per_day"].inputs.iter().find(|term| term.name == "API price").unwrap();
    assert_eq!((price.origin.origin.as_str(), price.origin.on.as_deref()), ("published", Some("2026-11-21")));
    assert!(found.whys["capital_usd_per_year"].inputs.iter().all(|term| term.origin.origin == "assumed"));
}

#[test]
fn a_wrong_number_is_refused_by_its_field() {
    let mut wrong = query(0.1);
    wrong.input.resale_fraction = 1.5;
    assert!(answer(wrong).unwrap_err().message.contains("resale_fraction"));
}

fn bill(csv: &str) -> UsageQuery {
    let input = same(presets::rtx_4080()).unwrap();
    UsageQuery { csv: csv.to_owned(), input, busy_hours: 24.0, stands_in_for: Vec::new(), rent: None }
}

#[test]
fn a_bill_moves_the_crossing_to_the_price_really_paid() {
    let mut csv = String::from("date,model,input_tokens,output_tokens,cost\n");
    for month in [8, 9] {
        for day in 1..=30 {
            csv.push_str(&format!("2026-{month:02}-{day:02},gpt-4o-mini,400000,{},4.2\n", 4_000_000 + day * 1000));
        }
    }
    let found = billed(&bill(&csv), now()).unwrap();
    assert_eq!((found.comparison.days, found.lines, found.models.len()), (61, 60, 1));
    assert_eq!((found.stated, found.regret_whys.len(), found.comparison.months.len()), (false, 2, 2));
    assert!(found.comparison.alternatives.iter().all(|alternative| alternative.interval.is_some()));
    let paid: Input = same(found.input.unwrap()).unwrap();
    let crossing = model::breakeven(&paid).unwrap().breakeven.tokens_per_day.unwrap();
    let flip = found.comparison.alternatives[1].flips_at_tokens_per_day.unwrap();
    assert!((crossing - flip).abs() < 1e-3, "{crossing} {flip}");
    let seen = capacity(&paid).unwrap() * paid.utilisation;
    assert!((seen - found.comparison.text_tokens_per_day).abs() < 1e-3, "{seen}");
}

#[test]
fn a_bill_that_cannot_be_read_names_line_and_field() {
    let problem = billed(&bill("date,model,input_tokens,output_tokens,cost\n2026-08-01,a,many,1,1\n"), now());
    let message = problem.unwrap_err().message;
    assert!(message.contains("line 2") && message.contains("input tokens: many"), "{message}");
    assert!(billed(&UsageQuery { busy_hours: 25.0, ..bill("") }, now()).unwrap_err().message.contains("busy_hours"));
}
