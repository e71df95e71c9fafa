//! When samples above a limit are believed (`policy.md` 2, *Confirmed*).

use lampguard_model::{Millis, Timestamp};

use crate::engine::Checked;
use crate::policy;
use crate::sample::{Bits, Sample};

/// The rule that confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Two of the last three valid samples.
    TwoOfThree,
    /// Two, at least 60 s apart, within the last five valid samples and 30 min.
    TwoWithinThirtyMinutes,
    /// One, with the device's own flag for that quantity.
    DeviceFlag,
    /// One, from a sensor that reports less often than every 10 min.
    SingleSample,
    /// One, typed in by a person.
    Manual,
}

impl Rule {
    /// The word in the event log.
    pub fn name(self) -> &'static str {
        match self {
            Self::TwoOfThree => "two_of_three",
            Self::TwoWithinThirtyMinutes => "two_within_30_min",
            Self::DeviceFlag => "device_flag",
            Self::SingleSample => "single_sample",
            Self::Manual => "manual",
        }
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// The numbers in force.
    pub(crate) rules: &'a policy::Confirm,
    /// The last samples, oldest first.
    pub(crate) samples: &'a [Sample],
    /// The limit in force, thousandths.
    pub(crate) limit: i64,
    /// How often the sensor reports.
    pub(crate) period: Millis,
    /// Place of the sample that has just come; `None` when the limit changed (*a change of wet*).
    pub(crate) came: Option<usize>,
}

/// The answer: believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Confirmed {
    pub(crate) rule: Rule,
    /// The oldest sample that the rule needed: it names the incident.
    pub(crate) opening: Sample,
    /// The newest sample above: it is shown.
    pub(crate) shown: Sample,
}

/// Asks every rule, the single-sample ones first: then the order in which two samples arrive decides nothing.
pub(crate) fn confirm(q: &Question<'_>) -> Option<Confirmed> {
    let newest_of = |count: u32| &q.samples[q.samples.len().saturating_sub(count as usize)..];
    let (recent, among) = (newest_of(q.rules.of), newest_of(q.rules.pair_among));
    let (alone, all) = match q.came {
        Some(place) => (q.samples.get(place..=place)?, among),
        None => (recent, recent),
    };
    let single = alone.iter().rev().find_map(|s| Some((*s, one(*s, q)?)));
    if let Some((sample, rule)) = single {
        return Some(Confirmed { rule, opening: sample, shown: sample });
    }
    let pair = |among: &[Sample], need: u32| {
        let mut above = among.iter().filter(|s| s.is_above(q.limit));
        if above.clone().count() < need as usize {
            return None;
        }
        let first = *above.next()?;
        Some((first, *above.next_back().unwrap_or(&first)))
    };
    let found = |rule| move |(opening, shown)| Confirmed { rule, opening, shown };
    let newest = q.samples.last()?.at();
    let since = all.partition_point(|s| newest.since(s.at()) > q.rules.pair_within);
    pair(recent, q.rules.need).map(found(Rule::TwoOfThree)).or_else(|| {
        pair(&all[since..], 2)
            .filter(|(first, last)| last.at().since(first.at()) >= q.rules.pair_apart)
            .map(found(Rule::TwoWithinThirtyMinutes))
    })
}

/// The rule by which this sample is believed alone, if there is one.
fn one(sample: Sample, q: &Question<'_>) -> Option<Rule> {
    if !sample.is_above(q.limit) {
        return None;
    }
    if sample.has(Bits::MANUAL) {
        return Some(Rule::Manual);
    }
    if sample.has(Bits::FLAGGED) {
        return Some(Rule::DeviceFlag);
    }
    (q.period > q.rules.long_period).then_some(Rule::SingleSample)
}

/// What every rule has and misses, for people; the newest sample counts as the one that has just come.
pub(crate) fn checks(q: &Question<'_>) -> Vec<Checked> {
    let newest_of = |count: u32| &q.samples[q.samples.len().saturating_sub(count as usize)..];
    let above = |among: &[Sample]| among.iter().filter(|s| s.is_above(q.limit)).count();
    let newest = q.samples.last().filter(|s| s.is_above(q.limit));
    let policy::Confirm { need, of, pair_among, pair_apart, pair_within, long_period, .. } = *q.rules;
    let have = above(newest_of(of));
    let two = need as usize <= have;
    let missing = (need as usize).saturating_sub(have);
    let last = q.samples.last().map_or(Timestamp(0), |last| last.at());
    let counts = |s: &&Sample| s.is_above(q.limit) && last.since(s.at()) <= pair_within;
    let pair: Vec<Sample> = newest_of(pair_among).iter().filter(counts).copied().collect();
    let apart =
        pair.first().zip(pair.last()).map_or(0, |(first, last)| last.at().since(first.at()).as_seconds());
    let (least, most) = (pair_apart.as_seconds(), pair_within.as_seconds());
    let (period, long) = (q.period.as_seconds(), long_period.as_seconds());
    let check = |rule: Rule, holds: bool, en: String, zh: String| Checked {
        rule: rule.name().to_owned(),
        holds,
        en,
        zh,
    };
    let by_newest = |bits: Bits| newest.is_some_and(|s| s.has(bits));
    vec![
        check(
            Rule::TwoOfThree,
            two,
            format!("{have} of the last {of} at or above the limit, {need} needed, {missing} missing"),
            format!("最近 {of} 个样本中 {have} 个达到限值，需 {need} 个，还差 {missing} 个"),
        ),
        check(
            Rule::TwoWithinThirtyMinutes,
            pair.len() > 1 && (least..=most).contains(&apart),
            format!(
                "{} above in the last {pair_among}, {apart} s apart; 2 needed, {least} to {most} s apart",
                pair.len()
            ),
            format!(
                "最近 {pair_among} 个样本中 {} 个达到限值，相隔 {apart} 秒；需 2 个，相隔 {least} 至 {most} 秒",
                pair.len()
            ),
        ),
        check(
            Rule::DeviceFlag,
            by_newest(Bits::FLAGGED),
            "needs the newest one at or above the limit with the device's own flag".to_owned(),
            "需最新样本达到限值且设备告警位有效".to_owned(),
        ),
        check(
            Rule::SingleSample,
            newest.is_some() && period > long,
            format!(
                "needs the newest one at or above the limit and a period over {long} s; it is {period} s"
            ),
            format!("需最新样本达到限值且周期大于 {long} 秒；现为 {period} 秒"),
        ),
        check(
            Rule::Manual,
            by_newest(Bits::MANUAL),
            "needs the newest one at or above the limit, typed in by a person".to_owned(),
            "需最新样本为人工检测且达到限值".to_owned(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples one minute apart unless a gap in seconds is given; limit 30, period 5 min.
    fn ask(values: &[i64], gap_s: i64, period: Millis, came: bool) -> Option<Rule> {
        let at = |n: usize| Timestamp(1_795_435_200_000) + Millis::seconds(gap_s * n as i64);
        let make = |(n, v): (usize, &i64)| Sample::new(at(n), *v, (n as u64 + 1) << 5, Bits::POWERED);
        let samples: Vec<Sample> = values.iter().enumerate().map(make).collect();
        let question = Question {
            rules: &policy::Confirm::default(),
            samples: &samples,
            limit: 30,
            period,
            came: came.then(|| samples.len() - 1),
        };
        confirm(&question).map(|c| c.rule)
    }

    #[test]
    fn every_rule_of_the_table_confirms_and_its_neighbour_does_not() {
        let five = Millis::minutes(5);
        type Case = (&'static [i64], i64, Millis, bool, Option<Rule>);
        let cases: [Case; 10] = [
            (&[30], 60, five, true, None),
            (&[30, 30], 1, five, true, Some(Rule::TwoOfThree)),
            (&[30, 29, 30], 60, five, true, Some(Rule::TwoOfThree)),
            (&[30, 1, 1, 30], 60, five, true, Some(Rule::TwoWithinThirtyMinutes)),
            (&[30, 1, 1, 30], 19, five, true, None),
            (&[30, 1, 1, 30], 601, five, true, None),
            (&[30, 1, 1, 30], 60, five, false, None),
            (&[30, 1, 30], 60, five, false, Some(Rule::TwoOfThree)),
            (&[1, 30], 700, Millis::minutes(10), true, None),
            (&[1, 30], 700, Millis::seconds(601), true, Some(Rule::SingleSample)),
        ];
        for (values, gap_s, period, came, rule) in cases {
            assert_eq!(ask(values, gap_s, period, came), rule, "{values:?} every {gap_s} s");
        }
    }
}
