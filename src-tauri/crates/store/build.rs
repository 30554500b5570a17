//! The migrations are embedded by a macro, which cargo does not watch.
fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
