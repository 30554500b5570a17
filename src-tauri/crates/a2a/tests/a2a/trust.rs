//! Who is believed: tokens, cards, TLS keys.

use crate::{
    http::plain_client,
    site::{At, Site, call, client_key, contractor_key, now, signed_card},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tender_a2a::{
    Client, Identity, Limits, bearer, card,
    tls::{ServerTls, generate_key},
};
use tender_base::{
    Clock, Code, Did, Problem, Sha256, Signer, documents::Message, signed::KeySigner, time::SystemClock,
};

async fn connect(site: &Site, did: Did) -> Result<Client, Problem> {
    Client::connect(&site.url, did, Arc::new(client_key()), Arc::new(SystemClock)).await
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_none_is_anonymous() {
    let site = Site::start().await;
    let request = json!({"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x"}]}});
    let post = |token: Option<String>| {
        let request = plain_client()
            .post(format!("{}/message:send", site.url))
            .header("A2A-Version", "1.0")
            .header("Content-Type", "application/json")
            .body(request.to_string());
        match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    };
    let (me, agent) = (client_key(), contractor_key().did());
    let hour_ago = SystemClock.now().millis() - 3_600_000;
    let expired = bearer(&me, &agent, &At(tender_base::Timestamp::from_millis(hour_ago)));
    let elsewhere = bearer(&me, &me.did(), &SystemClock);
    let mut forged = bearer(&me, &agent, &SystemClock).into_bytes();
    let middle = forged.len() - 40;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    for token in [expired, elsewhere, String::from_utf8(forged).unwrap(), "x".into()] {
        let response = post(Some(token)).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 401);
        assert!(response.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer "));
        let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        assert_eq!(body["error"]["status"], "UNAUTHENTICATED");
        assert!(!body["error"]["details"][0]["metadata"]["hint"].as_str().unwrap().is_empty());
    }
    assert!(site.asked().is_empty());
    assert!(post(None).send().await.unwrap().status().is_success());
    assert!(post(Some(bearer(&me, &agent, &SystemClock))).send().await.unwrap().status().is_success());
    let seen: Vec<_> = site.agent.seen.lock().unwrap().iter().map(|(call, _)| call.identity.clone()).collect();
    assert_eq!(seen, [Identity::Anonymous, Identity::Peer(me.did())]);
}

#[tokio::test]
async fn a_card_of_another_key_is_forged() {
    let site = Site::start().await;
    connect(&site, contractor_key().did()).await.unwrap();
    let stranger = KeySigner::from_seed(&[9; 32]).did();
    assert_eq!(connect(&site, stranger).await.unwrap_err().code, Code::Forged);

    let mut changed = signed_card(format!("{}/", site.url), None);
    changed.name = "another".into();
    site.source.publish(&changed, now()).unwrap();
    assert_eq!(connect(&site, contractor_key().did()).await.unwrap_err().code, Code::Forged);
}

#[tokio::test]
async fn the_connection_is_held_to_the_key_on_the_card() {
    let tls = || ServerTls::from_key(&generate_key().unwrap()).unwrap();
    let site = Site::with(Limits::default(), Some(tls()), None).await;
    let client = connect(&site, contractor_key().did()).await.unwrap();
    assert!(matches!(client.exchange(Message::Call(call())).await.unwrap(), Message::Proposal(_)));

    // Somebody who relays a true card over a connection of their own.
    let between = Site::with(Limits::default(), Some(tls()), Some(Sha256::of(b"the true key"))).await;
    let problem = connect(&between, contractor_key().did()).await.unwrap_err();
    assert_eq!(problem.code, Code::Forged);
    assert!(problem.message.contains("TLS key"), "{problem}");
}

#[tokio::test]
async fn a_key_that_changes_under_a_client_is_refused() {
    let first = ServerTls::from_key(&generate_key().unwrap()).unwrap();
    let site = Site::with(Limits::default(), Some(first), None).await;
    let relay = crate::client::Relay::start(site.address).await;
    let address = format!("https://{}", relay.address);
    let client = Client::connect(&address, contractor_key().did(), Arc::new(client_key()), Arc::new(SystemClock));
    let client = client.await.unwrap();

    let other = ServerTls::from_key(&generate_key().unwrap()).unwrap();
    let other = Site::with(Limits::default(), Some(other), None).await;
    relay.turn_to(other.address);
    let problem = client.exchange(Message::Call(call())).await.unwrap_err();
    assert_eq!(problem.code, Code::Forged, "{problem}");
    assert!(other.asked().is_empty(), "no token reached the other server");
}

#[tokio::test]
async fn an_open_address_without_tls_is_not_served() {
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let served = tender_a2a::serve(listener, None, axum::Router::new(), Limits::default(), std::future::pending());
    let problem = tokio::time::timeout(Duration::from_secs(2), served).await.unwrap().unwrap_err();
    assert_eq!(problem.code, Code::Forbidden);
}

#[tokio::test]
async fn the_card_is_read_again_only_when_it_changed() {
    let site = Site::start().await;
    let client = connect(&site, contractor_key().did()).await.unwrap();
    let before = client.card();
    assert!(Arc::ptr_eq(&client.refresh_card().await.unwrap(), &before), "304");
    let mut facts = crate::site::facts(format!("{}/", site.url), None);
    facts.skills.clear();
    let mut card = card::build(&facts);
    card::sign(&mut card, &contractor_key()).unwrap();
    site.source.publish(&card, now()).unwrap();
    let after = client.refresh_card().await.unwrap();
    assert_eq!(card::Terms::of(&after).unwrap().unwrap().prices, []);
    assert_eq!(after.skills[0].id, "pair");
}
