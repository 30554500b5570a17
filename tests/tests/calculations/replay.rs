//! `tender replay`.

use crate::{desk, file};
use serde_json::{Value, json};
use std::time::Duration;
use tender_base::{
    BlobRef, Book, JobSpec, MicroUsd, Sha256, Signer, Timestamp, Work,
    job::{Constraints, Precision, Privacy},
    signed::KeySigner,
};
use tender_market::{
    choice::Rules,
    compatibility,
    decision::{Actual, Alternative, Outcome, Situation, Source},
    explore::Policy,
    receipt::{Needs, Question, Receipt, Standing, decide},
    reliability::{OWN_PRIOR, PEER_PRIOR, Reliability},
};

/// The own card at 700 micro-USD and two peers that are cheaper by far, decided and carried out.
fn receipt(policy: Policy, charged: i64) -> Receipt {
    let now = Timestamp::from_millis(1_795_248_000_000);
    let alternative = |i: u8, cost: i64| Alternative {
        source: match i {
            0 => Source::Local,
            _ => Source::Peer { did: KeySigner::from_seed(&[i; 32]).did(), name: format!("peer {i}") },
        },
        outcome: Outcome::Offered {
            cost: MicroUsd(cost),
            checking: MicroUsd::ZERO,
            cost_measured: true,
            estimated_ms: 5_000,
            contract: None,
        },
    };
    let standing = |prior: Reliability, successes: f64| Standing {
        skills: ["gemm".to_owned()].into(),
        cosine: None,
        memory_bytes: None,
        region: None,
        history: Reliability { successes, failures: 0.0 },
        prior,
        security_risk: 0.0,
        loss_usd: 0.000_01,
    };
    let question = Question {
        situation: Situation {
            job: JobSpec {
                work: Work::Gemm { m: 8, k: 8, n: 8, precision: Precision::F32 },
                input: BlobRef { sha256: Sha256::of(b"in"), bytes: 512 },
                constraints: Constraints {
                    budget: MicroUsd(1_000),
                    deadline: now.after(Duration::from_secs(60)),
                    privacy: Privacy::Peers,
                },
            },
            book: Book::Real,
            decided_at: now,
            spend_left: None,
            rule: None,
            alternatives: vec![alternative(0, 700), alternative(1, 300), alternative(2, 330)],
        },
        needs: Needs { skills: ["gemm".to_owned()].into(), ..Needs::default() },
        standings: vec![standing(OWN_PRIOR, 0.0), standing(PEER_PRIOR, 30.0), standing(PEER_PRIOR, 30.0)],
        rules: Rules::default(),
        threshold: compatibility::THRESHOLD,
        policy,
        seed: 1,
    };
    let mut receipt = decide(question).unwrap();
    receipt.actual = Some(Actual { charged: MicroUsd(charged), wall_ms: 4_000, contract: None, by: None });
    receipt
}

fn written(receipt: &Receipt) -> Value {
    serde_json::to_value(receipt).unwrap()
}

#[test]
fn the_same_policy_gives_the_same_bits_and_another_its_own_answer() {
    let (folder, cli) = desk();
    let greedy = receipt(Policy::Greedy, 290);
    // As `tender explain JOB --json` prints it, and the receipt alone.
    let explained = json!({"text": "why", "decision": written(&greedy)}).to_string();
    for text in [explained, written(&greedy).to_string()] {
        let said = cli.json(&["replay", &file(&folder, "receipt.json", &text)]);
        let one = &said["receipts"][0];
        assert_eq!((&one["same_bits"], &one["chosen"]), (&json!(true), &json!("peer 1")), "{said}");
        assert_eq!((&one["instead"], &said["recorded"]), (&Value::Null, &Value::Null));
    }

    let one = file(&folder, "one.json", &written(&greedy).to_string());
    let other = cli.json(&["replay", &one, "--policy", "epsilon=1"]);
    let instead = &other["receipts"][0]["instead"];
    assert_eq!((&instead["chosen"], &instead["same"]), (&json!("peer 2"), &json!(false)), "{other}");
    // Decided again from the answer, that answer.
    let again = cli.json(&["replay", &file(&folder, "instead.json", &instead["receipt"].to_string())]);
    assert_eq!((&again["receipts"][0]["same_bits"], &again["receipts"][0]["chosen"]), (&json!(true), &json!("peer 2")));
    let text = cli.run(&["replay", &one, "--policy", "epsilon=1"]).out;
    assert!(text.contains("bit for bit") && text.contains("takes peer 2 instead of peer 1"), "{text}");

    // Several: what the other policy comes to on jobs that were done.
    let two = file(&folder, "two.json", &written(&receipt(Policy::Epsilon(1.0), 340)).to_string());
    let recorded = &cli.json(&["replay", &one, &two, "--policy", "greedy"])["recorded"];
    assert_eq!(
        (&recorded["jobs"], &recorded["same"], &recorded["observed_usd"]),
        (&json!(2), &json!(1), &json!(0.000_29))
    );
    assert!((recorded["charged_usd"].as_f64().unwrap() - 0.000_63).abs() < 1e-12, "{recorded}");
}

#[test]
fn what_was_altered_or_is_no_receipt_is_refused() {
    let (folder, cli) = desk();
    let good = written(&receipt(Policy::Greedy, 290));
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut receipt = good.clone();
        change(&mut receipt);
        let said = cli.run(&["replay", &file(&folder, "receipt.json", &receipt.to_string())]);
        assert!(!said.ok, "{}", said.out);
        said.err
    };
    let altered = refused(&|receipt| receipt["choice"]["chosen"] = json!(2));
    assert!(altered.contains("altered"), "{altered}");
    // The last bit of a figure.
    let expected = good["rows"][1]["verdict"]["expected_usd"].as_f64().unwrap();
    let altered = refused(&|receipt| receipt["rows"][1]["verdict"]["expected_usd"] = json!(expected.next_up()));
    assert!(altered.contains("altered"), "{altered}");
    let older = refused(&|receipt| receipt["engine"] = json!("tender-engine/0"));
    assert!(older.contains("tender-engine/0"), "{older}");
    let field = refused(&|receipt| receipt["question"]["rules"]["margin"] = json!("much"));
    assert!(field.contains("question.rules.margin"), "{field}");
    assert!(cli.fails(&["replay", "no-such-file"]).contains("no-such-file"));
    let good = file(&folder, "good.json", &good.to_string());
    assert!(cli.fails(&["replay", &good, "--policy", "oracle"]).contains("oracle"));
    assert!(cli.fails(&["replay", &good, "--policy", "ucb1=-1"]).contains("ucb1"));
}
