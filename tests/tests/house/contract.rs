//! The specification of the contract extension: what the page shows is real, and the schemas say what the types do.

use jsonschema::{Registry, Validator};
use serde_json::{Value, json};
use std::{fs, path::PathBuf};
use tender_a2a::{
    card::Terms,
    contract::{self, Progress},
    wire::{AgentCard, Message as WireMessage, SendMessageRequest, Task},
};
use tender_base::{
    JobKind, Sha256, Signed, Unit, Work,
    documents::{AccessToken, HandbackReason, Message, Receipt},
    job,
    kernel::{self, Kernel},
    problem::Code,
    signed::canonical,
    text::{Generation, Prompt},
};
use tender_market::checks;

/// The kinds of messages.
const MESSAGES: [&str; 16] = [
    "call",
    "proposal",
    "refusal",
    "award",
    "decline",
    "delivery",
    "acceptance",
    "rejection",
    "abandonment",
    "handback",
    "countersignature",
    "payment",
    "payment_confirmation",
    "pairing_request",
    "pairing_answer",
    "succession",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page() -> String {
    fs::read_to_string(root().join("docs/contract-extension.md")).unwrap()
}

/// The page's code blocks of a language, with the word after it.
fn blocks(language: &str) -> Vec<(String, String)> {
    let (page, fence) = (page(), format!("\n```{language} "));
    let blocks = page.split(&fence).skip(1);
    blocks
        .map(|block| {
            let (name, rest) = block.split_once('\n').unwrap();
            (name.to_owned(), rest.split_once("\n```").unwrap().0.to_owned())
        })
        .collect()
}

fn examples() -> Vec<(String, Value)> {
    let read = |(name, text): (String, String)| {
        let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, value)
    };
    blocks("json").into_iter().map(read).collect()
}

fn example(name: &str) -> Value {
    let found = examples().into_iter().find(|(found, _)| found == name);
    found.unwrap_or_else(|| panic!("the page has no example of {name}")).1
}

fn schemas() -> Vec<(String, Value)> {
    let files = fs::read_dir(root().join("docs/contract/v1")).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let schema = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        (name, schema)
    };
    files.map(read).collect()
}

/// A validator of what `reference`, such as `call.schema.json`, describes.
fn validator(reference: &str) -> Validator {
    let mut registry = Registry::new();
    for (name, schema) in schemas() {
        assert!(jsonschema::meta::is_valid(&schema), "{name} is no JSON Schema");
        registry = registry.add(format!("urn-base:/v1/{name}"), schema).unwrap();
    }
    let registry = registry.prepare().unwrap();
    let schema =
        json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": format!("urn-base:/v1/{reference}")});
    jsonschema::options().offline().with_registry(&registry).build(&schema).unwrap()
}

fn of(name: &str) -> Validator {
    validator(&format!("{name}.schema.json"))
}

fn holds(validator: &Validator, value: &Value, what: &str) {
    let errors: Vec<String> = validator.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{what}: {errors:?}");
}

/// Reads a message and checks its signature, as whoever it is from.
fn proves(message: &Value) -> Result<Message, String> {
    let message: Message = serde_json::from_value(message.clone()).map_err(|error| error.to_string())?;
    macro_rules! signed {
        ($($kind:ident by $signer:ident),+) => {
            match &message {
                $(Message::$kind(signed) => signed.verify(&signed.document.$signer).map(drop),)+
                Message::Refusal(_) => Ok(()),
            }
        };
    }
    signed!(
        Call by client, Proposal by contractor, Award by client, Decline by client, Delivery by contractor,
        Acceptance by client, Rejection by client, Abandonment by client, Handback by contractor, Countersignature by contractor,
        Payment by payer, PaymentConfirmation by payee, PairingRequest by invitee, PairingAnswer by inviter,
        Succession by predecessor
    )
    .map_err(|problem| problem.to_string())?;
    Ok(message)
}

#[test]
fn the_page_shows_every_message_signed_and_as_the_types_write_it() {
    for name in MESSAGES {
        let value = example(name);
        assert_eq!(value["type"], name);
        let message = proves(&value).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(canonical(&message), canonical(&value), "{name}");
        holds(&of(name), &value, name);
        holds(&of("message"), &value, name);
        for other in MESSAGES.into_iter().filter(|other| *other != name) {
            assert!(!of(other).is_valid(&value), "{name} passes as {other}");
        }
    }
    let token = example("access_token");
    holds(&of("access_token"), &token, "access_token");
    let signed: Signed<AccessToken> = serde_json::from_value(token).unwrap();
    signed.verify(&signed.document.caller).unwrap();
}

#[test]
fn the_messages_of_the_page_make_a_receipt() {
    let mut receipt = json!({});
    for name in ["call", "proposal", "award", "delivery", "acceptance", "countersignature"] {
        let mut message = example(name);
        message.as_object_mut().unwrap().remove("type");
        receipt[name] = message;
    }
    holds(&of("receipt"), &receipt, "receipt");
    let read: Receipt = serde_json::from_value(receipt.clone()).unwrap();
    read.verify().unwrap();
    receipt["acceptance"]["document"]["nonce"] = json!("0");
    assert!(!of("receipt").is_valid(&receipt));

    let unsigned = |name| match proves(&example(name)).unwrap() {
        Message::Rejection(rejection) => checks::check_rejection(&rejection, &read.delivery, &read.award),
        Message::Abandonment(note) => checks::check_abandonment(&note, &read.award),
        Message::Handback(handback) => {
            checks::check_handback(&handback, &read.award, &read.proposal, handback.document.handed_back_at)
        }
        Message::Decline(decline) => checks::check_decline(&decline, &read.proposal),
        _ => unreachable!(),
    };
    for name in ["rejection", "abandonment", "handback", "decline"] {
        unsigned(name).unwrap_or_else(|problem| panic!("{name}: {problem}"));
    }
}

#[test]
fn no_member_of_a_document_may_lack_change_its_type_or_be_added() {
    let wrong = |validator: &Validator, value: &Value, what: String| {
        assert!(!validator.is_valid(value), "the schema takes {what}");
        assert!(proves(value).is_err(), "the types take {what}");
    };
    for name in MESSAGES {
        let (validator, good) = (of(name), example(name));
        let inner = if name == "refusal" { "" } else { "/document" };
        let members: Vec<String> = good.pointer(inner).unwrap().as_object().unwrap().keys().cloned().collect();
        for member in members {
            let mut lacks = good.clone();
            lacks.pointer_mut(inner).unwrap().as_object_mut().unwrap().remove(&member);
            assert!(!validator.is_valid(&lacks), "{name} without {member}");
            let mut mistyped = good.clone();
            mistyped.pointer_mut(inner).unwrap()[&member] = json!([[]]);
            wrong(&validator, &mistyped, format!("{name} with another type of {member}"));
        }
        if name == "refusal" {
            continue;
        }
        let mut added = good.clone();
        added["document"]["surprise"] = json!(1);
        wrong(&validator, &added, format!("{name} with one more member"));
        for (pointer, with) in [("/signature", json!("AA")), ("/signer", json!("did:key:z6Mk")), ("/type", json!("x"))]
        {
            let mut changed = good.clone();
            *changed.pointer_mut(pointer).unwrap() = with;
            wrong(&validator, &changed, format!("{name} with another {pointer}"));
        }
    }
}

#[test]
fn members_that_hold_their_default_are_left_out_and_others_are_written() {
    for (name, pointer, with) in [
        ("call", concat!("/document/job/work", "/precision"), json!("f32")),
        ("delivery", "/document/meter/throttled", json!(false)),
        ("delivery", "/document/meter/idle_watts", Value::Null),
        ("delivery", "/document/worker/runtime", Value::Null),
        ("delivery", "/document/meter/measured", json!(true)),
        ("call", "/document/called_at", json!("2026-11-21T08:00:00Z")),
        ("award", "/document/review_seconds", json!(86_401)),
        ("payment", "/document/contracts", json!([])),
        ("delivery", "/document/output/more", json!(1)),
        ("rejection", "/document/reason", json!("")),
    ] {
        let mut value = example(name);
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        value.pointer_mut(parent).unwrap()[member] = with;
        assert!(!of(name).is_valid(&value), "{pointer}");
    }
}

#[test]
fn the_signed_bytes_of_the_page_are_what_is_signed() {
    let shown = blocks("text");
    let (_, bytes) = shown.iter().find(|(name, _)| name == "decline").unwrap();
    let Message::Decline(decline) = proves(&example("decline")).unwrap() else { panic!() };
    assert_eq!(decline.hash(), Sha256::of(bytes.as_bytes()));
    assert!(page().contains(&decline.hash().to_string()), "the page states its hash");
}

#[test]
fn the_wire_examples_are_messages_of_the_extension() {
    let sent: SendMessageRequest = serde_json::from_value(example("send")["params"].clone()).unwrap();
    let envelope = contract::unwrap(sent.message).unwrap().unwrap();
    assert_eq!(canonical(&envelope.document), canonical(&example("award")));
    let Message::Call(call) = proves(&example("call")).unwrap() else { panic!() };
    assert!(call.document.job.input.matches(&envelope.input.unwrap()));

    let task: Task = serde_json::from_value(example("task")).unwrap();
    let message: WireMessage = task.status.message.unwrap();
    let said = contract::unwrap(message).unwrap().unwrap();
    assert_eq!(canonical(&said.document), canonical(&example("delivery")));

    let metadata: Vec<Value> =
        examples().into_iter().filter(|(name, _)| name == "metadata").map(|(_, it)| it).collect();
    let [progress, quote] = metadata.as_slice() else { panic!("progress and a quote") };
    serde_json::from_value::<Progress>(progress.clone()).unwrap();
    for (value, inner, members) in [
        (progress, "", &["done", "total"][..]),
        (quote, "/quote", &["amount_micro_usd", "units", "rate", "valid_until"]),
    ] {
        holds(&of("metadata"), value, "metadata");
        for member in members {
            let mut lacks = value.clone();
            lacks.pointer_mut(inner).unwrap().as_object_mut().unwrap().remove(*member);
            assert!(!of("metadata").is_valid(&lacks), "{member}");
        }
    }
}

#[test]
fn work_inputs_and_outputs_of_the_page_fit_schemas_and_types() {
    let (work, mut kinds) = (validator("common.schema.json#/$defs/work"), Vec::new());
    for (name, value) in examples() {
        match name.as_str() {
            "work" => {
                holds(&work, &value, "work");
                let read: Work = serde_json::from_value(value.clone()).unwrap();
                assert_eq!(canonical(&read), canonical(&value));
                kinds.push(read.kind());
                let mut more = value.clone();
                more["surprise"] = json!(1);
                assert!(!work.is_valid(&more) && serde_json::from_value::<Work>(more).is_err(), "{value}");
            }
            "prompt" => {
                holds(&validator("common.schema.json#/$defs/prompt"), &value, "prompt");
                Prompt::from_json(value.to_string().as_bytes()).unwrap();
            }
            "generation" => {
                holds(&validator("common.schema.json#/$defs/generation"), &value, "generation");
                serde_json::from_value::<Generation>(value).unwrap();
            }
            _ => {}
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), JobKind::ALL.len(), "an example of each kind");
    let bad = json!({"kind": "kernel", "name": "median", "rows": 1, "columns": 1});
    assert!(!work.is_valid(&bad));
}

#[test]
fn the_recorded_messages_and_the_card_fit_the_schemas() {
    let snapshot = |name: &str| {
        let folder = root().join("src-tauri/crates/a2a/tests/a2a/snapshots");
        let text = fs::read_to_string(folder.join(format!("a2a__snapshots__{name}.snap"))).unwrap();
        text.splitn(3, "---\n").nth(2).unwrap().trim().to_owned()
    };
    let json = |name: &str| -> Value { serde_json::from_str(&snapshot(name)).unwrap() };
    for (name, pointer) in [("award_message", "/parts/0/data"), ("delivered_task", "/status/message/parts/0/data")] {
        let value = json(name);
        holds(&of("message"), value.pointer(pointer).unwrap(), name);
        proves(value.pointer(pointer).unwrap()).unwrap();
    }
    let card = json("card");
    let params = card.pointer("/capabilities/extensions/0/params").unwrap();
    holds(&of("card-params"), params, "card");
    let windows = json!([{"days": [1, 5], "from": "18:00", "until": "08:00"}, {"from": "12:00", "until": "13:00"}]);
    let at_times = |when: Value| {
        let mut params = params.clone();
        params["availability"] = when;
        params
    };
    let paused = json!({"from": "2026-11-21T18:00:00.000Z"});
    for shown in [params.clone(), example("card-params"), at_times(windows), at_times(paused)] {
        holds(&of("card-params"), &shown, "card-params");
        let mut card = card.clone();
        *card.pointer_mut("/capabilities/extensions/0/params").unwrap() = shown.clone();
        let card: AgentCard = serde_json::from_value(card).unwrap();
        let terms = Terms::of(&card).unwrap().unwrap();
        assert_eq!(canonical(&terms), canonical(&shown), "all of it is read");
        for (pointer, with) in [
            ("/resources/0/measured", json!("yes")),
            ("/resources/0/memory_bytes", json!("24 GB")),
            ("/skills/0/protocols", json!("a2a/1.0")),
            ("/skills/0/software/0/version", json!(1)),
            ("/benchmarks/0/n", json!(0.5)),
            ("/benchmarks/0/measured_at", json!("yesterday")),
            ("/availability", json!("sometimes")),
            ("/receipt_key", json!("did:web:example.com")),
            ("/max_quote_seconds", json!("30")),
        ] {
            let mut wrong = shown.clone();
            *wrong.pointer_mut(pointer).unwrap() = with;
            assert!(!of("card-params").is_valid(&wrong), "{pointer}");
        }
        let mut negative = shown.clone();
        negative["yield_ms"] = json!(-1);
        assert!(!of("card-params").is_valid(&negative));
        let mut unnamed = shown;
        unnamed.as_object_mut().unwrap().remove("did");
        assert!(!of("card-params").is_valid(&unnamed));
    }
}

#[test]
fn names_and_limits_of_the_schemas_are_those_of_the_code() {
    let common = schemas().into_iter().find(|(name, _)| name == "common.schema.json").unwrap().1;
    let at = |pointer: &str| common.pointer(&format!("/$defs/{pointer}")).cloned().unwrap_or_default();
    let names = |pointer: &str| -> Vec<String> { serde_json::from_value(at(&format!("{pointer}/enum"))).unwrap() };
    assert_eq!(names("kind"), JobKind::ALL.map(|kind| kind.name().to_owned()));
    assert_eq!(names("kernel/properties/name"), Kernel::ALL.map(|kernel| kernel.name().to_owned()));
    for name in names("code") {
        serde_json::from_value::<Code>(json!(name)).unwrap();
    }
    for name in names("unit") {
        serde_json::from_value::<Unit>(json!(name)).unwrap();
    }
    for (pointer, limit) in [
        ("count", job::MAX_UNITS),
        ("blob/properties/bytes", job::MAX_BLOB_BYTES),
        ("embed/properties/passages", job::MAX_PASSAGES.into()),
        ("embed/properties/tokens", u64::from(job::MAX_PASSAGES) * u64::from(job::MAX_PASSAGE_TOKENS)),
        ("gemm/properties/k", job::MAX_GEMM_SIDE.into()),
        ("kernel/properties/rows", kernel::MAX_KERNEL_ROWS.into()),
        ("kernel/properties/columns", kernel::MAX_KERNEL_COLUMNS.into()),
        ("wgsl/properties/source_bytes", job::MAX_WGSL_SOURCE_BYTES.into()),
        ("wgsl/properties/workgroups", job::MAX_WGSL_WORKGROUPS.into()),
        ("wgsl/properties/workgroup_size", job::MAX_WGSL_WORKGROUP_SIZE.into()),
        ("wgsl/properties/fuel", job::MAX_WGSL_FUEL.into()),
        ("generate/properties/prompt_tokens", job::MAX_CONTEXT_TOKENS.into()),
        ("generate/properties/max_tokens", job::MAX_GENERATED_TOKENS.into()),
    ] {
        assert_eq!(at(pointer)["maximum"], limit, "{pointer}");
    }
    assert_eq!(at("reason")["maxLength"], checks::MAX_TEXT_BYTES);
    let payment = schemas().into_iter().find(|(name, _)| name == "payment.schema.json").unwrap().1;
    assert_eq!(
        payment.pointer("/$defs/document/properties/contracts/maxItems").unwrap(),
        &json!(checks::MAX_PAYMENT_CONTRACTS)
    );
    let handback = schemas().into_iter().find(|(name, _)| name == "handback.schema.json").unwrap().1;
    let reasons = handback.pointer("/$defs/document/properties/reason/enum").unwrap();
    assert_eq!(*reasons, json!(HandbackReason::ALL));
    let award = schemas().into_iter().find(|(name, _)| name == "award.schema.json").unwrap().1;
    assert_eq!(
        award.pointer("/$defs/document/properties/review_seconds/maximum").unwrap(),
        &json!(checks::MAX_REVIEW_SECONDS)
    );
}
