//! Economics, pure: cost, price, decision, contract, verification policy.
//!
//! No clock, no randomness, no I/O: time and draws come in as arguments and transcendental functions from `libm`,
//! so that the same version of this crate decides the same situation the same way on every machine.
//!
//! Every error is a [`tender_base::Problem`]: what is refused here is refused towards a person or a peer.

pub mod api_prices;
pub mod asking;
pub mod bargain;
pub mod breakeven;
pub mod calibration;
pub mod checks;
pub mod choice;
pub mod compatibility;
pub mod confidence;
pub mod contract;
pub mod cost;
pub mod decision;
pub mod document;
pub mod draws;
pub mod explore;
pub mod memory;
pub mod number;
pub mod price;
pub mod receipt;
pub mod reliability;
pub mod security;
pub mod standing;
pub mod tariff;
pub mod topsis;
pub mod verification;
pub mod weights;
pub mod why;
