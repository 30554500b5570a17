//! The worker once a language model is loaded: texts written together, claims that are true and claims that lie.

use crate::{frames::Worker, inspect::smollm2};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};
use tender_base::{
    Code,
    catalogue::SMOLLM2,
    frames::{Reply, Request, TextLimits},
    job::{GenerateWork, Sampling},
    text::{Finish, Generation, Prompt},
};

const LIMITS: TextLimits = TextLimits { context_tokens: 512, sequences: 4, cache_bytes: 48 << 20 };

/// A worker with SmolLM2 loaded.
fn loaded() -> Worker {
    let mut worker = Worker::spawn(|command| {
        command.arg("--read").arg(smollm2());
    });
    let load = Request::Load {
        model_path: smollm2().to_str().unwrap().to_owned(),
        model_sha256: SMOLLM2.weights().sha256,
        limits: LIMITS,
    };
    let (loaded, _) = worker.ask(&load, &[]);
    assert!(matches!(loaded, Reply::Loaded { limits } if limits.sequences == 4), "{loaded:?}");
    worker
}

/// A question and the work of answering it, its prompt counted by a worker without a model.
fn question(text: &str, max_tokens: u32) -> (GenerateWork, Vec<u8>) {
    let prompt = serde_json::to_vec(&Prompt::of_user(text.to_owned())).unwrap();
    let mut counter = Worker::spawn(|command| {
        command.arg("--read").arg(smollm2());
    });
    let count = Request::CountPrompt { model_path: smollm2().to_str().unwrap().to_owned() };
    let Reply::Counted { tokens } = counter.ask(&count, &prompt).0 else { panic!("not counted") };
    let work = GenerateWork {
        model: SMOLLM2.to_ref(),
        prompt_tokens: tokens[0],
        max_tokens,
        sampling: Sampling::GREEDY,
        stop: Vec::new(),
    };
    (work, prompt)
}

/// Margins as they come.
fn numbers(margins: &[u8]) -> Vec<f32> {
    margins.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// Everything that comes until `count` texts have ended: what was streamed, and what they came to.
fn collect(worker: &mut Worker, count: usize) -> BTreeMap<u64, (String, Generation, u64)> {
    let mut streamed: BTreeMap<u64, String> = BTreeMap::new();
    let mut ended = BTreeMap::new();
    while ended.len() < count {
        match worker.answer() {
            (Reply::Text { id, .. }, piece) => {
                streamed.entry(id).or_default().push_str(std::str::from_utf8(&piece).unwrap());
            }
            (Reply::Generated { id, units, .. }, content) => {
                let text = streamed.remove(&id).unwrap_or_default();
                ended.insert(id, (text, serde_json::from_slice(&content).unwrap(), units));
            }
            (other, _) => panic!("{other:?}"),
        }
    }
    ended
}

#[test]
fn texts_are_written_together_and_what_is_asked_wrongly_ends_alone() {
    let mut worker = loaded();
    let (paris, prompt) = question("What is the capital of France?", 24);
    let (colours, other) = question("Name three colours.", 12);
    let stopping = GenerateWork { stop: vec![" of".into()], ..paris.clone() };
    worker.send(&Request::Generate { id: 1, work: paris.clone() }, &prompt);
    worker.send(&Request::Generate { id: 2, work: colours.clone() }, &other);
    worker.send(&Request::Generate { id: 3, work: stopping }, &prompt);
    // Given up at once: nothing of it is heard.
    worker.send(&Request::Generate { id: 4, work: colours }, &other);
    worker.send(&Request::Cancel { id: 4 }, &[]);
    let texts = collect(&mut worker, 3);
    let (streamed, whole, units) = &texts[&1];
    assert!(whole.text.contains("Paris") && whole.finish == Finish::Stop, "{whole:?}");
    assert!(whole.text.starts_with(streamed.as_str()), "{streamed:?} of {whole:?}");
    assert_eq!(*units, u64::from(paris.prompt_tokens) + whole.tokens.as_ref().unwrap().len() as u64);
    assert_eq!((texts[&2].1.finish, texts[&2].1.tokens.as_ref().unwrap().len()), (Finish::Length, 12));
    assert_eq!((texts[&3].1.text.as_str(), texts[&3].1.finish), ("The capital", Finish::Stop));

    let refused = |worker: &mut Worker, work: GenerateWork, prompt: &[u8]| match worker
        .ask(&Request::Generate { id: 9, work }, prompt)
        .0
    {
        Reply::Refused { id: 9, problem } => problem,
        other => panic!("{other:?}"),
    };
    let miscounted = GenerateWork { prompt_tokens: 5, ..paris.clone() };
    assert!(refused(&mut worker, miscounted, &prompt).message.contains("not the declared 5"));
    let long = GenerateWork { max_tokens: 5000, ..paris.clone() };
    assert!(refused(&mut worker, long, &prompt).message.contains("context holds 512"));
    assert_eq!(refused(&mut worker, paris.clone(), b"no JSON").code, Code::Invalid);
    assert_eq!(worker.problem(&Request::Open, &[]).code, Code::Invalid, "it serves text only");
    // The next is unharmed.
    worker.send(&Request::Generate { id: 10, work: paris }, &prompt);
    assert_eq!(collect(&mut worker, 1)[&10].1, texts[&1].1);
}

#[test]
fn a_claim_is_judged_beside_the_texts_that_are_written() {
    let mut worker = loaded();
    let (work, prompt) = question("Write a long story about a small town.", 120);
    worker.send(&Request::Generate { id: 1, work: work.clone() }, &prompt);
    let long = collect(&mut worker, 1).remove(&1).unwrap().1;
    assert!(long.tokens.as_ref().unwrap().len() > 60, "{long:?}");
    let (other, question) = question("Write a long story about a ship.", 400);
    worker.send(&Request::Generate { id: 2, work: other }, &question);
    while !matches!(worker.answer().0, Reply::Text { id: 2, tokens } if tokens > 0) {}
    let claim = [&prompt[..], &serde_json::to_vec(&long).unwrap()].concat();
    let score = |id| Request::Score { id, work: work.clone(), prompt_bytes: u32::try_from(prompt.len()).unwrap() };
    worker.send(&score(3), &claim);
    // Nothing more is heard of one that is given up.
    worker.send(&score(4), &claim);
    worker.send(&Request::Cancel { id: 4 }, &[]);
    // The worker shows that it lives, and the other text goes on meanwhile.
    let mut signs = 0;
    loop {
        match worker.answer() {
            (Reply::Text { id: 3, tokens: 0 }, _) => signs += 1,
            (Reply::Text { id: 2, .. }, _) => {}
            (Reply::Scored { id: 3, fault: None }, margins) => {
                let margins = numbers(&margins);
                assert_eq!(margins.len(), long.tokens.as_ref().unwrap().len());
                assert!(margins.iter().all(|m| (0.0..0.02).contains(m)), "{margins:?}");
                break;
            }
            (other, _) => panic!("{other:?}"),
        }
    }
    assert!(signs >= 1, "{signs}");
    assert!(matches!(worker.answer().0, Reply::Text { id: 2, .. } | Reply::Generated { id: 2, .. }));
}

#[test]
fn who_waits_for_room_hears_nothing_and_is_not_billed_for_it() {
    let mut worker = loaded();
    let (work, prompt) = question("Write a long story about a small town.", 460);
    // 48 MiB hold 2,184 tokens: four texts of this length, and a fifth has no slot.
    for id in 1..=4 {
        worker.send(&Request::Generate { id, work: work.clone() }, &prompt);
    }
    worker.send(&Request::Generate { id: 5, work: GenerateWork { max_tokens: 20, ..work } }, &prompt);
    let begun = Instant::now();
    let mut admitted = BTreeSet::new();
    loop {
        match worker.answer().0 {
            Reply::Text { id: 1, tokens } if tokens >= 60 => break,
            Reply::Text { id, .. } => _ = admitted.insert(id),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(admitted.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
    (1..=4).for_each(|id| worker.send(&Request::Cancel { id }, &[]));
    let (mut room, waited) = (None, begun.elapsed());
    let wall_ms = loop {
        match worker.answer().0 {
            // The first that is heard of it says that it begins.
            Reply::Text { id: 5, tokens } if room.is_none() => {
                assert_eq!(tokens, 0);
                room = Some(Instant::now());
            }
            Reply::Generated { id: 5, wall_ms, .. } => break wall_ms,
            Reply::Text { .. } | Reply::Generated { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    let worked = room.unwrap().elapsed();
    assert!(u128::from(wall_ms) < (worked + waited / 2).as_millis(), "{wall_ms} ms after {waited:?}, then {worked:?}");
}

#[test]
fn an_honest_claim_has_no_margin_and_every_lie_is_found() {
    let mut worker = loaded();
    let (work, prompt) = question("What is the capital of France?", 24);
    worker.send(&Request::Generate { id: 1, work: work.clone() }, &prompt);
    let honest = collect(&mut worker, 1).remove(&1).unwrap().1;
    let tokens = honest.tokens.clone().unwrap();
    let mut next = 10;
    let mut judge = |claim: &[u8]| {
        next += 1;
        let prompt_bytes = u32::try_from(prompt.len()).unwrap();
        let request = Request::Score { id: next, work: work.clone(), prompt_bytes };
        worker.send(&request, &[&prompt[..], claim].concat());
        loop {
            match worker.answer() {
                (Reply::Text { id, tokens: 0 }, piece) if id == next && piece.is_empty() => {}
                (Reply::Scored { fault, .. }, margins) => return (fault, numbers(&margins)),
                (other, _) => panic!("{other:?}"),
            }
        }
    };
    let claim = |generation: &Generation| serde_json::to_vec(generation).unwrap();
    let (fault, margins) = judge(&claim(&honest));
    assert_eq!((fault, margins.len()), (None, tokens.len()));
    assert!(margins.iter().all(|m| (0.0..0.02).contains(m)), "{margins:?}");

    let with = |change: &dyn Fn(&mut Generation)| {
        let mut lie = honest.clone();
        change(&mut lie);
        claim(&lie)
    };
    let lies: [(Vec<u8>, &str); 9] = [
        (b"[]".to_vec(), "no text with tokens"),
        (with(&|g| g.tokens = None), "tokens are missing"),
        (with(&|g| g.tokens = Some(Vec::new())), "0 tokens"),
        (with(&|g| g.tokens = Some(vec![7; 25])), "25 tokens"),
        (with(&|g| g.tokens = Some(vec![u32::MAX])), "no token 4294967295"),
        (with(&|g| g.text.push('!')), "not what the tokens say"),
        (with(&|g| g.finish = Finish::Length), "said to have been cut off"),
        (with(&|g| g.tokens.as_mut().unwrap().truncate(3)), "no token ends it"),
        (with(&|g| g.tokens.as_mut().unwrap().push(tokens[0])), "are delivered"),
    ];
    for (lie, named) in lies {
        let (fault, margins) = judge(&lie);
        assert!(fault.as_ref().is_some_and(|f| f.contains(named)) && margins.is_empty(), "{named}: {fault:?}");
    }
    // Cut off, and said so, though more was asked for.
    let short = with(&|g| {
        g.tokens.as_mut().unwrap().truncate(1);
        "The".clone_into(&mut g.text);
        g.finish = Finish::Length;
    });
    assert!(judge(&short).0.unwrap().contains("cut off after 1 of 24"));

    // Consistent with itself, but the model would not have ended here.
    let last = tokens[tokens.len() - 1];
    let early = claim(&Generation { text: "The".into(), tokens: Some(vec![tokens[0], last]), finish: Finish::Stop });
    let (fault, margins) = judge(&early);
    assert_eq!(fault, None);
    assert!(margins[0] < 0.02 && margins[1] > 2.0, "{margins:?}");
}
