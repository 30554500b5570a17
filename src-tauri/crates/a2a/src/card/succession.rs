//! Cards of keys that took the place of pinned ones.

use super::{MAX_SUCCESSIONS, Terms, verify};
use crate::push::Home;
use tender_base::{Code, Did, Problem};

/// Who answers at `address` in the place of `pinned`: the key whose card stands there, when the keys from `pinned` to it
/// named each other. None when another answers.
///
/// # Errors
/// [`Code::Unavailable`] when there is no card, [`Code::Invalid`] for an unusable address or card.
pub async fn successor(address: &str, pinned: &Did) -> Result<Option<Did>, Problem> {
    let home = Home::at(*pinned, address)
        .ok_or_else(|| Problem::new(Code::Invalid, "the peer's address cannot be used", "pair with it again"))?;
    let bytes = home.card().await.map_err(|why| {
        Problem::new(Code::Unavailable, format!("the peer's card cannot be read: {why}"), "try again later")
    })?;
    successor_on(&bytes, pinned)
}

/// The same, of a card that was read.
///
/// # Errors
/// [`Code::Invalid`] when it is no A2A 1.0 card.
pub fn successor_on(card: &[u8], pinned: &Did) -> Result<Option<Did>, Problem> {
    let Ok(unchecked) = serde_json::from_slice(card) else { return Ok(None) };
    let Some(terms) = Terms::of(&unchecked)? else { return Ok(None) };
    // In their order, so that a chain has one reading and an end.
    let mut current = *pinned;
    for word in terms.successions.iter().take(MAX_SUCCESSIONS) {
        if let Ok(said) = word.verify(&current) {
            current = said.successor;
        }
    }
    Ok((current != *pinned && verify(card, &current).is_ok()).then_some(current))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::{CardFacts, Offer, build, sign};
    use tender_base::{Signed, Signer, Timestamp, documents::Succession, signed::KeySigner};

    fn key(seed: u8) -> KeySigner {
        KeySigner::from_seed(&[seed; 32])
    }

    fn word(from: u8, to: u8, by: u8) -> Signed<Succession> {
        let (predecessor, successor) = (key(from).did(), key(to).did());
        Signed::new(Succession { predecessor, successor, succeeded_at: Timestamp::from_millis(0) }, &key(by))
    }

    fn card(owner: u8, signed_by: u8, successions: Vec<Signed<Succession>>) -> Vec<u8> {
        let mut card = build(&CardFacts {
            name: "n".into(),
            description: "d".into(),
            url: "http://127.0.0.1:1/".into(),
            did: key(owner).did(),
            version: "1".into(),
            tls_key_sha256: None,
            skills: Vec::new(),
            offer: Offer::default(),
            successions,
        });
        sign(&mut card, &key(signed_by)).unwrap();
        serde_json::to_vec(&card).unwrap()
    }

    #[test]
    fn only_a_chain_from_the_pinned_key_to_the_cards_own_is_followed() {
        let pinned = key(1).did();
        let found = |card: &[u8]| successor_on(card, &pinned).unwrap();
        assert_eq!(found(&card(2, 2, vec![word(1, 2, 1)])), Some(key(2).did()));
        assert_eq!(found(&card(3, 3, vec![word(1, 2, 1), word(2, 3, 2)])), Some(key(3).did()));
        // A later key does not know where it began: what came before is passed over.
        assert_eq!(found(&card(3, 3, vec![word(9, 1, 9), word(1, 3, 1)])), Some(key(3).did()));
        for (wrong, bytes) in [
            ("nothing was said", card(2, 2, Vec::new())),
            ("the new key speaks for the old one", card(2, 2, vec![word(1, 2, 2)])),
            ("a link is missing", card(3, 3, vec![word(2, 3, 2)])),
            ("another signs the card", card(2, 9, vec![word(1, 2, 1)])),
            ("the chain leads elsewhere", card(9, 9, vec![word(1, 2, 1)])),
            ("it leads back", card(1, 2, vec![word(1, 2, 1), word(2, 1, 2)])),
        ] {
            assert_eq!(found(&bytes), None, "{wrong}");
        }
        let mut changed = word(1, 2, 1);
        changed.document.successor = key(9).did();
        assert_eq!(found(&card(9, 9, vec![changed])), None);
    }
}
