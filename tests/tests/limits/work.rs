//! Work that cannot be done: kernels that do not parse or never end, shapes that do not fit, models that are missing
//! or false, machines without a driver.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::json;
use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tender_base::{Code, JobState};
use tender_node::api::types::{Doctor, JobDetail, Nothing, SubmitBuffer, SubmitInput, SubmitWork};
use tender_tests::{
    TestNode, pair,
    work::{self, DOLLAR},
};

const HEAD: &str = "@group(0) @binding(0) var<storage, read_write> out: array<u32>;\n";

/// Functions that each call the one before twice: a few lines that would run for ever without a loop.
fn doubling(functions: u32) -> String {
    let calls = |n| format!("fn f{n}(x: u32) -> u32 {{ return f{last}(f{last}(x) + 1u); }}\n", last = n - 1);
    "fn f0(x: u32) -> u32 { return x; }\n".to_owned() + &(1..=functions).map(calls).collect::<String>()
}

async fn failed(buyer: &TestNode, input: &SubmitInput) -> JobDetail {
    let detail = buyer.ended(&buyer.submit(input).await).await;
    assert_eq!(detail.summary.state, Some(JobState::Failed), "{detail:#?}");
    let problem = detail.problem.as_ref().unwrap();
    assert!(!problem.message.is_empty() && !problem.hint.is_empty(), "{problem:?}");
    detail
}

/// Bought and run here: in both cases the kernel is refused with its fault, nothing is billed, and the worker lives.
#[tokio::test]
async fn kernels_that_are_wrong_are_refused_and_cost_nothing() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::start().await);
    seller.set("price.wgsl.per_units", json!(1000)).await;
    pair(&seller, &buyer, DOLLAR).await;
    let main = "@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>)";
    for (source, named) in [
        ("fn main( {".to_owned(), ""),
        (format!("{HEAD}{main} {{ out[id.x] = 1.5; }}"), ""),
        (format!("{HEAD}@compute @workgroup_size(32) fn main() {{}}"), "workgroup"),
        (format!("{HEAD}@compute @workgroup_size(64) fn other() {{}}"), "main"),
        (format!("{HEAD}{main} {{ loop {{ out[id.x] += 1u; }} }}"), "fuel"),
        (
            format!("{HEAD}{main} {{ var i = 0u; loop {{ i = i + 1u; if i == 0u {{ break; }} out[id.x] = i; }} }}"),
            "fuel",
        ),
        (format!("{HEAD}{}{main} {{ out[id.x] = f40(id.x); }}", doubling(40)), "inlined"),
        (format!("{HEAD}{main} {{ while (true) {{ if (id.x == 4000000u) {{ break; }} }} out[0] = 1u; }}"), "fuel"),
    ] {
        for peers_only in [true, false] {
            let started = Instant::now();
            let submitted = SubmitInput {
                private: Some(!peers_only),
                peers_only: Some(peers_only),
                ..work::for_anyone(work::kernel(source.clone(), 4, 1000))
            };
            let problem = failed(&buyer, &submitted).await.problem.unwrap();
            assert!(problem.message.contains(named), "{source}: {named:?} is not in {problem:?}");
            assert!(started.elapsed() < Duration::from_secs(20), "{source} took {:?}", started.elapsed());
        }
    }
    for node in [&seller, &buyer] {
        node.owes_and_is_owed_nothing().await;
    }
    buyer.buy(&work::for_peers(work::wgsl(2, 50))).await;
}

/// What is declared must fit what is sent, before anything is tendered.
#[tokio::test]
async fn wrong_shapes_are_refused_at_once() {
    let buyer = TestNode::start().await;
    let bytes = |n: usize| BASE64.encode(vec![0; n]);
    let gemm = |m, k, n, input_base64| SubmitWork::Gemm { m, k, n, precision: None, input_base64 };
    let half_gemm = |precision: &str, input: &[u8]| {
        let (precision, input_base64) = (Some(precision.to_owned()), BASE64.encode(input));
        SubmitWork::Gemm { m: 1, k: 1, n: 1, precision, input_base64 }
    };
    let kernel = |name: &str, rows, columns, length| SubmitWork::Kernel {
        name: name.to_owned(),
        rows,
        columns,
        input_base64: bytes(length),
    };
    let buffers = |buffers| {
        let SubmitWork::Wgsl { source, entry, workgroups, workgroup_size, fuel, element, .. } = work::wgsl(2, 10)
        else {
            panic!()
        };
        SubmitWork::Wgsl { source, entry, workgroups, workgroup_size, fuel, element, buffers }
    };
    let out = |binding, bytes| SubmitBuffer { binding, bytes, data_base64: None };
    let read =
        |binding, bytes, data: usize| SubmitBuffer { binding, bytes, data_base64: Some(BASE64.encode(vec![0; data])) };
    for (submitted, named) in [
        (gemm(2, 2, 2, bytes(31)), "31 bytes"),
        (gemm(0, 2, 2, bytes(0)), "m is 0"),
        (gemm(5000, 1, 1, bytes(4)), "m is 5000"),
        (gemm(2, 2, 2, "!".to_owned()), "base64"),
        (gemm(1, 1, 1, BASE64.encode([0, 0, 0, 0, 0, 0, 0xc0, 0x7f])), "element 1 of the input is not a finite number"),
        (half_gemm("f16", &[0, 0, 0, 0x7c]), "element 1 of the input is not a finite number"),
        (half_gemm("f8", &[0, 0, 0, 0]), "precision is f8"),
        (half_gemm("f16", &[0; 8]), "8 bytes"),
        (kernel("sum", 0, 1, 0), "rows is 0"),
        (kernel("sum", 1, 70_000, 280_000), "columns is 70000"),
        (kernel("sum", 2, 3, 20), "20 bytes"),
        (kernel("monte_carlo_call", 2, 3, 24), "24 bytes"),
        (kernel("arg_maximum", 2, 3, 24), "arg_max, softmax"),
        (SubmitWork::Embed { model: None, passages: Vec::new() }, "passages"),
        (SubmitWork::Embed { model: None, passages: vec![String::new(); 4097] }, "4097"),
        (work::kernel(String::new(), 1, 1), "source_bytes"),
        (work::kernel("x".repeat(300 << 10), 1, 1), "source_bytes"),
        (work::kernel("x".to_owned(), 0, 1), "workgroups"),
        (work::kernel("x".to_owned(), 1, 60_001), "fuel"),
        (buffers(vec![]), "exactly one"),
        (buffers(vec![out(0, 512), out(1, 512)]), "exactly one"),
        (buffers(vec![out(0, 510)]), "multiple"),
        (buffers(vec![out(0, 512), read(0, 8, 8)]), "binding"),
        (buffers(vec![out(0, 512), read(1, 8, 12)]), "12 bytes"),
    ] {
        let refused = buyer.refuses("submit", &work::for_anyone(submitted)).await;
        assert!(matches!(refused.code, Code::Invalid | Code::TooLarge), "{refused}");
        assert!(refused.message.contains(named), "{named:?} is not in {refused}");
        assert!(!refused.hint.is_empty(), "{refused}");
    }
    for (change, named) in [
        ((|i: &mut SubmitInput| i.budget_micro_usd = -1) as fn(&mut SubmitInput), "budget"),
        (|i| i.budget_micro_usd = i64::MAX, "budget"),
        (|i| i.deadline_seconds = Some(0), "deadline"),
        (|i| i.deadline_seconds = Some(u32::MAX), "deadline"),
    ] {
        let mut input = work::for_anyone(work::gemm(2));
        change(&mut input);
        let refused = buyer.refuses("submit", &input).await;
        assert!(refused.message.contains(named), "{refused}");
    }
    buyer.owes_and_is_owed_nothing().await;
}

fn models() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
    set("TENDER_MODELS")
        .or_else(|| Some(set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?.join("tender/models")))
        .unwrap()
}

#[tokio::test]
async fn a_missing_model_is_named_with_its_remedy() {
    let empty = TempDir::new().unwrap();
    let buyer = TestNode::start_with(|l| l.env("TENDER_MODELS", empty.path())).await;
    let refused = buyer.refuses("submit", &work::for_anyone(work::embed())).await;
    assert_eq!(refused.code, Code::Unavailable, "{refused}");
    assert!(refused.message.contains("all-MiniLM-L6-v2") && refused.hint.contains("tender models get"), "{refused}");
    // It sells what it can, and refuses what it cannot.
    buyer.sell(true).await;
    let other = TestNode::buyer().await;
    pair(&buyer, &other, DOLLAR).await;
    let detail = failed(&other, &work::for_peers(work::embed())).await;
    assert!(detail.decision.iter().any(|row| row.why.contains("all-MiniLM-L6-v2")), "{detail:#?}");
    other.buy(&work::for_peers(work::gemm(16))).await;
    other.earnings().await;
}

#[tokio::test]
async fn a_model_file_with_another_hash_is_not_used() {
    let folder = TempDir::new().unwrap();
    let copy = folder.path().join("all-MiniLM-L6-v2");
    fs::create_dir(&copy).unwrap();
    let from = models().join("all-MiniLM-L6-v2");
    for file in ["tokenizer.json", "config.json"] {
        fs::copy(from.join(file), copy.join(file)).unwrap();
    }
    let mut weights = fs::read(from.join("model.safetensors")).unwrap();
    let last = weights.len() - 1;
    weights[last] ^= 1;
    fs::write(copy.join("model.safetensors"), weights).unwrap();
    let node = TestNode::start_with(|l| l.env("TENDER_MODELS", folder.path())).await;
    let problem =
        failed(&node, &SubmitInput { private: Some(true), ..work::for_anyone(work::embed()) }).await.problem.unwrap();
    assert!(problem.message.contains("SHA-256") && problem.message.contains("model.safetensors"), "{problem:?}");
    node.owes_and_is_owed_nothing().await;
}

#[tokio::test]
async fn without_a_vulkan_driver_the_cause_is_named_and_peers_still_help() {
    let node =
        TestNode::start_with(|l| l.env("VK_DRIVER_FILES", "/nonexistent").env("VK_ICD_FILENAMES", "/nonexistent"))
            .await;
    let doctor: Doctor = node.ask("doctor", &Nothing {}).await;
    assert!(doctor.checks.iter().any(|c| c.state == "fault" && c.remedy.contains("VK_DRIVER_FILES")), "{doctor:#?}");
    let private = SubmitInput { private: Some(true), ..work::for_anyone(work::gemm(16)) };
    let problem = failed(&node, &private).await.problem.unwrap();
    assert!(problem.message.contains("adapter"), "{problem:?}");
    // Freivalds needs no GPU: such a node can buy.
    let seller = TestNode::seller().await;
    pair(&seller, &node, DOLLAR).await;
    node.buy(&work::for_peers(work::gemm(16))).await;
    let said = node.cli().run(&["doctor"]);
    assert!(!said.ok && said.err.lines().count() == 1 && said.out.contains("FAULT"), "{said:?}");
}
