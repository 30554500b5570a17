//! How long a decision takes on one core: `cargo run -p tender-market --release --example decide`.

use std::{collections::BTreeSet, time::Instant};
use tender_base::{
    BlobRef, Book, JobSpec, MicroUsd, Sha256, Signer, Timestamp, Work,
    job::{Constraints, Precision, Privacy},
    signed::KeySigner,
};
use tender_market::{
    choice::{Desk, Prospect, Rules},
    compatibility,
    decision::{Alternative, Outcome, Situation, Source},
    draws::Draws,
    explore::Policy,
    receipt::{Needs, Question, Standing, decide},
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

/// The own card and `n − 1` peers with everything that a receipt holds.
fn question(n: usize, draws: &mut Draws) -> Question {
    let now = Timestamp::from_millis(1_795_248_000_000);
    let did = KeySigner::from_seed(&[1; 32]).did();
    let skills: BTreeSet<String> = ["gemm", "embed"].map(str::to_owned).into();
    let rows = prospects(n, draws);
    let alternative = |(i, row): (usize, &Prospect)| Alternative {
        source: if i == 0 { Source::Local } else { Source::Peer { did, name: format!("peer {i}") } },
        outcome: Outcome::Offered {
            cost: MicroUsd((row.bill_usd * 1e6) as i64),
            checking: MicroUsd((row.checking_usd * 1e6) as i64),
            cost_measured: true,
            estimated_ms: row.seconds as u64,
            reliability: None,
            contract: None,
        },
    };
    let standing = |row: &Prospect| Standing {
        skills: skills.clone(),
        cosine: Some(0.9),
        memory_bytes: Some(16 << 30),
        region: Some("EU".into()),
        history: row.history,
        prior: row.prior,
        security_risk: row.security_risk,
        loss_usd: row.loss_usd,
    };
    Question {
        situation: Situation {
            job: JobSpec {
                work: Work::Gemm { m: 8, k: 8, n: 8, precision: Precision::F32 },
                input: BlobRef { sha256: Sha256::of(b"in"), bytes: 512 },
                constraints: Constraints {
                    budget: MicroUsd(1_000_000),
                    deadline: now.after(std::time::Duration::from_secs(3600)),
                    privacy: Privacy::Peers,
                },
            },
            book: Book::Real,
            decided_at: now,
            spend_left: None,
            alternatives: rows.iter().enumerate().map(alternative).collect(),
        },
        needs: Needs { skills: ["gemm".to_owned()].into(), memory_bytes: 8 << 30, ..Needs::default() },
        standings: rows.iter().map(standing).collect(),
        rules: Rules::default(),
        threshold: compatibility::THRESHOLD,
        policy: Policy::Greedy,
        seed: 1,
    }
}

/// Hard constraints, matrix and receipt; the question is there already.
fn receipts(n: usize, draws: &mut Draws) {
    let known = question(n, draws);
    let mut times: Vec<f64> = (0..1_000)
        .map(|_| {
            let question = known.clone();
            let before = Instant::now();
            let receipt = decide(question);
            let took = before.elapsed().as_secs_f64() * 1e6;
            assert!(receipt.is_ok_and(|receipt| receipt.choice.is_some()));
            took
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{n:>10}  receipt    {:>9.2} {:>9.2} {:>13.0}", times[500], times[990], 1e6 / times[500]);
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
    for n in [20, 100, 1000] {
        receipts(n, &mut draws);
    }
}
