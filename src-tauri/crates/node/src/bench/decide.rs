//! `tender bench decide`: how long a decision takes on one core, with hard constraints, cost gate and receipt. Every
//! situation is also decided by plain loops that share nothing with the engine but its formulas.

use super::{BenchReport, Figure, ROUNDS, peer::Peer, wrong};
use serde_json::json;
use std::{
    collections::BTreeSet,
    hint::black_box,
    time::{Duration, Instant},
};
use tender_base::{
    BlobRef, Book, Did, JobSpec, MicroUsd, Problem, Sha256, Signer, Timestamp, Work,
    job::{Constraints, Precision, Privacy},
    signed::KeySigner,
};
use tender_market::{
    choice::{DIRECTIONS, Rules},
    compatibility,
    decision::{Alternative, Outcome, Situation, Source},
    draws::Draws,
    explore::Policy,
    receipt::{Needs, Question, Receipt, Standing, decide as decided},
    reliability::{OWN_PRIOR, PEER_PRIOR, Reliability},
    topsis::{Normalisation, Topsis},
    weights::CRITERIA,
};

/// Different situations, so that no branch is learned by heart.
const SITUATIONS: usize = 50;
/// Decisions among 1,000 candidates: a 99th percentile of 50 that are slower.
const DECISIONS: usize = 5_000;
/// How long each round of rates lasts.
const ROUND: Duration = Duration::from_millis(500);
const BUDGET: MicroUsd = MicroUsd(1_000_000);
const MEMORY: u64 = 8 << 30;

/// Measures.
///
/// # Errors
/// [`tender_base::Code::WorkFailed`] when a decision is not the one that plain loops make, differs when it is made
/// again, or when pymcdm ranks differently.
pub async fn decide() -> Result<BenchReport, Problem> {
    let mut draws = Draws::new(1, 0);
    let hundred = situations(100, &mut draws)?;
    let thousand = situations(1_000, &mut draws)?;

    let mut times = Vec::with_capacity(DECISIONS);
    for question in thousand.iter().cycle().take(DECISIONS) {
        times.push(timed(question)?.as_secs_f64() * 1e3);
    }
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let (mut spent, mut count) = (Duration::ZERO, 0u32);
        for question in hundred.iter().cycle() {
            spent += timed(question)?;
            count += 1;
            if spent >= ROUND {
                break;
            }
        }
        rates.push(f64::from(count) / spent.as_secs_f64());
    }
    let how = "hard constraints, TOPSIS, cost gate and the whole receipt, one core; no ratio: no other program does this, \
               what pymcdm does of it is rankings_per_second_1000";
    let figures = vec![
        Figure::of("decide_1000", "ms", times).because(how),
        Figure::of("decisions_per_second_100", "decisions/s", rates).because(how),
        ranking(&mut draws).await?,
    ];
    Ok(BenchReport::new("decide", None, figures))
}

fn timed(question: &Question) -> Result<Duration, Problem> {
    let question = question.clone();
    let before = Instant::now();
    let receipt = black_box(decided(black_box(question)));
    let took = before.elapsed();
    receipt.map(|_| took)
}

/// Questions whose answers are right.
fn situations(candidates: usize, draws: &mut Draws) -> Result<Vec<Question>, Problem> {
    let drawn: Vec<Question> = (0..SITUATIONS).map(|_| question(candidates, draws)).collect();
    for question in &drawn {
        let receipt = decided(question.clone())?;
        receipt.replay()?;
        let chosen = receipt.choice.map(|choice| choice.chosen);
        if chosen.is_none() || chosen != plainly(&receipt) {
            return Err(wrong(format!("among {candidates} candidates, {chosen:?} was chosen")));
        }
    }
    Ok(drawn)
}

/// The own card and peers, of which every seventh lacks the skill, every eleventh the memory, and every thirteenth is
/// over the budget.
fn question(candidates: usize, draws: &mut Draws) -> Question {
    let now = Timestamp::from_millis(1_795_248_000_000);
    let did: Did = KeySigner::from_seed(&[1; 32]).did();
    let skills: BTreeSet<String> = ["gemm", "embed"].map(str::to_owned).into();
    let mut alternatives = Vec::with_capacity(candidates);
    let mut standings = Vec::with_capacity(candidates);
    for i in 0..candidates {
        let own = i == 0;
        let over = if i % 13 == 12 { 2.0 * BUDGET.0 as f64 } else { 0.0 };
        alternatives.push(Alternative {
            source: if own { Source::Local } else { Source::Peer { did, name: format!("peer {i}") } },
            outcome: Outcome::Offered {
                cost: MicroUsd((draws.between(1e4, 2e5) + over) as i64),
                checking: MicroUsd(if own { 0 } else { draws.between(0.0, 1e4) as i64 }),
                cost_measured: true,
                estimated_ms: draws.between(1e3, 1e6) as u64,
                contract: None,
            },
        });
        standings.push(Standing {
            skills: if i % 7 == 6 { ["embed".to_owned()].into() } else { skills.clone() },
            cosine: Some(0.9),
            memory_bytes: Some(if i % 11 == 10 { MEMORY - 1 } else { 2 * MEMORY }),
            region: Some("EU".to_owned()),
            history: Reliability { successes: draws.between(20.0, 80.0), failures: draws.between(0.0, 3.0) },
            prior: if own { OWN_PRIOR } else { PEER_PRIOR },
            security_risk: draws.between(0.0, 0.1),
            loss_usd: if own { 0.0 } else { draws.between(0.0, 0.1) },
        });
    }
    Question {
        situation: Situation {
            job: JobSpec {
                work: Work::Gemm { m: 8, k: 8, n: 8, precision: Precision::F32 },
                input: BlobRef { sha256: Sha256::of(b"in"), bytes: 512 },
                constraints: Constraints {
                    budget: BUDGET,
                    deadline: now.after(Duration::from_secs(3600)),
                    privacy: Privacy::Peers,
                },
            },
            book: Book::Real,
            decided_at: now,
            spend_left: None,
            rule: None,
            alternatives,
        },
        needs: Needs {
            skills: ["gemm".to_owned()].into(),
            memory_bytes: MEMORY,
            usd_per_hour: 0.05,
            ..Needs::default()
        },
        standings,
        rules: Rules::default(),
        threshold: compatibility::THRESHOLD,
        policy: Policy::Greedy,
        seed: 1,
    }
}

/// What plain loops choose: constraints, gate and closeness written out once more.
fn plainly(receipt: &Receipt) -> Option<usize> {
    struct Plain {
        i: usize,
        own: bool,
        cautious: f64,
        row: [f64; CRITERIA],
    }
    let Question { situation, needs, standings, rules, .. } = &receipt.question;
    let mut rows = Vec::new();
    for (i, (alternative, known)) in situation.alternatives.iter().zip(standings).enumerate() {
        let Outcome::Offered { cost, checking, estimated_ms, .. } = alternative.outcome else { continue };
        let fits = needs.skills.is_subset(&known.skills) && known.memory_bytes >= Some(needs.memory_bytes);
        if !fits || cost.0 + checking.0 > situation.job.constraints.budget.0 {
            continue;
        }
        let own = i == 0;
        let seconds = estimated_ms as f64 / 1000.0;
        let belief = known.history.with(known.prior);
        let total = |reliability: f64| {
            (cost.0 + checking.0) as f64 / 1e6
                + seconds / 3600.0 * needs.usd_per_hour
                + known.loss_usd * (1.0 - reliability * (1.0 - known.security_risk))
        };
        let (expected, reliable) = (total(belief.mean()), belief.mean());
        let cautious = if own { expected } else { total(belief.lower(rules.z)) };
        rows.push(Plain { i, own, cautious, row: [expected, reliable, seconds, 1.0 - known.security_risk] });
    }
    let closeness = closeness(&rows.iter().map(|plain| plain.row).collect::<Vec<_>>(), &receipt.weights);
    let own = rows.iter().filter(|plain| plain.own).map(|plain| plain.row[0]).fold(f64::INFINITY, f64::min);
    let below = |plain: &Plain| plain.own || plain.cautious <= own * (1.0 - rules.margin);
    let lowest = rows.iter().filter(|plain| below(plain)).map(|plain| plain.row[0]).fold(f64::INFINITY, f64::min);
    let passed = rows
        .iter()
        .zip(&closeness)
        .filter(|(plain, _)| below(plain) && plain.row[0] <= lowest * (1.0 + rules.tolerance));
    passed.max_by(|a, b| a.1.total_cmp(b.1)).map(|(plain, _)| plain.i)
}

/// Of each row, by the vector norm: its distance from the worst over the sum of both distances.
fn closeness(rows: &[[f64; CRITERIA]], weights: &[f64; CRITERIA]) -> Vec<f64> {
    let weighted: Vec<[f64; CRITERIA]> = {
        let norm = |c: usize| rows.iter().map(|row| row[c] * row[c]).sum::<f64>().sqrt();
        let norms: [f64; CRITERIA] = std::array::from_fn(norm);
        rows.iter().map(|row| std::array::from_fn(|c| row[c] / norms[c] * weights[c])).collect()
    };
    let extreme =
        |c: usize, better: fn(f64, f64) -> f64, start: f64| weighted.iter().map(|row| row[c]).fold(start, better);
    let least: [f64; CRITERIA] = std::array::from_fn(|c| extreme(c, f64::min, f64::INFINITY));
    let most: [f64; CRITERIA] = std::array::from_fn(|c| extreme(c, f64::max, f64::NEG_INFINITY));
    // Cost and latency are better when they are less.
    let best = [least[0], most[1], least[2], most[3]];
    let worst = [most[0], least[1], most[2], least[3]];
    let apart = |row: &[f64; CRITERIA], from: &[f64; CRITERIA]| {
        row.iter().zip(from).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
    };
    weighted.iter().map(|row| apart(row, &worst) / (apart(row, &worst) + apart(row, &best))).collect()
}

/// TOPSIS alone on 1,000 × 4, in turn with pymcdm, which must give the same closeness.
async fn ranking(draws: &mut Draws) -> Result<Figure, Problem> {
    const WEIGHTS: [f64; CRITERIA] = [0.4, 0.25, 0.2, 0.15];
    let values: Vec<f64> = (0..1_000 * CRITERIA).map(|_| draws.between(0.01, 1.0)).collect();
    let question = json!({
        "values": values.chunks(CRITERIA).collect::<Vec<_>>(),
        "weights": WEIGHTS,
        "directions": DIRECTIONS,
        "seconds": ROUND.as_secs_f64(),
    });
    let mut peer = Peer::economics().await;
    let mut topsis = Topsis::default();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (start, mut count) = (Instant::now(), 0u32);
        while start.elapsed() < ROUND {
            topsis.rank(black_box(&values), &WEIGHTS, &DIRECTIONS, Normalisation::Vector);
            black_box(&topsis.closeness);
            count += 1;
        }
        ours.push(f64::from(count) / start.elapsed().as_secs_f64());
        let Ok(running) = &mut peer else { continue };
        match running.ask(question.clone()).await {
            Ok(answer) => {
                theirs.extend(answer["per_second"].as_f64());
                let said: Vec<f64> = serde_json::from_value(answer["closeness"].clone()).unwrap_or_default();
                let equal = topsis.closeness.iter().zip(&said).all(|(a, b)| (a - b).abs() < 1e-9);
                if said.len() != topsis.closeness.len() || !equal {
                    return Err(wrong("pymcdm ranks otherwise"));
                }
            }
            Err(why) => peer = Err(why),
        }
    }
    let name = peer.as_ref().map_or_else(|_| "pymcdm".to_owned(), |peer| peer.name());
    Ok(Figure::of("rankings_per_second_1000", "rankings/s", ours)
        .because("TOPSIS alone, 1,000 × 4, one core, in turn with the peer")
        .beside(&name, &theirs, peer.err().as_deref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_loops_choose_as_the_engine_and_see_when_it_does_not() {
        let question = question(100, &mut Draws::new(7, 0));
        let mut receipt = decided(question.clone()).unwrap();
        let chosen = receipt.choice.unwrap().chosen;
        assert_eq!(plainly(&receipt), Some(chosen));
        assert!(receipt.rows.iter().filter(|row| row.refusal.is_some()).count() > 20, "constraints are at work");
        // Without its offer another one is chosen.
        receipt.question.standings[chosen].skills.clear();
        assert_ne!(plainly(&receipt), Some(chosen));
    }

    #[tokio::test]
    async fn every_figure_is_there_and_right() {
        let report = decide().await.unwrap();
        let names: Vec<&str> = report.figures.iter().map(|figure| figure.name.as_str()).collect();
        assert_eq!(names, ["decide_1000", "decisions_per_second_100", "rankings_per_second_1000"]);
        for figure in &report.figures {
            assert!(figure.value.is_some_and(|value| value > 0.0), "{figure:?}");
            assert!(figure.ratio.is_some() || figure.why.as_ref().is_some_and(|why| why.contains("no ratio")));
        }
    }
}
