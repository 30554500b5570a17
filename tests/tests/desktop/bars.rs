//! What the app costs, measured from outside and reported in the benchmarks' form; nothing is asserted but that it
//! was measured. Run by `cargo xtask measure`, with the programs as they are packed.

use crate::{
    desktop::Desktop,
    place::{Place, Process, SOON, built, wait_until},
};
use serde_json::{Value, json};
use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const STARTS: usize = 11;
/// After the start, the node measures and caches a few things; what is measured is the time after that.
const SETTLE: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(90);
/// `USER_HZ`: what Linux counts processor time in, everywhere.
const TICKS_PER_SECOND: f64 = 100.0;
const SHOWN: &str = "Overview · Tender";

/// Answers when the overview is there and has been painted, in milliseconds since 1970.
const INTERACTIVE: &str = "const done = arguments[0];
    const there = () => document.querySelector('main [role=switch]') !== null;
    const painted = () => requestAnimationFrame(() => requestAnimationFrame(() => done(Date.now())));
    if (there()) return painted();
    const observer = new MutationObserver(() => { if (there()) { observer.disconnect(); painted(); } });
    observer.observe(document, { childList: true, subtree: true });";
const FIRST_PAINT: &str = "const entry = performance.getEntriesByName('first-contentful-paint')[0];
    return entry ? performance.timeOrigin + entry.startTime : null;";

#[tokio::test]
#[ignore = "it measures, for minutes; `cargo xtask measure`"]
async fn what_the_app_costs() {
    let (mut figures, place) = starts().await;
    let _host = place.tray_host().await;
    let app = place.start_app_with(&[], &[("TENDER_KEEP_HIDDEN_SECONDS", "1")]);
    wait_until("no window", SOON, async || place.titles().contains(&SHOWN.into())).await;
    tokio::time::sleep(SETTLE).await;
    figures.extend(costs(&place, "window_open").await);
    place.close_window(SHOWN);
    wait_until("the web view outlives its window", SOON, async || place.web_views() == 0).await;
    // Until the dialog that says where it went is closed as well, its widgets are part of the app.
    place.close_window("Tender stays in the tray");
    tokio::time::sleep(SETTLE).await;
    figures.extend(costs(&place, "hidden").await);
    drop(app);
    // `debug` or `release`: a debug build's figures are only bounds.
    let build = built().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let report =
        json!({ "bench": "desktop", "adapter": adapter(), "driver": null, "build": build, "figures": figures });
    println!("{}", serde_json::to_string_pretty(&report).unwrap());
    if let Ok(file) = std::env::var("TENDER_RESULT") {
        fs::write(file, serde_json::to_string_pretty(&report).unwrap() + "\n").unwrap();
    }
}

/// From the app's start to the overview, its node started anew each time: what is there since an earlier start is its
/// data.
async fn starts() -> (Vec<Value>, Place) {
    let (mut interactive, mut first_paint) = (Vec::new(), Vec::new());
    let mut place = Place::new();
    for start in 0..STARTS {
        let desktop = Desktop::start_in(place).await;
        // The first one makes the database and the identity, and opens with the set-up.
        if start == 0 {
            desktop.arrive(SOON).await;
        }
        let at = desktop.script_that_calls_back(INTERACTIVE, &[]).await.as_f64().unwrap();
        let painted = desktop.script(FIRST_PAINT, &[]).await.as_f64();
        let app = named(&desktop.place, "tender-app").expect("the app runs");
        let began = began_ms(app.pid);
        if start > 0 {
            interactive.push(at - began);
            first_paint.extend(painted.map(|painted| painted - began));
        }
        place = desktop.end();
        let gone = async || place.processes().iter().all(|process| process.name != "tender");
        wait_until("the node does not end", SOON, gone).await;
    }
    let why = "an upper bound: WebDriver starts the app and is asked by then; the node starts with it";
    let figures =
        vec![sampled("start_to_interactive", interactive, why), sampled("start_to_first_paint", first_paint, "")];
    (figures, place)
}

fn sampled(name: &str, mut times: Vec<f64>, why: &str) -> Value {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get(((times.len() as f64 - 1.0) * share).round() as usize).map(|ms| ms.round());
    json!({ "name": name, "unit": "ms", "n": times.len(), "p50": at(0.5), "p99": at(0.99), "value": null, "peer": null,
        "ratio": null, "why": why })
}

/// Memory and processor time of the app, its node and all that WebKit runs for them.
async fn costs(place: &Place, state: &str) -> Vec<Value> {
    let processes = ours(place);
    let names: Vec<&str> = processes.iter().map(|process| process.name.as_str()).collect();
    let of_each: Vec<String> =
        processes.iter().map(|process| format!("{} {:.1}", process.name, pss_mib(process.pid))).collect();
    let memory: f64 = processes.iter().map(|process| pss_mib(process.pid)).sum();
    let before: f64 = processes.iter().map(|process| processor_seconds(process.pid)).sum();
    tokio::time::sleep(IDLE).await;
    let spent = processes.iter().map(|process| processor_seconds(process.pid)).sum::<f64>() - before;
    let figure = |name: String, unit: &str, value: f64, why: String| {
        json!({ "name": name, "unit": unit, "n": 1, "p50": null, "p99": null, "value": value, "peer": null,
            "ratio": null, "why": why })
    };
    let percent = spent / IDLE.as_secs_f64() * 100.0;
    vec![
        figure(format!("pss_{state}"), "MiB", (memory * 10.0).round() / 10.0, of_each.join(", ")),
        figure(
            format!("cpu_{state}"),
            "percent of one core",
            (percent * 100.0).round() / 100.0,
            format!("{} s of {}", IDLE.as_secs(), names.join(", ")),
        ),
    ]
}

fn ours(place: &Place) -> Vec<Process> {
    let mut found = place.processes();
    found.retain(|process| process.name.starts_with("tender") || process.name.starts_with("WebKit"));
    found
}

fn named(place: &Place, name: &str) -> Option<Process> {
    place.processes().into_iter().find(|process| process.name == name)
}

/// Memory of a process, what it shares with others in proportion.
fn pss_mib(pid: u32) -> f64 {
    // A process that is gone, or may not be read, would count as nothing in a figure that is published.
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// Field of `/proc/PID/stat`, counted from 0 after the name, which may contain anything.
fn stat(pid: u32, field: usize) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(field).unwrap().parse().unwrap()
}

fn processor_seconds(pid: u32) -> f64 {
    (stat(pid, 11) + stat(pid, 12)) / TICKS_PER_SECOND
}

/// When the process began, in milliseconds since 1970, to a hundredth of a second.
fn began_ms(pid: u32) -> f64 {
    let after_boot = stat(pid, 19) / TICKS_PER_SECOND;
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    (now - uptime + after_boot) * 1000.0
}

/// What it was measured on.
fn adapter() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{} ({cores} cores)", model.trim_start_matches(['\t', ' ', ':']))
}
