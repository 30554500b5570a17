//! What is on the wire, so that a change of it is seen.

use crate::site::{At, award, client_key, contractor_key, delivery, handback, now, signed_card};
use serde::Serialize;
use tender_a2a::{bearer, contract, wire::TaskState};
use tender_base::{Sha256, Signer, documents::Message, signed::canonical};

fn pretty<T: Serialize>(value: &T) -> String {
    let sorted: serde_json::Value = serde_json::from_slice(&canonical(value)).unwrap();
    serde_json::to_string_pretty(&sorted).unwrap()
}

#[test]
fn card() {
    let card = signed_card("https://192.0.2.7:7420/".into(), Some(Sha256::of(b"key")));
    insta::assert_snapshot!(pretty(&card));
}

#[test]
fn award_message() {
    insta::assert_snapshot!(pretty(&contract::wrap_award(&Message::Award(award()), b"input".to_vec())));
}

#[test]
fn delivered_task() {
    insta::assert_snapshot!(pretty(&contract::delivered(&delivery(b"output"), b"output".to_vec())));
}

#[test]
fn handed_back_task() {
    let document = Message::Handback(handback(&contractor_key()));
    let status = contract::status(TaskState::Failed, Some(&document), now());
    insta::assert_snapshot!(pretty(&contract::task(crate::site::contract(), status, None, None)));
}

#[test]
fn access_token() {
    insta::assert_snapshot!(bearer(&client_key(), &contractor_key().did(), &At(now())));
}
