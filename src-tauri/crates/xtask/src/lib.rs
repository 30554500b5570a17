//! cargo xtask: set-up, run and test.
