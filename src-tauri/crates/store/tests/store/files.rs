//! The data directory: blobs, backups, damage.

use crate::documents::{Counting, Trade, at, spec};
use serde_json::json;
use std::{fs, time::Duration};
use tender_base::{BlobRef, Book, Clock, Code, JobState, Role, ids::JobId, time::SystemClock};
use tender_store::{DATABASE_FILE, Event, Store, StoreError};

const MONTH: Duration = Duration::from_secs(31 * 86_400);

async fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    (dir, store)
}

fn blob_file(dir: &std::path::Path, blob: &BlobRef) -> std::path::PathBuf {
    let name = blob.sha256.to_string();
    dir.join("blobs").join(&name[..2]).join(name)
}

#[tokio::test]
async fn blobs_read_back_and_damage_is_noticed_and_mended() {
    let (dir, store) = store().await;
    let content = vec![42; 100_000];
    let blob = store.put_blob(&content).await.unwrap();
    assert_eq!(blob, BlobRef::of(&content));
    assert_eq!(store.put_blob(&content).await.unwrap(), blob, "storing again is harmless");
    assert_eq!(store.blob(&blob).await.unwrap(), Some(content.clone()));
    assert!(store.has_blob(&blob).await.unwrap());
    assert_eq!(store.blob(&BlobRef::of(b"unknown")).await.unwrap(), None);
    assert_eq!(store.blob_range(&BlobRef::of(b"unknown"), 0..0).await.unwrap(), None);
    let other = store.put_blob(b"0123456789").await.unwrap();
    for (range, piece) in [(0..10, &b"0123456789"[..]), (3..5, b"34"), (9..10, b"9"), (0..0, b"")] {
        assert_eq!(store.blob_range(&other, range).await.unwrap().as_deref(), Some(piece));
    }
    assert!(store.blob_range(&other, 5..11).await.is_err(), "beyond its end");
    fs::write(blob_file(dir.path(), &other), b"012345678").unwrap();
    let error = store.blob_range(&other, 0..0).await.unwrap_err();
    assert!(matches!(error, StoreError::DamagedBlob { .. }), "{error}");
    assert!(!store.has_blob(&BlobRef::of(b"unknown")).await.unwrap());

    fs::write(blob_file(dir.path(), &blob), vec![43; 100_000]).unwrap();
    let error = store.blob(&blob).await.unwrap_err();
    assert!(matches!(error, StoreError::DamagedBlob { .. }), "{error}");
    store.put_blob(&content).await.unwrap();
    assert_eq!(store.blob(&blob).await.unwrap(), Some(content));
    assert_eq!(store.put_blob(b"").await.unwrap().bytes, 0);
    assert_eq!(fs::read_dir(dir.path().join("blobs/tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_sweep_removes_only_what_is_old_and_unneeded() {
    let (dir, store) = store().await;
    let input = store.put_blob(&[7; 128]).await.unwrap();
    assert_eq!(input, spec().input);
    let loose = store.put_blob(b"loose").await.unwrap();
    let job = JobId::new(&Counting, &Counting);
    store
        .apply(
            vec![Event::JobSubmitted { job, book: Book::Real, spec: spec(), peers_only: false, submitted_at: at(0) }],
            vec![],
        )
        .await
        .unwrap();
    let trade = Trade::new(Role::Client, Some(job), 1);
    store.apply(vec![trade.opened()], vec![]).await.unwrap();

    assert_eq!(store.sweep_blobs(SystemClock.now()).await.unwrap(), 0, "nothing is old yet");
    let later = SystemClock.now().after(MONTH);
    assert_eq!(store.sweep_blobs(later).await.unwrap(), 1);
    assert!(!store.has_blob(&loose).await.unwrap());
    assert!(!blob_file(dir.path(), &loose).exists());

    let ended = Event::JobMoved {
        job,
        state: JobState::Completed,
        reason: None,
        output: None,
        charged: None,
        checked: None,
        entries: Vec::new(),
        at: at(9),
    };
    store.apply(vec![ended], vec![]).await.unwrap();
    assert_eq!(store.sweep_blobs(later).await.unwrap(), 0, "the contract is still open");
    use tender_base::ContractState as S;
    store.apply(vec![trade.moved(S::Proposed, S::Lapsed)], vec![]).await.unwrap();
    assert_eq!(store.sweep_blobs(later).await.unwrap(), 1);
    assert_eq!(store.blob(&input).await.unwrap(), None);
}

#[tokio::test]
async fn a_backup_restores_into_an_empty_directory_only() {
    let (dir, store) = store().await;
    let trade = Trade::new(Role::Contractor, None, 42);
    store.apply(trade.until_accepted(), vec![]).await.unwrap();
    let backup = dir.path().join("kept.db");
    store.backup(&backup).await.unwrap();
    let error = store.backup(&backup).await.unwrap_err();
    assert_eq!(error.problem().code, Code::Conflict);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
        let database = dir.path().join(DATABASE_FILE);
        assert_eq!(fs::metadata(database).unwrap().permissions().mode() & 0o777, 0o600);
    }

    let error = Store::restore(&backup, dir.path()).await.unwrap_err();
    assert!(error.to_string().contains("not empty"), "{error}");
    let new = tempfile::tempdir().unwrap();
    Store::restore(&backup, new.path()).await.unwrap();
    let restored = Store::open(new.path()).await.unwrap();
    assert_eq!(restored.table_digests().await.unwrap(), store.table_digests().await.unwrap());
    restored.check_integrity().await.unwrap();

    let nonsense = dir.path().join("nonsense.db");
    fs::write(&nonsense, "not a database").unwrap();
    let empty = tempfile::tempdir().unwrap();
    let error = Store::restore(&nonsense, empty.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn looking_works_beside_a_node_and_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Store::open_read_only(dir.path()).await.err().unwrap();
    assert_eq!(missing.problem().code, Code::NotFound);
    let store = Store::open(dir.path()).await.unwrap();
    let set = |n: u32| Event::SettingChanged { key: "n".to_owned(), value: json!(n), at: at(0) };
    store.apply(vec![set(1)], vec![]).await.unwrap();
    let beside = Store::open_read_only(dir.path()).await.unwrap();
    assert_eq!(beside.setting("n").await.unwrap(), Some(json!(1)));
    assert_eq!(beside.apply(vec![set(2)], vec![]).await.unwrap_err(), StoreError::ReadOnly);
    assert_eq!(beside.put_blob(b"x").await.unwrap_err(), StoreError::ReadOnly);
    beside.close().await.unwrap();
    store.close().await.unwrap();
    assert_eq!(store.apply(vec![set(3)], vec![]).await.unwrap_err(), StoreError::Closed);
    assert_eq!(store.setting("n").await.unwrap_err(), StoreError::Closed);

    let alone = Store::open_read_only(dir.path()).await.unwrap();
    assert_eq!(alone.setting("n").await.unwrap(), Some(json!(1)));
    alone.backup(&dir.path().join("copy.db")).await.unwrap();
}

#[tokio::test]
async fn a_damaged_database_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(DATABASE_FILE), "this is a letter to my aunt".repeat(1000)).unwrap();
    let error = Store::open(dir.path()).await.err().unwrap();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(error.problem().hint.contains("tender restore"));

    let (dir, store) = store().await;
    for n in 0..50 {
        let event = Event::SettingChanged { key: format!("{n}"), value: json!("x".repeat(2000)), at: at(0) };
        store.apply(vec![event], vec![]).await.unwrap();
    }
    store.close().await.unwrap();
    let file = dir.path().join(DATABASE_FILE);
    let mut bytes = fs::read(&file).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0xA5);
    fs::write(&file, bytes).unwrap();
    // Opening reads little; whoever meets the damage says so.
    let error = match Store::open(dir.path()).await {
        Err(error) => error,
        Ok(store) => store.check_integrity().await.unwrap_err(),
    };
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("data")).await.err().unwrap();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert!(error.to_string().contains("file"), "{error}");
}

/// A file system that is really full: `TMPDIR` on a tmpfs of a few MiB.
#[tokio::test]
#[ignore = "fills the file system of TMPDIR; run with TMPDIR on a tmpfs of at most 16 MiB"]
async fn a_really_full_disk_is_named_and_recovered_from() {
    let (dir, store) = store().await;
    let mut kept = Vec::new();
    let mut applied = 0;
    let error = loop {
        let content = vec![u8::try_from(kept.len() % 251).unwrap(); 100_000 + kept.len()];
        match store.put_blob(&content).await {
            Ok(blob) => kept.push(blob),
            Err(error) => break error,
        }
    };
    assert_eq!(error, StoreError::DiskFull);
    let error = loop {
        let event = Event::SettingChanged { key: format!("{applied}"), value: json!("x".repeat(9000)), at: at(0) };
        match store.apply(vec![event], vec![]).await {
            Ok(_) => applied += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, StoreError::DiskFull);
    for blob in &kept {
        assert!(store.blob(blob).await.unwrap().is_some());
    }
    assert_eq!(store.settings().await.unwrap().len(), applied);
    for blob in kept.iter().take(20) {
        fs::remove_file(blob_file(dir.path(), blob)).unwrap();
    }
    let event = Event::SettingChanged { key: "after".to_owned(), value: json!(1), at: at(0) };
    store.apply(vec![event], vec![]).await.unwrap();
    store.check_integrity().await.unwrap();
}

/// Prints what a commit costs alone and shared, and what an open store takes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn measure() {
    let resident = || {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or("VmRSS unknown").to_owned()
    };
    println!("before opening: {}", resident());
    let (_dir, store) = store().await;
    store.settings().await.unwrap();
    println!("open: {}", resident());
    let trade = || Trade::new(Role::Contractor, None, 3).until_accepted();
    let trades: Vec<_> = (0..2500).map(|_| trade()).collect();
    let (alone, together) = trades.split_at(500);
    let start = std::time::Instant::now();
    for events in alone {
        store.apply(events.clone(), vec![]).await.unwrap();
    }
    println!("alone: {:.0} requests/s of 5 events", 500.0 / start.elapsed().as_secs_f64());
    let (start, before) = (std::time::Instant::now(), store.writer_counts());
    let mut running = tokio::task::JoinSet::new();
    for events in together.iter().cloned() {
        let store = store.clone();
        running.spawn(async move { store.apply(events, vec![]).await.unwrap() });
    }
    running.join_all().await;
    let after = store.writer_counts();
    println!(
        "together: {:.0} requests/s of 5 events in {} commits",
        2000.0 / start.elapsed().as_secs_f64(),
        after.commits - before.commits
    );
    let start = std::time::Instant::now();
    let listed = store.contracts(tender_store::ContractFilter { limit: 100, ..Default::default() }).await.unwrap();
    println!("list of {}: {:?}", listed.len(), start.elapsed());
    let start = std::time::Instant::now();
    let guard = tender_store::Guard::Slots { text: false, limit: 9, now: at(0) };
    store.apply(vec![], vec![guard]).await.unwrap();
    println!("guard over {} contracts: {:?}", 2500, start.elapsed());
    println!("after the work, the test's own {} trades included: {}", trades.len(), resident());
}
