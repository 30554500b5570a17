//! New keys in the place of old ones.

use crate::documents::{Trade, at, client, contractor, paid, payment};
use tender_base::{Code, Did, MicroUsd, Role, Signer, signed::KeySigner};
use tender_store::{ContractFilter, Event, PeerRecord, Store};
use uuid::Uuid;

fn paired(did: Did, name: &str) -> Event {
    let (name, address) = (name.to_owned(), Some("https://ada.example:7410".to_owned()));
    let peer =
        PeerRecord { did, name, address, credit_limit: MicroUsd(9), paired_at: at(1), removed: false, by_key: false };
    Event::PeerPaired { peer }
}

#[tokio::test]
async fn a_peer_moves_with_what_is_known_of_it_once_nothing_is_open_or_owed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    let (old, new, other) = (client().did(), KeySigner::from_seed(&[77; 32]).did(), contractor().did());
    let moves = |from, to| Event::PeerSucceeded { from, to, at: at(9) };
    let refused = async |event: Event| store.apply(vec![event], vec![]).await.unwrap_err().problem().code;
    assert_eq!(refused(moves(old, new)).await, Code::Conflict, "nobody's");
    store.apply(vec![paired(old, "ada"), paired(other, "bob")], vec![]).await.unwrap();
    assert_eq!(refused(moves(old, other)).await, Code::Conflict, "to one that is a peer already");

    let trade = Trade::new(Role::Contractor, None, 100);
    store.apply(vec![trade.opened()], vec![]).await.unwrap();
    assert_eq!(refused(moves(old, new)).await, Code::Conflict, "an offer is open");
    store.apply(trade.until_accepted().split_off(1), vec![]).await.unwrap();
    assert_eq!(refused(moves(old, new)).await, Code::Conflict, "it is owed");
    let own = Event::IdentitySucceeded { from: other, to: new, at: at(9) };
    let created = Event::IdentityCreated { did: other, data_id: Uuid::from_u128(9) };
    store.apply(vec![created], vec![]).await.unwrap();
    assert_eq!(refused(own.clone()).await, Code::Conflict, "somebody owes the old key");

    let (payment, confirmation) = payment(&[&trade], MicroUsd(100));
    store.apply(vec![paid(Role::Contractor, &payment, Some(&confirmation))], vec![]).await.unwrap();
    store.apply(vec![moves(old, new)], vec![]).await.unwrap();
    let moved = store.peer(&new).await.unwrap().unwrap();
    assert_eq!((moved.name.as_str(), moved.credit_limit, moved.removed), ("ada", MicroUsd(9), false));
    assert!(store.peer(&old).await.unwrap().unwrap().removed);
    let with = |peer| ContractFilter { peer: Some(peer), ..ContractFilter::default() };
    assert_eq!(store.contracts(with(new)).await.unwrap().len(), 1, "what was traded goes along");
    assert!(store.contracts(with(old)).await.unwrap().is_empty());
    assert_eq!(refused(moves(old, other)).await, Code::Conflict, "the old key has had its word");

    store.apply(vec![own.clone()], vec![]).await.unwrap();
    assert_eq!(store.identity().await.unwrap(), Some(new));
    assert_eq!(refused(own).await, Code::Conflict);
}
