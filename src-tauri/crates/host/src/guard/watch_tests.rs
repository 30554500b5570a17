use super::*;
use crate::sensor::{Process, Reading, SensorError};
use std::{fs, sync::Mutex, thread};

/// A card that says what it is told.
#[derive(Default)]
struct Told(Mutex<(f64, f64, Vec<Process>)>);

impl Sensor for Told {
    fn read(&self) -> Result<Reading, SensorError> {
        let (heat, power, _) = &*self.0.lock().unwrap();
        if *heat == 0.0 {
            return Err(SensorError::Other("the card fell off the bus".to_owned()));
        }
        Ok(Reading { temperature_c: Some(*heat), power_watts: Some(*power), ..Reading::empty(Instant::now()) })
    }

    fn processes(&self) -> Result<Vec<Process>, SensorError> {
        Ok(self.0.lock().unwrap().2.clone())
    }

    fn name(&self) -> &str {
        "told"
    }

    fn address(&self) -> &str {
        "0000:01:00.0"
    }

    fn may_be(&self, _: &str) -> bool {
        true
    }
}

fn process(root: &Path, pid: u32, name: &str, parent: u32) {
    let folder = root.join(format!("proc/{pid}"));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("comm"), name).unwrap();
    fs::write(folder.join("stat"), format!("{pid} ({name}) S {parent} 1 1")).unwrap();
}

fn of(look: &Look, trigger: Trigger) -> Seen {
    look.0.iter().find(|seen| seen.trigger == trigger).unwrap().clone()
}

#[test]
fn a_game_is_seen_by_name_and_its_end_too() {
    let root = tempfile::tempdir().unwrap();
    process(root.path(), 30, "bash", 1);
    let mut watch = Watch::under(root.path());
    let limits = Limits { programs: vec!["doom".to_owned()], ..Limits::default() };
    let mut look = || watch.look(&limits, Duration::ZERO, Duration::ZERO, || Err("no card"));
    assert_eq!(look().sightings(), []);
    process(root.path(), 31, "doom", 30);
    thread::sleep(Duration::from_millis(500));
    let doom = Sighting { trigger: Trigger::Game, detail: "doom".to_owned() };
    assert_eq!(look().sightings(), [doom]);
    fs::remove_dir_all(root.path().join("proc/31")).unwrap();
    thread::sleep(Duration::from_millis(500));
    assert_eq!(look().sightings(), []);
    // A system that does not tell is no system without games.
    fs::remove_dir_all(root.path().join("proc")).unwrap();
    thread::sleep(Duration::from_millis(500));
    let seen = of(&look(), Trigger::Game);
    assert!(seen.on && seen.unavailable.is_some_and(|why| why.contains("does not tell")), "{:?}", seen.detail);
}

#[test]
fn another_program_on_the_card_is_told_from_our_own_and_from_the_desktop() {
    let root = tempfile::tempdir().unwrap();
    let this = std::process::id();
    for (pid, name, parent) in
        [(40, "worker", this), (41, "gnome-shell", 1), (42, "tender-worker", 1), (43, "blender", 1)]
    {
        process(root.path(), pid, name, parent);
    }
    let holds = |pid, mib: u64| Process { pid, memory_bytes: Some(mib << 20) };
    let card = Told::default();
    let told = |processes: Vec<Process>| *card.0.lock().unwrap() = (50.0, 100.0, processes);
    let limits = Limits { program_bytes: 1 << 30, ignored: vec!["gnome-shell".to_owned()], ..Limits::default() };
    let look = || {
        of(
            &Watch::under(root.path()).look(&limits, Duration::ZERO, Duration::ZERO, || Ok(&card)),
            Trigger::OtherProgram,
        )
    };
    told(vec![
        holds(40, 9000),
        holds(41, 9000),
        holds(42, 9000),
        holds(43, 1023),
        Process { pid: 44, memory_bytes: None },
    ]);
    assert_eq!((look().present, look().unavailable), (None, None));
    told(vec![holds(41, 9000), holds(43, 1024), holds(44, 3000)]);
    assert_eq!(look().present.as_deref(), Some("process 44, 3000 MiB"), "the largest, though nobody knows its name");
    told(vec![holds(43, 1024)]);
    assert_eq!(look().present.as_deref(), Some("blender, 1024 MiB"));
}

#[test]
fn a_sensor_that_fails_says_so_and_does_not_stop_the_sale() {
    let root = tempfile::tempdir().unwrap();
    let card = Told(Mutex::new((91.0, 100.0, Vec::new())));
    let mut watch = Watch::under(root.path());
    let limits = Limits { temperature_c: 87.0, card_watts: 300.0, ..Limits::default() };
    let look = watch.look(&limits, Duration::ZERO, Duration::ZERO, || Ok(&card));
    assert_eq!(of(&look, Trigger::Temperature).present.as_deref(), Some("91 °C, limit 87"));
    assert_eq!(of(&look, Trigger::Power).detail, "100 W now, limit 300.");
    assert!(!of(&look, Trigger::OtherProgram).on && !of(&look, Trigger::Activity).on);
    card.0.lock().unwrap().0 = 0.0;
    thread::sleep(Duration::from_millis(20));
    let look = watch.look(&limits, Duration::ZERO, Duration::ZERO, || Ok(&card));
    assert_eq!(look.sightings(), []);
    assert_eq!(of(&look, Trigger::Temperature).unavailable.as_deref(), Some("the card fell off the bus"));
    let look =
        Watch::under(root.path()).look(&limits, Duration::ZERO, Duration::ZERO, || Err("no sensor of this card"));
    assert_eq!(of(&look, Trigger::Power).unavailable.as_deref(), Some("no sensor of this card"));
}
