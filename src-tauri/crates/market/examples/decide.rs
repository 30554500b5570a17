//! How long a decision takes on one core: `cargo run -p tender-market --release --example decide`.

use std::time::Instant;
use tender_market::{
    choice::{Desk, Prospect, Rules},
    draws::Draws,
    explore::Policy,
    reliability::{OWN_PRIOR, PEER_PRIOR, Reliability},
};

fn prospects(n: usize, draws: &mut Draws) -> Vec<Prospect> {
    let row = |i: usize| Prospect {
        own: i == 0,
        bill_usd: draws.between(0.01, 0.2),
        checking_usd: if i == 0 { 0.0 } else { draws.between(0.0, 0.01) },
        waiting_usd: draws.between(0.0, 0.1),
        loss_usd: if i == 0 { 0.0 } else { draws.between(0.0, 0.1) },
        seconds: draws.between(1.0, 1e4),
        history: Reliability { successes: draws.between(0.0, 50.0), failures: draws.between(0.0, 5.0) },
        prior: if i == 0 { OWN_PRIOR } else { PEER_PRIOR },
        security_risk: draws.between(0.0, 0.1),
    };
    (0..n).map(row).collect()
}

fn main() {
    let mut draws = Draws::new(1, 0);
    let (rules, mut desk) = (Rules::default(), Desk::default());
    println!("candidates  policy        p50 µs    p99 µs   decisions/s");
    for n in [20, 100, 1000] {
        let situations: Vec<Vec<Prospect>> = (0..50).map(|_| prospects(n, &mut draws)).collect();
        for policy in [Policy::Greedy, Policy::Thompson] {
            let mut times: Vec<f64> = Vec::new();
            let start = Instant::now();
            let mut chosen = 0;
            for situation in situations.iter().cycle().take(5_000) {
                let before = Instant::now();
                chosen += desk.choose(situation, &rules, policy, &mut draws).map_or(0, |choice| choice.chosen);
                times.push(before.elapsed().as_secs_f64() * 1e6);
            }
            let rate = times.len() as f64 / start.elapsed().as_secs_f64();
            times.sort_by(f64::total_cmp);
            let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
            println!("{n:>10}  {:<10} {p50:>9.2} {p99:>9.2} {rate:>13.0}   ({chosen})", policy.to_string());
        }
    }
}
