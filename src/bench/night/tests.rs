//! Short nights that hold, and nights that are broken on purpose: those have to be found.

use super::*;

fn options(posts: u32, storm: u32) -> Options {
    Options { scenario: "autumn_rain".to_owned(), seed: 1, seeds: 1, posts, days: None, storm, json: None }
}

/// An afternoon and half the night; in the middle of it a storm of dangers.
fn evening(seed: u64, storm: u32, broken: Broken) -> (Figures, Verdict) {
    let options = options(120, storm);
    let scenario = crate::simulate::scenario(&options.scenario).unwrap();
    one(&options, &scenario, 0.6, seed, broken).unwrap()
}

#[test]
fn an_evening_with_few_and_with_many_dangers_is_told_by_the_rules() {
    for (seed, storm) in [(1, 4), (2, 8), (3, 30)] {
        let (figures, verdict) = evening(seed, storm, Broken::Nothing);
        assert!(verdict.faults.is_empty(), "seed {seed}, storm of {storm}: {:#?}", verdict.faults);
        assert!(figures.p1 >= storm as usize / 2, "seed {seed}: the night had {} P1", figures.p1);
        assert!(figures.arrived() > 0 && verdict.told_at_once > 0, "seed {seed}: somebody went");
        if storm == 30 {
            assert!(verdict.flood_max > 0 && verdict.listed > 0, "a flood had its lists");
            assert!(figures.late() > 0, "thirty dangers are more than two crews reach in half an hour");
        }
    }
}

#[test]
fn a_night_has_changes_of_shift_in_the_middle_of_incidents_and_feeders_that_are_live_again_under_their_crew()
{
    // In one evening everybody may take over within the ten minutes.
    let (_, mut verdict) = evening(4, 30, Broken::Nothing);
    verdict.add(evening(5, 30, Broken::Nothing).1);
    let ([told, taken, desk], [dead, live, heard]) = (verdict.handovers, verdict.isolations);
    assert!(told > 0 && taken > 0 && desk > 0, "{told} {taken} {desk}");
    assert!(dead > live && live > 0 && heard == live, "{dead} {live} {heard}");
    assert!(verdict.offers > 0 && verdict.faults.is_empty(), "{:#?}", verdict.faults);
}

#[test]
fn a_night_that_is_broken_on_purpose_is_found() {
    for (broken, storm, words) in [
        (Broken::Ladder, 30, "was not told in its second"),
        (Broken::Chat, 4, "two channels"),
        (Broken::Limit, 30, "messages in the ten minutes"),
        (Broken::Twice, 4, "times sent as attempt 1"),
        (Broken::Shifts, 12, "hands over to"),
        (Broken::Extent, 30, "did not hear at once that the feeder is live again"),
    ] {
        let (_, verdict) = evening(3, storm, broken);
        let found = verdict.faults.iter().any(|fault| fault.contains(words));
        assert!(found, "{broken:?}: {:#?}", verdict.faults);
    }
}

#[test]
fn the_same_seed_has_the_same_night_and_a_fault_ends_the_bench_with_its_words() {
    let row = |seed| {
        let (figures, verdict) = evening(seed, 6, Broken::Nothing);
        let mut sum = Sum::of(&options(120, 6), 0.6);
        let row = sum.add(seed, figures.without_time(), verdict).to_string();
        assert!(sum.table().starts_with("\n模拟数据") && sum.judge().is_ok());
        let worst = format!("{seed}: 0,");
        assert!(sum.table().lines().any(|line| line.starts_with("worst seed") && line.contains(&worst)));
        row
    };
    assert_eq!(row(5), row(5));
    assert_ne!(row(5), row(6));
    let mut sum = Sum::of(&options(120, 4), 0.6);
    let (figures, verdict) = evening(2, 4, Broken::Chat);
    sum.add(2, figures, verdict);
    let fault = sum.judge().unwrap_err().to_string();
    assert!(fault.starts_with("bench night: ") && fault.contains("two channels"), "{fault}");
}
