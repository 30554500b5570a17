//! Tests that cross crates: real nodes, real windows, real browsers.
