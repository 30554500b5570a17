//! One decoder of `tender_a2a::fuzz` under libFuzzer: the one that `TENDER_FUZZ` names.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use tender_a2a::fuzz::TARGETS;

static RUN: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("TENDER_FUZZ").unwrap_or_default();
    let Some((_, run)) = TARGETS.iter().find(|(known, _)| *known == name) else {
        let names = TARGETS.map(|(name, _)| name);
        eprintln!("TENDER_FUZZ is {name:?}, not one of {}", names.join(", "));
        std::process::exit(2);
    };
    *run
});

fuzz_target!(|bytes: &[u8]| RUN(bytes));
