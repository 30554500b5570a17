//! A contractor whose owner needs the card hands the job back, and somebody else does it.

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tender_base::{
    ContractState,
    documents::{HandbackReason, Message},
};
use tender_node::api::types::{ById, Explanation, JobDetail, Nothing, Overview, SubmitInput, Submitted};
use tender_tests::{
    Game, TestNode, pair,
    work::{self, DOLLAR},
};

/// What the kernel keeps of a program's name.
const SHOWN: usize = 15;
/// How long work is waited for on two loaded cores.
const WAIT: Duration = Duration::from_secs(60);

/// A contractor that plays this game, one that does not and is dearer, and their client. Each test has a game of its own:
/// the guard sees all processes of the machine.
async fn market(game: &str) -> (TestNode, [TestNode; 2]) {
    let buyer = TestNode::buyer().await;
    let sellers = [TestNode::seller().await, TestNode::seller().await];
    for (seller, micro_usd) in sellers.iter().zip([10, 20]) {
        seller.set("price.wgsl.micro_usd", json!(micro_usd)).await;
        seller.set("price.wgsl.per_units", json!(1_000_000)).await;
        pair(seller, &buyer, DOLLAR).await;
    }
    sellers[0].set("guard.programs", json!(game[..SHOWN])).await;
    sellers[0].set("guard.resume_seconds", json!(1)).await;
    (buyer, sellers)
}

/// Takes two cores some four seconds.
fn long_work() -> SubmitInput {
    work::for_peers(work::wgsl(4000, 20_000))
}

/// What the buyer has seen of a contractor, and whether it offers now.
async fn standing(buyer: &TestNode, seller: &TestNode) -> (Value, bool) {
    let rehearsal = SubmitInput { dry_run: Some(true), ..work::for_peers(work::wgsl(2, 50)) };
    let submitted: Submitted = buyer.ask("submit", &rehearsal).await;
    let question = submitted.explanation.unwrap().decision["question"].clone();
    let alternatives = question["situation"]["alternatives"].as_array().unwrap();
    let place = alternatives.iter().position(|it| it["source"]["did"] == json!(seller.did.to_string())).unwrap();
    let offers = alternatives[place]["outcome"]["outcome"] == "offered";
    (question["standings"][place]["history"].clone(), offers)
}

#[tokio::test]
async fn a_game_takes_the_card_and_the_job_is_done_by_the_next() {
    const GAME: &str = "tender-test-doom";
    let (buyer, [first, second]) = market(GAME).await;
    let (unknown, _) = standing(&buyer, &first).await;
    let id = buyer.submit(&long_work()).await;
    first.events().first(|e| e.moved_to("running")).await;
    let game = Game::start(GAME);
    let began = Instant::now();
    let given = first.events().first(|e| e.moved_to("handed_back")).await;
    let heard = buyer.events().first(|e| e.moved_to("handed_back")).await;
    eprintln!("handed back {:?} and heard {:?} after the game began", given.at - began, heard.at - began);
    assert_eq!(given.contract(), heard.contract());
    assert!(given.what["entries"].as_array().unwrap().is_empty(), "a contractor books nothing: {}", given.what);

    let document: Message = serde_json::from_value(heard.what["documents"][0].clone()).unwrap();
    let Message::Handback(handback) = document else { panic!("{document:?}") };
    let said = handback.verify(&first.did).unwrap();
    assert_eq!((said.reason, said.client), (HandbackReason::Game, buyer.did));
    assert!(!heard.what.to_string().contains(&GAME[..SHOWN]), "which program is nobody else's business");

    let detail = buyer.ended(&id).await;
    let JobDetail { summary, .. } = buyer.booked(&id).await;
    assert_eq!(detail.contracts[0].state, ContractState::Accepted, "{detail:#?}");
    let back = detail.contracts.iter().find(|contract| contract.id == given.contract()).unwrap();
    assert_eq!(back.state, ContractState::HandedBack);
    assert_eq!(back.reason.as_deref(), Some("handed back: the owner's game needs the card"));
    let explained: Explanation = buyer.ask("explain", &ById { id: id.clone() }).await;
    assert!(explained.text.contains("Tried with") && explained.text.contains("handed back"), "{}", explained.text);

    // Paid for once, to the one who did it; nothing stays reserved.
    let (owed, earned) = (buyer.earnings().await.owed_by_us_micro_usd, second.earnings().await.owed_to_us_micro_usd);
    assert!(owed > 0 && owed == earned && summary.amount_micro_usd == Some(owed), "{owed} {earned} {summary:#?}");
    let overview: Overview = buyer.ask("overview", &Nothing {}).await;
    assert_eq!(overview.reserved_micro_usd, 0);
    first.owes_and_is_owed_nothing().await;
    // It neither offers while the game runs, nor is anything held against it.
    assert_eq!(standing(&buyer, &first).await, (unknown.clone(), false));

    drop(game);
    let ended = Instant::now();
    while !standing(&buyer, &first).await.1 {
        assert!(ended.elapsed() < WAIT, "selling goes on by itself\n{}", first.said());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    second.sell(false).await;
    let next = buyer.buy(&work::for_peers(work::wgsl(2, 50))).await;
    assert_eq!(first.earnings().await.owed_to_us_micro_usd, next.summary.amount_micro_usd.unwrap());
}

/// Killed with the contract under way and started again while the game runs: it does not begin what it would hand back.
#[tokio::test]
async fn a_node_that_starts_into_a_game_hands_back_what_it_had() {
    const GAME: &str = "tender-test-quake";
    let (buyer, [first, second]) = market(GAME).await;
    drop(second);
    let id = buyer.submit(&long_work()).await;
    first.events().first(|e| e.moved_to("running")).await;
    // The client would give it up when it finds nobody there.
    buyer.signal("STOP");
    let mut first = first;
    first.kill();
    let _game = Game::start(GAME);
    let seen = first.events().count();
    let first = first.restart().await;
    let ended = first.events().after(seen, |e| e.moved_to("handed_back")).await;
    buyer.signal("CONT");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let again = first.events().all().into_iter().filter(|e| e.contract() == ended.contract() && e.seq > ended.seq);
    let moves: Vec<_> = again.filter(|e| e.name() == "contract_moved").collect();
    assert!(moves.is_empty(), "{moves:?}");
    first.owes_and_is_owed_nothing().await;
    let _: Nothing = buyer.ask("cancel_job", &ById { id }).await;
    buyer.owes_and_is_owed_nothing().await;
}
