use super::*;
use proptest::prelude::*;
use tender_base::units::Watts;

fn basis(units_per_second: f64) -> Basis {
    Basis {
        running: Running { watts_measured: true, ..Running::default() },
        unit: Unit::Token,
        units_per_second,
        margin: 0.25,
        demand: None,
        cap_micro_usd_per_unit: None,
    }
}

fn demand() -> Demand {
    Demand { wanted: 6.0, free: 4.0, total: 10.0, sensitivity: 0.5, complexity: 1.3 }
}

fn stated() -> Origins {
    Origins { watts: Origin::Measured, wear: Origin::Stated, margin: Origin::Stated, cap: Origin::Stated }
}

#[test]
fn days_count_what_was_offered_and_pay_no_hour_twice() {
    let at = |hours: i64| Timestamp::from_millis(1_795_219_200_000 + hours * 3_600_000);
    assert_eq!(at(0), at(0).start_of_day());
    let offered = [(at(6), at(12)), (at(20), at(30)), (at(60), at(61))];
    let paid = [(at(7), at(9)), (at(8), at(10)), (at(23), at(25)), (at(58), at(63))];
    let days = offered_days(&offered, &paid, at(70));
    let hours: Vec<(f64, f64)> = days.iter().map(|day| (day.offered_hours, day.paid_hours)).collect();
    assert_eq!(hours, [(10.0, 4.0), (6.0, 1.0), (1.0, 1.0)]);
    assert!(offered_days(&[], &paid, at(70)).is_empty());
}

#[test]
fn the_golden_demand_adjustment() {
    // Eq. 7: D 6, S 4, T 10, α 0.5, β 1.3 of a base of 1.
    assert!((demand().factor().unwrap() - 1.43).abs() < 1e-12);
    let glut = Demand { wanted: 0.0, free: 10.0, complexity: 1.0, sensitivity: 1.0, ..demand() };
    assert_eq!(glut.factor().unwrap(), 0.0, "the price itself is then held at the floor");
}

#[test]
fn a_price_covers_energy_wear_and_what_is_displaced_with_a_margin() {
    // 444.4 W × 0.17 USD/kWh + 0.07671 USD wear = 0.152264 USD/h: 42.2956 micro-USD/s, at 600 tokens/s 0.0704927 each.
    let plain = suggest(&basis(600.0), &stated()).unwrap();
    assert!((plain.floor.micro_usd_per_unit - 0.070_492_7).abs() < 1e-6, "{plain:?}");
    assert!((plain.usd_per_gpu_second - 42.2956e-6 * 1.25).abs() < 1e-9);
    assert_eq!(
        (plain.rate, plain.held),
        (Rate { micro_usd: 8_812, per_units: 100_000, unit: Unit::Token }, Held::Free)
    );
    assert!(plain.why.value > 0.0 && plain.why.inputs.iter().any(|term| term.origin == Origin::Assumed));
    let mut busy = basis(600.0);
    busy.running.opportunity_usd_per_hour = 0.152_264;
    let twice = suggest(&busy, &stated()).unwrap().floor.micro_usd_per_unit / plain.floor.micro_usd_per_unit;
    assert!((twice - 2.0).abs() < 1e-5, "{twice}");
}

#[test]
fn demand_moves_the_price_between_floor_and_cap() {
    let of = |demand: Demand, cap: Option<f64>| {
        let basis = Basis { demand: Some(demand), cap_micro_usd_per_unit: cap, ..basis(600.0) };
        suggest(&basis, &stated()).unwrap()
    };
    let plain = suggest(&basis(600.0), &stated()).unwrap();
    let dear = of(demand(), None);
    assert!((dear.why.value / plain.why.value - 1.43).abs() < 1e-12);
    let glut = of(Demand { wanted: 0.0, free: 10.0, complexity: 1.0, ..demand() }, None);
    assert_eq!((glut.held, glut.why.value), (Held::AtFloor, glut.floor.micro_usd_per_unit));
    let capped = of(demand(), Some(0.08));
    assert_eq!((capped.held, capped.why.value), (Held::AtCap, 0.08));
    assert_eq!(capped.rate, Rate { micro_usd: 8_000, per_units: 100_000, unit: Unit::Token });
    let hopeless = of(demand(), Some(0.05));
    assert_eq!((hopeless.held, hopeless.why.value), (Held::CapBelowFloor, hopeless.floor.micro_usd_per_unit));
}

#[test]
fn a_card_held_to_less_power_is_priced_by_what_it_delivers() {
    // A fifth less power for a hundredth of the speed, as bandwidth-bound work has it; then far too little power.
    let points = [
        PowerPoint { limit_watts: 320.0, wall_watts: 444.0, units_per_second: 600.0 },
        PowerPoint { limit_watts: 256.0, wall_watts: 373.0, units_per_second: 594.0 },
        PowerPoint { limit_watts: 120.0, wall_watts: 222.0, units_per_second: 200.0 },
    ];
    let (costs, best) = by_power(&points, &Running::default()).unwrap();
    assert_eq!(best, 1, "{costs:?}");
    assert!(costs[1] < costs[0] && costs[0] < costs[2]);
    let capped = Basis { running: Running { watts: Watts(373.0), ..Running::default() }, ..basis(594.0) };
    assert!((suggest(&capped, &stated()).unwrap().floor.micro_usd_per_unit - costs[1]).abs() < 1e-12);
    assert!(by_power(&[], &Running::default()).is_err());
    let odd = PowerPoint { wall_watts: 0.0, ..points[0] };
    assert!(by_power(&[odd], &Running::default()).unwrap_err().message.contains("wall_watts"));
}

#[test]
fn paid_hours_have_an_interval_or_are_unknown() {
    let day = OfferedDay { offered_hours: 10.0, paid_hours: 4.0 };
    let thin = paid_hours(&[day; 13]).unwrap();
    assert!(matches!(&thin, PaidHours::Unknown { why } if why.contains("13 days")), "{thin:?}");
    let closed = OfferedDay { offered_hours: 0.0, paid_hours: 0.0 };
    let with_closed: Vec<OfferedDay> = [day; 13].into_iter().chain([closed; 20]).collect();
    assert!(matches!(paid_hours(&with_closed).unwrap(), PaidHours::Unknown { .. }), "a closed day shows nothing");
    let PaidHours::Expected { mean, low, high, days } = paid_hours(&[day; 30]).unwrap() else { panic!("unknown") };
    assert!((mean - 4.0).abs() < 1e-12 && days == 30);
    // Wilson, 12 of 30 at 95 %: 0.246 to 0.577.
    assert!((low - 2.459).abs() < 0.01 && (high - 5.768).abs() < 0.01, "{low} {high}");
    assert_eq!(paid_hours(&[day; 30]).unwrap().why().unwrap().value, mean);
    assert_eq!(thin.why(), None);
    let suggestion = suggest(&basis(600.0), &stated()).unwrap();
    let income = paid_hours(&[day; 30]).unwrap().margin_usd(&suggestion, 600.0).unwrap();
    assert!((income[0] - 4.0 * 0.25 * 0.152_264).abs() < 1e-5 && income[1] < income[0] && income[0] < income[2]);
    assert_eq!(thin.margin_usd(&suggestion, 600.0), None);
    for odd in [
        OfferedDay { offered_hours: 25.0, paid_hours: 1.0 },
        OfferedDay { offered_hours: 1.0, paid_hours: 2.0 },
        OfferedDay { offered_hours: f64::NAN, paid_hours: 0.0 },
    ] {
        assert!(paid_hours(&[odd]).unwrap_err().message.contains("_hours"));
    }
}

#[test]
fn a_wrong_field_is_named() {
    let named = |basis: Basis| suggest(&basis, &stated()).unwrap_err().message;
    assert!(named(basis(0.0)).contains("units_per_second"));
    assert!(named(basis(1e-9)).contains("price list"));
    assert!(named(Basis { margin: -0.1, ..basis(600.0) }).contains("margin"));
    assert!(named(Basis { cap_micro_usd_per_unit: Some(0.0), ..basis(600.0) }).contains("cap_micro_usd"));
    assert!(named(Basis { demand: Some(Demand { total: 0.0, ..demand() }), ..basis(600.0) }).contains("demand.total"));
    assert!(named(Basis { demand: Some(Demand { free: 11.0, ..demand() }), ..basis(600.0) }).contains("demand.free"));
    let running = Running { tariff_usd_per_kwh: f64::NAN, ..Running::default() };
    assert!(named(Basis { running, ..basis(600.0) }).contains("tariff"));
}

proptest! {
    /// The rate asked covers the floor, keeps to the cap, and is the price to four digits.
    #[test]
    fn a_rate_is_between_floor_and_cap(
        speed in 0.01..1e13f64, margin in 0.0..2.0f64, wanted in 0.0..20.0f64, free in 0.0..=10.0f64,
        cap in proptest::option::of(1.0..3.0f64),
    ) {
        let demand = Demand { wanted, free, complexity: 1.0, ..demand() };
        let least = floor(speed, &Running::default()).unwrap().micro_usd_per_unit;
        let cap = cap.map(|times| least * times);
        let found = suggest(&Basis { margin, demand: Some(demand), cap_micro_usd_per_unit: cap, ..basis(speed) }, &stated()).unwrap();
        let asked = found.rate.micro_usd as f64 / found.rate.per_units as f64;
        prop_assert!(found.why.value >= least && cap.is_none_or(|cap| found.why.value <= cap));
        prop_assert!(asked >= least * 0.999 && (asked / found.why.value - 1.0).abs() < 1.1e-3);
        prop_assert!(cap.is_none_or(|cap| asked <= cap * 1.001 + 1e-18));
        prop_assert!(found.rate.micro_usd <= MAX_RATE_MICRO_USD);
    }

    /// More demand never lowers the price, a faster card never raises it.
    #[test]
    fn the_price_is_monotone(speed in 0.1..1e6f64, more in 1.0..5.0f64, wanted in 0.0..10.0f64) {
        let of = |speed: f64, wanted: f64| {
            let demand = Demand { wanted, ..demand() };
            suggest(&Basis { demand: Some(demand), ..basis(speed) }, &stated()).unwrap().why.value
        };
        prop_assert!(of(speed, wanted + more) >= of(speed, wanted));
        prop_assert!(of(speed * more, wanted) <= of(speed, wanted) * (1.0 + 1e-12));
    }
}
