//! Agents that are no peers are hired by the real node: at a price that was allowed, for a text, and for nothing else.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use std::{net::TcpListener, os::unix::fs::PermissionsExt as _, time::Duration};
use tender_a2a::wire::{TRANSPORT_PROTOCOL_HTTP_JSON as REST, TRANSPORT_PROTOCOL_JSONRPC as RPC, TaskState};
use tender_base::{Code, JobState, text::Generation};
use tender_node::api::types::{
    AddAgentInput, Agents, ByAgent, ById, Doctor, Earnings, Explanation, IssuedKey, JobDetail, JobOutput, KeyInput,
    Nothing, Overview, Peers, SubmitInput,
};
use tender_tests::{
    Behaviour, Foreigner, TestNode,
    sut::{self, Target},
    work::{self, DOLLAR},
};

const QUESTION: &str = "What is the capital of France?";

fn question() -> SubmitInput {
    work::for_anyone(work::generate(QUESTION, 24))
}

fn agent(url: &str, price: i64) -> AddAgentInput {
    AddAgentInput {
        url: url.to_owned(),
        name: Some("writer".to_owned()),
        price_micro_usd: Some(price),
        did: None,
        key: None,
    }
}

async fn add(node: &TestNode, input: &AddAgentInput) -> Agents {
    node.ask("add_agent", input).await
}

async fn done(node: &TestNode, input: &SubmitInput) -> JobDetail {
    let id = node.submit(input).await;
    let detail = node.ended(&id).await;
    assert_eq!(detail.summary.state, Some(JobState::Completed), "{detail:#?}\n{}", node.said());
    detail
}

async fn failed(node: &TestNode, input: &SubmitInput) -> JobDetail {
    let id = node.submit(input).await;
    let detail = node.ended(&id).await;
    assert_eq!(detail.summary.state, Some(JobState::Failed), "{detail:#?}");
    detail
}

async fn text_of(node: &TestNode, detail: &JobDetail) -> String {
    let output: JobOutput = node.ask("output", &ById { id: detail.summary.id.clone() }).await;
    serde_json::from_slice::<Generation>(&BASE64.decode(output.data_base64).unwrap()).unwrap().text
}

/// What was spent, and what is reserved now.
async fn money(node: &TestNode) -> (i64, i64) {
    let earnings: Earnings = node.earnings().await;
    let overview: Overview = node.ask("overview", &Nothing {}).await;
    (earnings.days.iter().map(|day| day.spent_micro_usd).sum(), overview.reserved_micro_usd)
}

#[tokio::test]
async fn an_agent_is_hired_by_either_binding_at_the_price_that_its_owner_entered() {
    let node = TestNode::buyer().await;
    let mut spent = 0;
    for (binding, streaming) in [(RPC, true), (REST, true), (RPC, false), (REST, false)] {
        let foreigner = Foreigner::start(binding, streaming, Behaviour::Writes("It is Paris.".to_owned()));
        let added = add(&node, &agent(&foreigner.address, 2_000)).await;
        let row = &added.agents[0];
        assert!(!row.signed && row.price_of == "owner" && row.price_micro_usd == Some(2_000), "{row:?}");
        assert_eq!(row.about.as_deref(), Some("Writes what it is told."));

        let detail = done(&node, &question()).await;
        spent += 2_000;
        assert_eq!(text_of(&node, &detail).await, "It is Paris.", "{binding} {streaming}");
        assert_eq!(foreigner.heard(), [QUESTION]);
        assert_eq!((money(&node).await, detail.summary.amount_micro_usd), ((spent, 0), Some(2_000)));
        assert_eq!(detail.summary.with.as_deref(), Some("writer"));
        assert!(detail.verification.as_ref().unwrap().contains("not checked"), "{detail:#?}");
        let row = detail.decision.iter().find(|row| row.name == "writer").unwrap();
        assert!(row.chosen && row.why.contains("unsigned") && row.why.contains("you entered its price"), "{row:?}");
        let explained: Explanation = node.ask("explain", &ById { id: detail.summary.id }).await;
        assert!(explained.text.contains(&foreigner.address) && explained.text.contains("bought from writer"));
        let actual = &explained.decision["actual"];
        assert_eq!((&actual["charged"], &actual["by"]["signed"]), (&json!(2_000), &json!(false)), "{actual}");
        let _: Agents = node.ask("remove_agent", &ByAgent { name: "writer".to_owned() }).await;
    }
    // A message alone is an answer, too.
    let foreigner = Foreigner::start(RPC, true, Behaviour::Says("Paris, of course.".to_owned()));
    add(&node, &agent(&foreigner.address, 0)).await;
    let detail = done(&node, &question()).await;
    assert_eq!((text_of(&node, &detail).await.as_str(), money(&node).await), ("Paris, of course.", (spent, 0)));
}

#[tokio::test]
async fn the_conformance_target_can_be_hired_like_any_agent() {
    let node = TestNode::buyer().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(sut::run(listener, Target { capabilities: true, ..Target::default() }));
    add(&node, &agent(&address, 5)).await;
    let detail = done(&node, &question()).await;
    assert_eq!(text_of(&node, &detail).await, "Hello from TCK", "what it says to everything");
    assert_eq!(money(&node).await, (5, 0));
}

#[tokio::test]
async fn another_node_is_hired_as_a_plain_agent_by_an_api_key_and_its_text_is_judged() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    let input = KeyInput { name: "buyer".to_owned(), credit_limit_micro_usd: DOLLAR };
    let issued: IssuedKey = seller.ask("issue_key", &input).await;
    let as_agent = AddAgentInput {
        url: seller.a2a.clone(),
        name: Some("seller".to_owned()),
        price_micro_usd: None,
        did: Some(seller.did.to_string()),
        key: Some(issued.key.clone()),
    };
    for (key, hint) in [(None, "API key"), (Some(format!("{}x", issued.key)), "key")] {
        let refused = buyer.refuses("add_agent", &AddAgentInput { key, ..as_agent.clone() }).await;
        assert!(refused.hint.contains(hint), "{refused:?}");
    }
    let added = add(&buyer, &as_agent).await;
    let row = &added.agents[0];
    assert!(row.signed && row.has_key && row.price_of == "card", "{row:?}");
    let file = buyer.dir().join("agent-seller.key");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!buyer.dir().join("runtime-seller.key").exists());

    // A restart finds the key again.
    let buyer = buyer.restart().await;
    let detail = done(&buyer, &question()).await;
    assert!(text_of(&buyer, &detail).await.contains("Paris"), "{detail:#?}");
    let verification = detail.verification.clone().unwrap();
    assert!(verification.contains("judged") && verification.contains("passed"), "{verification}");
    let paid = detail.summary.amount_micro_usd.unwrap();
    assert_eq!(money(&buyer).await, (paid, 0));
    let peers: Peers = seller.ask("peers", &Nothing {}).await;
    let owed = peers.peers.iter().find(|peer| peer.did == issued.did).unwrap().owes_us_micro_usd;
    assert!(owed > 0 && owed == paid, "{owed} owed, {paid} booked");

    // The seller makes it dearer: what its card said when it was added is what may be spent.
    seller.set("price.generate.micro_usd", json!(50_000)).await;
    let detail = failed(&buyer, &question()).await;
    assert!(detail.summary.reason.contains("was to cost"), "{}", detail.summary.reason);
    assert_eq!(money(&buyer).await, (paid, 0));
    let _: Agents = buyer.ask("remove_agent", &ByAgent { name: "seller".to_owned() }).await;
    assert!(!file.exists());
}

#[tokio::test]
async fn who_fails_asks_for_more_or_asks_back_is_not_paid_and_the_job_says_why() {
    let node = TestNode::buyer().await;
    let foreigner = Foreigner::start(RPC, true, Behaviour::Refuses);
    for (behaviour, reason) in [
        (Behaviour::Fails("I ran out of ink".to_owned()), "I ran out of ink"),
        (Behaviour::Asks(1_001, "never".to_owned()), "was to cost"),
        (Behaviour::Asks(-5, "never".to_owned()), "was to cost"),
        (Behaviour::AsksBack("Which France?".to_owned()), "Which France?"),
        (Behaviour::Writes("  \n".to_owned()), "without a text"),
        (Behaviour::Refuses, "I do not like"),
    ] {
        let before = foreigner.heard().len();
        foreigner.does(behaviour.clone());
        add(&node, &agent(&foreigner.address, 1_000)).await;
        let detail = failed(&node, &question()).await;
        assert!(detail.summary.reason.contains(reason), "{behaviour:?}: {}", detail.summary.reason);
        assert_eq!(money(&node).await, (0, 0), "{behaviour:?}");
        assert_eq!(foreigner.heard().len(), before + 1, "{behaviour:?}: asked once for a job");
        let doctor: Doctor = node.ask("doctor", &Nothing {}).await;
        let line = doctor.checks.iter().find(|check| check.name == "Agent writer").unwrap();
        assert_eq!(line.state, "warning", "{line:?}");
        let _: Agents = node.ask("remove_agent", &ByAgent { name: "writer".to_owned() }).await;
    }
    node.owes_and_is_owed_nothing().await;
    // A price within what was allowed is agreed to, and is what is paid.
    foreigner.does(Behaviour::Asks(700, "Paris.".to_owned()));
    add(&node, &agent(&foreigner.address, 1_000)).await;
    let detail = done(&node, &question()).await;
    assert_eq!((detail.summary.amount_micro_usd, money(&node).await), (Some(700), (700, 0)));
    assert_eq!(foreigner.heard().last().unwrap(), "yes");
}

#[tokio::test]
async fn a_job_that_an_agent_spoils_goes_elsewhere_and_one_that_never_ends_is_told_to_stop() {
    let node = TestNode::start().await;
    let foreigner = Foreigner::start(REST, true, Behaviour::Fails("not today".to_owned()));
    add(&node, &agent(&foreigner.address, 0)).await;
    let detail = done(&node, &question()).await;
    assert_eq!(detail.summary.with.as_deref(), Some("this machine"), "{detail:#?}");
    assert_eq!((foreigner.heard().len(), money(&node).await), (1, (0, 0)));
    let _: Agents = node.ask("remove_agent", &ByAgent { name: "writer".to_owned() }).await;

    node.set("use_own_gpu", json!(false)).await;
    foreigner.does(Behaviour::Dawdles);
    add(&node, &agent(&foreigner.address, 900)).await;
    let detail = failed(&node, &SubmitInput { deadline_seconds: Some(4), ..question() }).await;
    assert!(detail.summary.reason.contains("deadline"), "{}", detail.summary.reason);
    assert_eq!(money(&node).await, (0, 0));
    canceled(&foreigner, 0).await;
}

/// Waits until the newest task but so many is cancelled.
async fn canceled(foreigner: &Foreigner, at: usize) {
    for _ in 0..100 {
        if foreigner.states().await[at] == TaskState::Canceled {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the agent was not told to stop: {:?}", foreigner.states().await);
}

#[tokio::test]
async fn what_is_reserved_is_given_back_by_cancelling_and_the_agent_is_told_to_stop() {
    let node = TestNode::buyer().await;
    let foreigner = Foreigner::start(RPC, true, Behaviour::Dawdles);
    add(&node, &agent(&foreigner.address, 900)).await;
    let id = node.submit(&question()).await;
    reserved(&node, 900).await;
    let _: Nothing = node.ask("cancel_job", &ById { id: id.clone() }).await;
    assert_eq!(money(&node).await, (0, 0));
    canceled(&foreigner, 0).await;

    // The cap counts what is reserved.
    node.set("daily_spend_cap_micro_usd", json!(1_000)).await;
    node.submit(&question()).await;
    reserved(&node, 900).await;
    let over = failed(&node, &question()).await;
    assert!(over.summary.reason.contains("cap"), "{}", over.summary.reason);
}

#[tokio::test]
async fn what_an_agent_wrote_while_the_node_was_down_is_taken_and_not_bought_again() {
    for (behaviour, paid, messages) in [(Behaviour::Dawdles, 900, 1), (Behaviour::AsksAndDawdles(700), 700, 2)] {
        let mut node = TestNode::buyer().await;
        let foreigner = Foreigner::start(RPC, true, behaviour.clone());
        add(&node, &agent(&foreigner.address, 900)).await;
        let id = node.submit(&question()).await;
        working(&foreigner).await;
        node.kill();
        foreigner.finishes("Paris.").await;
        let node = node.restart().await;
        let detail = node.ended(&id).await;
        assert_eq!(detail.summary.state, Some(JobState::Completed), "{behaviour:?}: {detail:#?}");
        assert_eq!(text_of(&node, &detail).await, "Paris.");
        assert_eq!(money(&node).await, (paid, 0), "{behaviour:?}: paid once, and nothing stays reserved");
        assert_eq!(foreigner.heard().len(), messages, "{behaviour:?}: it is not asked again");
    }
}

#[tokio::test]
async fn what_an_agent_gave_up_while_the_node_was_down_is_bought_anew() {
    let mut node = TestNode::buyer().await;
    let foreigner = Foreigner::start(RPC, true, Behaviour::Dawdles);
    add(&node, &agent(&foreigner.address, 900)).await;
    let id = node.submit(&question()).await;
    working(&foreigner).await;
    node.kill();
    foreigner.gives_up().await;
    foreigner.does(Behaviour::Writes("Paris.".to_owned()));
    let node = node.restart().await;
    let detail = node.ended(&id).await;
    assert_eq!(detail.summary.state, Some(JobState::Completed), "{detail:#?}");
    assert_eq!((money(&node).await, foreigner.heard().len()), ((900, 0), 2), "paid once, and nothing stays reserved");
}

/// Waits until the agent works, and a moment more, so that the node has noted it.
async fn working(foreigner: &Foreigner) {
    for _ in 0..400 {
        if foreigner.states().await.contains(&TaskState::Working) {
            tokio::time::sleep(Duration::from_millis(500)).await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the agent was not asked: {:?}", foreigner.heard());
}

async fn reserved(node: &TestNode, amount: i64) {
    for _ in 0..400 {
        if money(node).await.1 == amount {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{amount} are not reserved: {:?}", money(node).await);
}

#[tokio::test]
async fn nothing_private_or_too_dear_goes_to_an_agent() {
    let node = TestNode::buyer().await;
    let foreigner = Foreigner::start(RPC, true, Behaviour::Writes("x".to_owned()));
    add(&node, &agent(&foreigner.address, 1_000)).await;
    let private = failed(&node, &SubmitInput { private: Some(true), ..question() }).await;
    assert!(private.summary.reason.contains("private"), "{}", private.summary.reason);
    let dear = failed(&node, &SubmitInput { budget_micro_usd: 999, ..question() }).await;
    assert!(dear.summary.reason.contains("budget"), "{}", dear.summary.reason);
    failed(&node, &SubmitInput { peers_only: Some(true), ..question() }).await;
    assert!(foreigner.heard().is_empty());
    node.owes_and_is_owed_nothing().await;
}

// The command line blocks this thread while the agent answers on another.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_added_says_why_and_the_command_line_shows_what_was() {
    let node = TestNode::start().await;
    let foreigner = Foreigner::start(RPC, true, Behaviour::Refuses);
    let refused = async |change: &dyn Fn(&mut AddAgentInput)| {
        let mut input = agent(&foreigner.address, 1);
        change(&mut input);
        node.refuses("add_agent", &input).await
    };
    assert!(refused(&|i| i.name = Some("../x".to_owned())).await.message.contains("name"));
    assert!(refused(&|i| i.price_micro_usd = Some(-1)).await.message.contains("price_micro_usd"));
    assert!(refused(&|i| i.price_micro_usd = None).await.message.contains("no price"));
    assert!(refused(&|i| i.did = Some("did:web:x".to_owned())).await.message.contains("did"));
    assert_eq!(refused(&|i| i.did = Some(node.did.to_string())).await.code, Code::Forged);
    assert_eq!(refused(&|i| i.url = "http://192.0.2.7".to_owned()).await.code, Code::Invalid);
    assert_eq!(refused(&|i| i.url = "http://127.0.0.1:1".to_owned()).await.code, Code::Unavailable);
    assert!(refused(&|i| i.key = Some(" ".to_owned())).await.message.contains("key"));
    let none: Agents = node.ask("agents", &Nothing {}).await;
    assert!(none.agents.is_empty());

    let cli = node.cli();
    let added: Value = cli.json(&["agents", "add", &foreigner.address, "--price", "0.002"]);
    assert_eq!(added["agents"][0]["name"], "foreign-writer", "by its own name: {added}");
    let listed = cli.run(&["agents", "list"]).out;
    assert!(listed.contains("unsigned") && listed.contains("$0.002 per text at most, as you entered"), "{listed}");
    assert!(cli.fails(&["agents", "add", &foreigner.address, "--price", "0.002"]).contains("already"));
    let left: Value = cli.json(&["agents", "remove", "foreign-writer"]);
    assert_eq!(left["agents"], json!([]));
    assert!(cli.run(&["agents"]).out.contains("No agent"));
}
