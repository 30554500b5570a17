//! What a buyer's node does with contractors that lie.

use crate::swindler::{Lie, Site};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use tender_base::{ContractState, JobState};
use tender_node::api::types::{AddPeerInput, Nothing, Peer, Peers, SubmitWork};
use tender_tests::{TestNode, work};

async fn paired_with(site: &Site) -> TestNode {
    let buyer = TestNode::buyer().await;
    let input = AddPeerInput { link: site.link(), credit_limit_micro_usd: None };
    let _: Peer = buyer.ask("add_peer", &input).await;
    buyer
}

/// What holds for every lie also holds for the server that tells them: its honest delivery is taken.
#[tokio::test]
async fn an_honest_delivery_of_a_foreign_server_is_taken() {
    let site = Site::open(66).await;
    let buyer = paired_with(&site).await;
    let detail = buyer.buy(&work::for_peers(work::gemm(64))).await;
    assert_eq!(detail.contracts[0].state, ContractState::Accepted, "{detail:#?}");
    assert_eq!(buyer.earnings().await.owed_by_us_micro_usd, 525);
}

#[tokio::test]
async fn forged_proposals_are_not_awarded() {
    let site = Site::open(66).await;
    let buyer = paired_with(&site).await;
    for (lie, named) in [
        // First, so that there is an honest one to replay.
        (Lie::ProposalAltered, "signature"),
        (Lie::ProposalReplayed, "contract"),
        (Lie::ProposalOfAnother, "signed by"),
        (Lie::ProposalExpired, "valid_until"),
        (Lie::AmountWrong, "amount"),
        (Lie::UnitsWrong, "units"),
        (Lie::AnotherDocument, "something else"),
    ] {
        site.lie(lie);
        let detail = buyer.ended(&buyer.submit(&work::for_peers(work::gemm(64))).await).await;
        assert_eq!(detail.summary.state, Some(JobState::Failed), "{lie:?}: {detail:#?}");
        let problem = detail.problem.unwrap();
        let why: Vec<&str> = detail.decision.iter().map(|row| row.why.as_str()).collect();
        assert!(why.iter().any(|why| why.contains(named)), "{lie:?}: {named:?} is not in {why:?}");
        assert!(!problem.hint.is_empty(), "{lie:?}: {problem:?}");
        assert!(buyer.events().all().iter().all(|e| !e.moved_to("awarded")), "{lie:?}");
    }
    buyer.owes_and_is_owed_nothing().await;
}

#[tokio::test]
async fn false_deliveries_are_not_paid() {
    for (lie, named) in [
        (Lie::OutputWrong, "Freivalds"),
        (Lie::OutputNan, ""),
        (Lie::OutputOfAnother, "output"),
        (Lie::BillsMore, "amount"),
        (Lie::DeliveryReplayed, "award"),
    ] {
        let site = Site::open(66).await;
        let buyer = paired_with(&site).await;
        site.lie(lie);
        let detail = buyer.ended(&buyer.submit(&work::for_peers(work::gemm(64))).await).await;
        assert_eq!(detail.summary.state, Some(JobState::Failed), "{lie:?}: {detail:#?}");
        let said = format!("{:?} {:?}", detail.problem, detail.verification);
        assert!(said.contains(named), "{lie:?}: {named:?} is not in {said}");
        assert!(buyer.events().all().iter().all(|e| !e.moved_to("accepted")), "{lie:?}");
        let earnings = buyer.earnings().await;
        assert_eq!((earnings.owed_by_us_micro_usd, earnings.paid_by_us_micro_usd), (0, 0), "{lie:?}");
    }
}

#[tokio::test]
async fn a_false_row_of_a_built_in_kernel_is_not_paid() {
    let site = Site::open(66).await;
    let buyer = paired_with(&site).await;
    site.lie(Lie::OutputWrong);
    // One row and its gain: what the swindler delivers has the right length, but is not normalised.
    let input: Vec<u8> = (0..128).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let submitted =
        SubmitWork::Kernel { name: "rms_norm".to_owned(), rows: 1, columns: 64, input_base64: BASE64.encode(input) };
    let detail = buyer.ended(&buyer.submit(&work::for_peers(submitted)).await).await;
    assert_eq!(detail.summary.state, Some(JobState::Failed), "{detail:#?}");
    let said = format!("{:?} {:?}", detail.problem, detail.verification);
    assert!(said.contains("agree"), "{said}");
    assert!(buyer.events().all().iter().all(|e| !e.moved_to("accepted")));
    let earnings = buyer.earnings().await;
    assert_eq!((earnings.owed_by_us_micro_usd, earnings.paid_by_us_micro_usd), (0, 0));
}

/// The card must be signed by the key in the link: nothing is sent to who cannot show that.
#[tokio::test]
async fn a_card_whose_signature_does_not_match_ends_the_pairing() {
    let site = Site::open(67).await;
    let buyer = TestNode::buyer().await;
    let input = AddPeerInput { link: site.link(), credit_limit_micro_usd: None };
    let refused = buyer.refuses("add_peer", &input).await;
    assert_eq!(refused.code, tender_base::Code::Forged, "{refused}");
    assert!(refused.message.contains("not signed by") && !refused.hint.is_empty(), "{refused}");
    assert!(buyer.ask::<_, Peers>("peers", &Nothing {}).await.peers.is_empty());

    // The same for a card that was changed after it was signed, checked offline.
    let card = reqwest::Client::builder().no_proxy().build().unwrap();
    let bytes =
        card.get(format!("{}/.well-known/agent-card.json", buyer.a2a)).send().await.unwrap().text().await.unwrap();
    let file = buyer.dir().join("card.json");
    for (changed, valid) in [(bytes.clone(), true), (bytes.replacen("http://127", "http://128", 1), false)] {
        std::fs::write(&file, changed).unwrap();
        let said = buyer.cli().run(&["verify", file.to_str().unwrap()]);
        assert_eq!(said.ok, valid, "{said:?}");
        assert!(valid || said.err.contains("not signed by"), "{said:?}");
    }
}
