//! Built-in kernels and products of halves, bought from a peer and checked.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::json;
use tender_base::ContractState;
use tender_node::api::types::{ById, JobOutput, SubmitWork};
use tender_tests::{
    TestNode, pair,
    work::{self, DOLLAR},
};

fn kernel(name: &str, rows: u32, columns: u32, input: &[u8]) -> SubmitWork {
    SubmitWork::Kernel { name: name.to_owned(), rows, columns, input_base64: BASE64.encode(input) }
}

async fn bought(buyer: &TestNode, submitted: SubmitWork) -> (String, Vec<u8>) {
    let detail = buyer.buy(&work::for_peers(submitted)).await;
    assert_eq!(detail.contracts[0].state, ContractState::Accepted, "{detail:#?}");
    assert!(detail.verification.as_ref().is_some_and(|v| v.contains("passed")), "{detail:#?}");
    let output: JobOutput = buyer.ask("output", &ById { id: detail.summary.id.clone() }).await;
    (detail.summary.id, BASE64.decode(output.data_base64).unwrap())
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

#[tokio::test]
async fn built_in_kernels_are_bought_checked_and_billed_by_the_element() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    seller.set("price.kernel.micro_usd", json!(3)).await;
    seller.set("price.kernel.per_units", json!(100)).await;
    pair(&seller, &buyer, DOLLAR).await;

    let matrix: Vec<u8> = (0..20 * 33).flat_map(|i| ((i * 37 % 101) as f32 / 25.0).to_le_bytes()).collect();
    let (id, softmax) = bought(&buyer, kernel("softmax", 20, 33, &matrix)).await;
    for row in floats(&softmax).chunks_exact(33) {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }
    // 660 elements at 3 micro-USD per 100, rounded up once.
    assert_eq!(buyer.job(&id).await.summary.amount_micro_usd, Some(20));

    // A row with NaN is NaN on both sides, and the others are worth their money.
    let mut spoilt = matrix.clone();
    spoilt[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let (_, sums) = bought(&buyer, kernel("sum", 20, 33, &spoilt)).await;
    let sums = floats(&sums);
    assert!(sums[0].is_nan() && sums[1..].iter().all(|sum| sum.is_finite() && *sum > 0.0), "{sums:?}");

    let (_, inside) = bought(&buyer, kernel("monte_carlo_pi", 50, 1000, &7u64.to_le_bytes())).await;
    let inside: u32 = inside.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).sum();
    // Five standard deviations of 50,000 points.
    assert!((f64::from(inside) / 12_500.0 - std::f64::consts::PI).abs() < 0.037, "{inside}");
}

#[tokio::test]
async fn a_product_of_halves_is_bought_and_checked() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    pair(&seller, &buyer, DOLLAR).await;
    // 1, 2 and 0.5 in f16; a 3 × 1 column times a 1 × 2 row.
    let input: Vec<u8> = [0x3c00u16, 0x4000, 0x3800, 0x4000, 0x3800].iter().flat_map(|h| h.to_le_bytes()).collect();
    let input_base64 = BASE64.encode(input);
    let submitted = SubmitWork::Gemm { m: 3, k: 1, n: 2, precision: Some("f16".to_owned()), input_base64 };
    let (_, product) = bought(&buyer, submitted).await;
    assert_eq!(floats(&product), [2.0, 0.5, 4.0, 1.0, 1.0, 0.25]);
}
