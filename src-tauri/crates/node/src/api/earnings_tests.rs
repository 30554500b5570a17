use super::*;
use proptest::prelude::*;
use tender_base::{Signer as _, ids::ContractId, signed::KeySigner};

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn work(id: u128, ended: &str, wall_ms: u64, milliwatts: Option<u64>) -> WorkRecord {
    WorkRecord {
        id: Uuid::from_u128(id),
        place: Place::Sold,
        book: Book::Real,
        kind: JobKind::Gemm,
        model: None,
        runtime: None,
        units: 10,
        prompt_tokens: None,
        wall_ms,
        milliwatts,
        ended_at: at(ended),
    }
}

fn logged(work: &WorkRecord) -> LoggedWork {
    LoggedWork { work: work.clone(), owed: true }
}

fn contract() -> ContractId {
    "01a1fc8d-5ad6-78cf-a26a-44d64a688119".parse().unwrap()
}

fn sold(work: Option<WorkRecord>, cost: Option<Cost>) -> Sold {
    let line = TradeLine {
        contract: contract(),
        role: Role::Contractor,
        peer: KeySigner::from_seed(&[1; 32]).did(),
        kind: JobKind::Gemm,
        state: ContractState::Accepted,
        amount: Some(MicroUsd(500)),
        opened_at: at("2026-11-21T11:59:00Z"),
        delivered_at: at("2026-11-21T12:00:01Z"),
        accepted_at: Some(at("2026-11-21T12:00:02Z")),
        proposed: Some(MicroUsd(600)),
        estimated_ms: Some(3_000),
    };
    Sold { line, work, cost, predicted: Some(0.000_4) }
}

#[test]
fn an_hour_of_work_costs_its_energy_and_its_wear() {
    let machine = Machine::default();
    let hour = cost(&machine, &work(1, "2026-11-21T12:00:00Z", 3_600_000, Some(320_000)), 1.0).unwrap();
    // As the golden value of the cost of running here: 387 W / 0.9 at $0.17; capital and maintenance of an hour.
    assert!((hour.electricity.unwrap() - 0.43 * 0.17).abs() < 1e-9 && hour.measured);
    assert!((hour.wear - (335.985_919_172_005_7 + 35.97) / 4_380.0).abs() < 1e-9, "{}", hour.wear);
    let half = cost(&machine, &work(1, "2026-11-21T12:00:00Z", 3_600_000, None), 0.5).unwrap();
    assert!(!half.measured && (half.wear - hour.wear / 2.0).abs() < 1e-12);
    let rented = Machine { rent_usd_per_hour: Some(0.36), ..Machine::default() };
    let rent = cost(&rented, &work(1, "2026-11-21T12:00:00Z", 3_600_000, None), 1.0).unwrap();
    assert_eq!((rent.electricity, (rent.wear * 1e6).round()), (None, 360_000.0));
}

#[test]
fn what_ran_at_once_shares_the_machine() {
    let one = work(1, "2026-11-21T12:00:10Z", 10_000, None);
    let two = work(2, "2026-11-21T12:00:15Z", 10_000, None);
    let alone = work(3, "2026-11-21T13:00:00Z", 1_000, None);
    let elsewhere = WorkRecord { place: Place::Bought, ..work(4, "2026-11-21T12:00:10Z", 10_000, None) };
    let shares = shares(&[&one, &two, &alone, &elsewhere].map(logged));
    assert_eq!((shares[&one.id], shares[&two.id], shares[&alone.id]), (0.75, 0.75, 1.0));
    assert!(!shares.contains_key(&elsewhere.id));
}

proptest! {
    /// However work overlaps, its shares together are the time in which anything ran.
    #[test]
    fn shares_add_up_to_the_time_in_which_anything_ran(spans in prop::collection::vec((0u64..100, 1u64..50), 1..12)) {
        let began = at("2026-11-21T12:00:00Z").millis();
        let worked: Vec<LoggedWork> = spans.iter().zip(1..).map(|((from, took), id)| {
            let ended_at = Timestamp::from_millis(began + (from + took) as i64);
            logged(&WorkRecord { ended_at, ..work(id, "2026-11-21T12:00:00Z", *took, None) })
        }).collect();
        let shares = shares(&worked);
        let had: f64 = worked.iter().map(|logged| shares[&logged.work.id] * logged.work.wall_ms as f64).sum();
        let any = (0..200).filter(|ms| spans.iter().any(|(from, took)| (*from..from + took).contains(ms))).count();
        prop_assert!((had - any as f64).abs() < 1e-6, "{had} of {any}");
    }
}

#[test]
fn a_day_with_something_unknown_is_unknown_and_one_without_sales_costs_nothing() {
    let known = || Some(Cost { electricity: Some(0.000_1), wear: 0.000_2, measured: true });
    let day = costs_of([sold(None, known()), sold(None, known())].iter());
    assert_eq!(
        (day.electricity.map(micro), day.wear.map(micro), day.predicted.map(micro)),
        (Some(200), Some(400), Some(800))
    );
    assert!(day.measured);
    let day = costs_of([sold(None, known()), sold(None, None)].iter());
    assert!(day.electricity.is_none() && day.wear.is_none() && day.electricity_or_rent.is_none() && !day.measured);
    let rented = costs_of([sold(None, Some(Cost { electricity: None, wear: 0.000_3, measured: false }))].iter());
    assert_eq!((rented.electricity, rented.electricity_or_rent), (None, Some(0.0)));
    let none = costs_of([].iter());
    assert_eq!((none.electricity, none.wear, none.measured), (Some(0.0), Some(0.0), false));
}

#[test]
fn hours_are_the_owners() {
    // A Saturday, 12:30 UTC.
    let sold = [sold(Some(work(1, "2026-11-21T12:30:00Z", 1_000, None)), None)];
    let earned = |offset| {
        let hours = hours(&sold, offset);
        assert_eq!(hours.len(), 168);
        let found: Vec<_> = hours.into_iter().filter(|hour| hour.jobs > 0).collect();
        (found[0].weekday, found[0].hour, found[0].earned_micro_usd)
    };
    assert_eq!((earned(0), earned(60), earned(-13 * 60)), ((5, 12, 500), (5, 13, 500), (4, 23, 500)));
    assert_eq!(earned(12 * 60), (6, 0, 500));
}

#[test]
fn a_line_has_every_column_and_names_cannot_become_formulas() {
    let known = Cost { electricity: Some(0.000_1), wear: 0.000_2, measured: true };
    let cells = line(&sold(Some(work(1, "2026-11-21T12:00:00Z", 2_500, Some(200_500))), Some(known)), "=evil(\"x\"),1");
    assert_eq!(cells[2], "\"'=evil(\"\"x\"\"),1\"");
    assert_eq!((cells[8].as_str(), cells[11].as_str(), cells[12].as_str()), ("0.00050000", "2.5", "200.5"));
    assert_eq!((cells[15].as_str(), cells[17].as_str()), ("0.00020000", "3"));
    let unknown = line(&sold(None, None), "anna");
    assert!(unknown[9..16].iter().all(String::is_empty), "{unknown:?}");
}

#[tokio::test]
async fn every_day_and_every_hour_is_there_without_any_sale() {
    let dir = tempfile::tempdir().unwrap();
    let node = Arc::new(crate::metering::tests::node(&dir).await);
    let found = earnings(&node, EarningsQuery { book: None, days: Some(3) }).await.unwrap();
    assert_eq!((found.days.len(), found.hours.len()), (3, 168));
    assert!(found.days.iter().all(|day| day.net_micro_usd == Some(0) && !day.measured));
    let lines = earnings_lines(&node, EarningsQuery { book: None, days: None }).await.unwrap();
    assert_eq!((lines.lines, lines.csv.lines().count()), (0, 1));
    assert_eq!(lines.csv.trim_end().split(',').count(), 18);
}
