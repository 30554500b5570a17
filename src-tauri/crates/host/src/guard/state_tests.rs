use super::{Guard, Owner, Reach, Sighting, Standing, Trigger};
use proptest::prelude::*;
use std::time::Duration;

const DELAY: Duration = Duration::from_secs(60);
const SELLING: Owner = Owner { stopped: false, selling: true, paused: false, finishing: false };

fn seen(trigger: Trigger) -> Sighting {
    Sighting { trigger, detail: String::new() }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_sale_goes_on_by_itself_after_the_stated_delay() {
    let mut guard = Guard::default();
    guard.observe(at(0), &[], DELAY);
    assert_eq!(guard.standing(at(0), SELLING, false), Standing::Open);
    let doom = Sighting { trigger: Trigger::Game, detail: "doom".to_owned() };
    assert_eq!(doom.words(), "game in foreground (doom)");
    guard.observe(at(1), std::slice::from_ref(&doom), DELAY);
    assert_eq!(
        guard.standing(at(1), SELLING, true),
        Standing::Yielding { cause: &doom, resumes_in: None, delay: DELAY }
    );
    assert_eq!((guard.holds(), guard.cause(Reach::All)), (Some(Reach::All), Some(&doom)));
    guard.observe(at(100), &[], DELAY);
    guard.observe(at(159), &[], DELAY);
    let counting = Standing::Yielding { cause: &doom, resumes_in: Some(at(1)), delay: DELAY };
    assert_eq!(guard.standing(at(159), SELLING, false), counting);
    guard.observe(at(160), &[], DELAY);
    assert_eq!((guard.standing(at(160), SELLING, false), guard.holds()), (Standing::Open, None));
}

#[test]
fn the_strongest_gives_the_reason_and_own_jobs_go_on_earlier() {
    let mut guard = Guard::default();
    guard.observe(at(0), &[seen(Trigger::Activity), seen(Trigger::Game), seen(Trigger::Schedule)], DELAY);
    assert_eq!(guard.cause(Reach::Sold).map(|s| s.trigger), Some(Trigger::Game));
    guard.observe(at(10), &[seen(Trigger::Schedule)], DELAY);
    assert_eq!(guard.holds(), Some(Reach::All), "the delay after the game counts for own jobs, too");
    assert_eq!(guard.cause(Reach::Sold).map(|s| s.trigger), Some(Trigger::Schedule));
    guard.observe(at(70), &[seen(Trigger::Schedule)], DELAY);
    assert_eq!(guard.holds(), Some(Reach::Sold));
}

#[test]
fn heat_that_comes_back_with_the_work_waits_twice_as_long_each_time() {
    let mut guard = Guard::default();
    let mut now = at(0);
    for factor in [1, 2, 4, 8, 16, 32, 32] {
        guard.observe(now, &[seen(Trigger::Temperature)], DELAY);
        guard.observe(now, &[], DELAY);
        let resumes_in = Some(DELAY * factor);
        assert!(
            matches!(guard.standing(now, SELLING, false), Standing::Yielding { resumes_in: r, .. } if r == resumes_in)
        );
        now += DELAY * factor;
        guard.observe(now, &[], DELAY);
        assert_eq!(guard.holds(), None);
    }
    now += at(301);
    guard.observe(now, &[seen(Trigger::Temperature)], DELAY);
    guard.observe(now, &[], DELAY);
    assert!(matches!(guard.standing(now, SELLING, false), Standing::Yielding { delay: DELAY, .. }), "cool for long");
}

#[test]
fn a_self_test_goes_on_at_once_and_a_game_meanwhile_does_not() {
    let mut guard = Guard::default();
    guard.observe(at(0), &[seen(Trigger::Test)], DELAY);
    assert_eq!(guard.holds(), Some(Reach::All));
    guard.end_test();
    assert_eq!(guard.holds(), None);
    guard.observe(at(1), &[seen(Trigger::Test), seen(Trigger::Game)], DELAY);
    guard.end_test();
    assert_eq!(guard.holds(), Some(Reach::All));
}

fn triggers() -> impl Strategy<Value = Vec<Sighting>> {
    let one = proptest::sample::select(Trigger::ALL.to_vec()).prop_map(seen);
    prop_oneof![3 => Just(Vec::new()), 2 => proptest::collection::vec(one, 1..4)]
}

fn owners() -> impl Strategy<Value = Owner> {
    any::<[bool; 4]>().prop_map(|[stopped, selling, paused, finishing]| Owner { stopped, selling, paused, finishing })
}

proptest! {
    /// Whatever comes in whatever order: nothing runs that must not, and everything goes on by itself.
    #[test]
    fn nothing_runs_while_a_trigger_is_there_and_everything_goes_on_by_itself(
        looks in proptest::collection::vec((0_u64..40, triggers(), owners(), any::<bool>()), 1..60)
    ) {
        let mut guard = Guard::default();
        let mut now = Duration::ZERO;
        let (mut clear_since, mut sold_clear_since) = (None::<Duration>, None::<Duration>);
        for (after, present, owner, running) in looks {
            now += at(after);
            guard.observe(now, &present, DELAY);
            let all = present.iter().any(|s| s.trigger.reach() == Reach::All);
            clear_since = if all { None } else { clear_since.or(Some(now)) };
            sold_clear_since = if present.is_empty() { sold_clear_since.or(Some(now)) } else { None };

            // Never while a trigger is there.
            prop_assert!(present.is_empty() || guard.holds().is_some());
            prop_assert!(!all || guard.holds() == Some(Reach::All));
            let standing = guard.standing(now, owner, running);
            prop_assert!(present.is_empty() || standing != Standing::Open);
            // By itself, after the delay at most 32 times over.
            if sold_clear_since.is_some_and(|since| now - since >= DELAY * 32) {
                prop_assert_eq!(guard.holds(), None);
                prop_assert!(owner != SELLING || standing == Standing::Open);
            }
            if clear_since.is_some_and(|since| now - since >= DELAY * 32) {
                prop_assert!(guard.holds() != Some(Reach::All));
            }
            // The owner's word comes first.
            let by_hand = match owner {
                Owner { stopped: true, .. } => Some(Standing::Stopped),
                Owner { selling: false, .. } => Some(Standing::Off),
                Owner { paused: true, .. } => Some(Standing::Paused),
                Owner { finishing: true, .. } if !running => Some(Standing::Finished),
                _ => None,
            };
            prop_assert!(by_hand.is_none_or(|by_hand| by_hand == standing));
            // Nothing new is taken while the owner lets it run out.
            prop_assert!(!owner.finishing || standing != Standing::Open);
        }
    }

    /// What is announced is kept: the sale goes on then, and no look earlier.
    #[test]
    fn the_announced_time_is_kept(trigger in proptest::sample::select(Trigger::ALL.to_vec()), lasts in 1_u64..500) {
        let mut guard = Guard::default();
        guard.observe(at(0), &[seen(trigger)], DELAY);
        guard.observe(at(lasts), &[], DELAY);
        let Standing::Yielding { resumes_in: Some(wait), .. } = guard.standing(at(lasts), SELLING, false) else {
            return Err(TestCaseError::fail("it goes on without a delay"));
        };
        prop_assert_eq!(wait, DELAY);
        let moment = at(lasts) + wait;
        guard.observe(moment.saturating_sub(Duration::from_millis(1)), &[], DELAY);
        prop_assert!(guard.holds().is_some());
        guard.observe(moment, &[], DELAY);
        prop_assert!(guard.holds().is_none());
    }
}
