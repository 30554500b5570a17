//! Economics, pure: cost, price, decision, contract, verification policy.
