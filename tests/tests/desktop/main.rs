//! The real app in its real window: Xvfb, a session bus of its own, tauri-driver and WebKitWebDriver. Nothing is
//! skipped: what is missing fails the test and says so.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod bars;
mod desktop;
mod in_the_tray;
mod in_the_window;
mod in_trouble;
mod place;
mod session;
