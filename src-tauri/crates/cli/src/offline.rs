//! Commands that need no node: verifying a file, backup, restore, keys.

use serde_json::{Value, json};
use std::{fs, path::Path};
use tender_base::{Code, Problem, documents::Receipt};

use crate::{args::IdentityCommand, print};

/// Largest file that is read: a receipt has a few kilobytes.
const MAX_FILE_BYTES: u64 = 4 << 20;

pub(crate) fn verify(file: &Path, json: bool) -> Result<(), Problem> {
    let unreadable = |e: String| Problem::new(Code::Invalid, format!("cannot read {}: {e}", file.display()), "");
    if fs::metadata(file).map_err(|e| unreadable(e.to_string()))?.len() > MAX_FILE_BYTES {
        return Err(unreadable("it is too long for a receipt or a card".to_owned()));
    }
    let bytes = fs::read(file).map_err(|e| unreadable(e.to_string()))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|e| unreadable(format!("it is not JSON ({e})")))?;
    if value.get("supportedInterfaces").is_some() {
        let did = tender_node::verify_card(&bytes)?;
        print::answer(json, &json!({"kind": "card", "valid": true, "did": did}), |_| {
            format!("The card is signed by {did}. Compare this key with the one you were given.")
        });
        return Ok(());
    }
    let receipt: Receipt = serde_json::from_value(value)
        .map_err(|e| unreadable(format!("it is neither a receipt nor an agent card ({e})")))?;
    receipt.verify()?;
    let delivery = &receipt.delivery.document;
    let summary = json!({
        "kind": "receipt",
        "valid": true,
        "contract": receipt.contract(),
        "client": delivery.client,
        "contractor": delivery.contractor,
        "amount_micro_usd": delivery.amount,
        "output_sha256": delivery.output.sha256,
    });
    print::answer(json, &summary, |_| {
        format!(
            "Valid: contract {}, {} owed by {} to {}",
            receipt.contract(),
            delivery.amount,
            delivery.client,
            delivery.contractor
        )
    });
    Ok(())
}

pub(crate) async fn identity(dir: &Path, command: IdentityCommand, json: bool) -> Result<(), Problem> {
    use tender_node::identity;
    match command {
        IdentityCommand::Show => {
            let (did, store) = identity::show(dir).await?;
            let kept = store.describe(dir);
            print::answer(json, &json!({"did": did, "store": store.name()}), |_| format!("{did}\n{kept}"));
        }
        IdentityCommand::Rotate => {
            let identity::Rotated { from, to } = identity::rotate(dir).await?;
            print::answer(json, &json!({"from": from, "to": to}), |_| {
                format!(
                    "This node is now {to}. Your peers follow when they next reach it, or when it next reaches them; make \
                     a new backup (`tender backup`)."
                )
            });
        }
        IdentityCommand::RotateTls => {
            identity::rotate_tls(dir)?;
            print::answer(json, &json!({"rotated": "tls"}), |_| {
                "The next `tender serve` uses a new TLS key; peers learn it from the signed card.".to_owned()
            });
        }
    }
    Ok(())
}

pub(crate) async fn backup(dir: &Path, to: &Path, json: bool) -> Result<(), Problem> {
    let made = tender_node::backup::make(dir, to).await?;
    print::answer(json, &json!({"backup": to, "identity": made.identity_included}), |_| {
        let identity = if made.identity_included {
            "The identity key is in it: keep it as safe as a password."
        } else {
            "The identity key stays in the keyring and is not in it."
        };
        format!("Backed up to {}. {identity}", to.display())
    });
    Ok(())
}

pub(crate) async fn restore(from: &Path, dir: &Path, json: bool) -> Result<(), Problem> {
    tender_node::backup::restore(from, dir).await?;
    print::answer(json, &json!({"restored": dir}), |_| {
        format!("Restored into {}. Start it with `tender serve`.", dir.display())
    });
    Ok(())
}
