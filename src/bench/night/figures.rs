//! What a night gives: a row, the sum over all, and a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use lampguard_alerting::Incident;
use lampguard_model::{Millis, Timestamp};

use super::check::{Verdict, needs_crew};
use super::world::Night;
use super::{Options, first_faults};
use crate::bench::row::Row;
use crate::score::{self, Arrivals, Family, Going, Hazard, Reporting, Told, score};

/// The promise.
const HALF_HOUR: Millis = Millis::minutes(30);

/// Late arrivals of a night that are told one by one; the rest is in the counts.
const LATE_NAMED: usize = 20;

/// When what happened to an incident at which somebody came late, or nobody: minutes since it opened.
fn late_text(incident: &Incident) -> Option<String> {
    let life = &incident.life;
    let arrived = life.arrived.as_ref().map(|arrival| arrival.mark.at);
    if life.breached_at.is_none() && arrived.is_none_or(|at| at <= incident.due_at) {
        return None;
    }
    let minutes = |at: Timestamp| format!("{:+.1}", at.since(incident.opened_at).0 as f64 / 60_000.0);
    let or_never = |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), minutes);
    Some(format!(
        "late: {} {}, zone {}: P1 {}, due {}, acknowledged {}, departed {}, arrived {} min after it opened, by {}",
        incident.id,
        incident.evidence.kind.name(),
        incident.zone,
        or_never(incident.p1_at),
        minutes(incident.due_at),
        or_never(life.acknowledged.as_ref().map(|mark| mark.at)),
        or_never(life.departed.as_ref().map(|mark| mark.at)),
        or_never(arrived),
        life.crew.as_deref().unwrap_or("nobody"),
    ))
}

/// What is counted in one night, or in all.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    readings: u64,
    /// P1s that somebody has to go to.
    pub(super) p1: usize,
    /// From P1 to arrival, minutes.
    arrivals_min: Vec<f64>,
    within_half_hour: usize,
    arrivals: Arrivals,
    breached: usize,
    /// Most messages to one person within ten minutes, and to whom.
    messages_max: usize,
    busiest: String,
    messages: usize,
    floods: usize,
    /// Sent, accepted, failed attempts by channel.
    channels: BTreeMap<Arc<str>, [u64; 3]>,
    moves: u64,
    refused: u64,
    taps: u64,
    asked: u64,
    answered: u64,
    /// Who came late, in words.
    pub(super) late_named: Vec<String>,
    took: Duration,
}

fn given(name: &str) -> Option<String> {
    Some(name.to_owned()).filter(|name| !name.is_empty())
}

/// An incident as the score takes it.
fn as_scored(night: &Night, incident: &Incident) -> Told {
    let life = &incident.life;
    let accepted = night.log.incidents.get(&incident.id).map(|history| history.accepted.as_slice());
    let first = |since| accepted.into_iter().flatten().copied().filter(|at| *at >= since).min();
    let kind = incident.evidence.kind.name();
    let crew = life
        .crew
        .as_deref()
        .map(|name| night.office.crew_of(name).map_or_else(|| name.to_owned(), |crew| crew.to_string()));
    Told {
        id: incident.id.to_string(),
        kind: kind.to_owned(),
        family: Family::of(kind),
        posts: given(&incident.post_id)
            .into_iter()
            .chain(incident.members.iter().map(|m| m.to_string()))
            .collect(),
        feeder: given(&incident.feeder),
        zone: given(&incident.zone),
        place: None,
        p1_at: incident.p1_at(),
        first_notice_at: first(incident.opened_at),
        p1_notice_at: incident.p1_at().and_then(first),
        voided: false,
        going: Going {
            crew,
            due_at: Some(incident.due_at),
            departed_at: life.departed.as_ref().map(|mark| mark.at),
            arrived_at: life.arrived.as_ref().map(|arrival| arrival.mark.at),
            made_safe_at: life.safe.as_ref().map(|safe| safe.mark.at),
            breached: life.breached_at.is_some(),
        },
    }
}

impl Figures {
    /// Of one night that is over.
    pub(super) fn of(
        night: &Night,
        hazards: &[Hazard],
        reporting: &Reporting,
        days: f64,
        took: Duration,
    ) -> Self {
        let gone_to: Vec<&Incident> = night.board.values().filter(|incident| needs_crew(incident)).collect();
        let told: Vec<Told> = gone_to.iter().map(|incident| as_scored(night, incident)).collect();
        let exposure = score::watched(&night.register, days);
        let scores = score(hazards, &told, Some(&night.log.messages), Some(exposure), Some(reporting));
        let arrived = |incident: &&&Incident| {
            let arrived = incident.life.arrived.as_ref()?.mark.at;
            Some(arrived.since(incident.p1_at?))
        };
        let times: Vec<Millis> = gone_to.iter().filter_map(|incident| arrived(&incident)).collect();
        let messages = scores.messages.clone();
        Self {
            readings: night.readings,
            p1: gone_to.len(),
            arrivals_min: times.iter().map(|time| time.0 as f64 / 60_000.0).collect(),
            within_half_hour: times.iter().filter(|time| **time <= HALF_HOUR).count(),
            arrivals: scores.arrivals.unwrap_or_default(),
            breached: gone_to.iter().filter(|incident| incident.life.breached_at.is_some()).count(),
            messages_max: messages.as_ref().map_or(0, |messages| messages.max),
            busiest: messages.as_ref().and_then(|messages| messages.busiest.clone()).unwrap_or_default(),
            messages: messages.map_or(0, |messages| messages.count),
            floods: night.log.floods.iter().filter(|(_, on)| *on).count(),
            channels: night.log.channels.clone(),
            moves: night.log.moves,
            refused: night.log.refused,
            taps: night.log.taps,
            asked: night.log.asked,
            answered: night.log.answered,
            late_named: gone_to.iter().filter_map(|one| late_text(one)).take(LATE_NAMED).collect(),
            took,
        }
    }

    #[cfg(test)]
    pub(super) fn arrived(&self) -> usize {
        self.arrivals.arrived
    }

    #[cfg(test)]
    pub(super) fn late(&self) -> usize {
        self.arrivals.late
    }

    /// What a second run has too.
    #[cfg(test)]
    pub(super) fn without_time(self) -> Self {
        Self { took: Duration::ZERO, ..self }
    }

    fn add(&mut self, other: Self) {
        self.readings += other.readings;
        self.p1 += other.p1;
        self.arrivals_min.extend(other.arrivals_min);
        self.within_half_hour += other.within_half_hour;
        let (all, one) = (&mut self.arrivals, other.arrivals);
        for (all, one) in [
            (&mut all.incidents, one.incidents),
            (&mut all.arrived, one.arrived),
            (&mut all.in_time, one.in_time),
            (&mut all.late, one.late),
            (&mut all.system, one.system),
            (&mut all.capacity, one.capacity),
            (&mut all.crew, one.crew),
            (&mut all.unknown, one.unknown),
        ] {
            *all += one;
        }
        self.breached += other.breached;
        if other.messages_max > self.messages_max {
            (self.messages_max, self.busiest) = (other.messages_max, other.busiest);
        }
        self.messages += other.messages;
        self.floods += other.floods;
        for (channel, counts) in other.channels {
            let all = self.channels.entry(channel).or_default();
            all.iter_mut().zip(counts).for_each(|(all, one)| *all += one);
        }
        self.moves += other.moves;
        self.refused += other.refused;
        self.taps += other.taps;
        self.asked += other.asked;
        self.answered += other.answered;
        self.took += other.took;
    }

    /// The middle one, the ninth of ten, the longest, minutes.
    fn times(&self) -> Option<[f64; 3]> {
        let mut sorted = self.arrivals_min.clone();
        sorted.sort_by(f64::total_cmp);
        let at =
            |of_hundred: usize| sorted.get((sorted.len() * of_hundred).div_ceil(100).max(1) - 1).copied();
        Some([at(50)?, at(90)?, at(100)?])
    }

    fn row(&self, mut row: Row, verdict: &Verdict) -> Row {
        let late = &self.arrivals;
        for (key, number) in [
            ("readings", self.readings as f64),
            ("p1", self.p1 as f64),
            ("arrived", late.arrived as f64),
            ("arrived_30_min", self.within_half_hour as f64),
            ("late", late.late as f64),
            ("late_system", late.system as f64),
            ("late_capacity", late.capacity as f64),
            ("late_crew", late.crew as f64),
            ("late_unknown", late.unknown as f64),
            ("breached", self.breached as f64),
            ("told_at_once", verdict.told_at_once as f64),
            ("rungs_exact", verdict.exact as f64),
            ("rungs_listed", verdict.listed as f64),
            ("rungs_jumped", verdict.jumped as f64),
            ("rung_latest_ms", verdict.latest.0 as f64),
            ("floods", self.floods as f64),
            ("messages", self.messages as f64),
            ("messages_10_min_max", self.messages_max as f64),
            ("messages_10_min_flood_max", verdict.flood_max as f64),
            ("moves", self.moves as f64),
            ("moves_refused", self.refused as f64),
            ("taps_repeated", self.taps as f64),
            ("handed_over", verdict.handovers[0] as f64),
            ("handed_over_taken", verdict.handovers[1] as f64),
            ("handed_over_desk_told", verdict.handovers[2] as f64),
            ("isolations", verdict.isolations[0] as f64),
            ("isolations_live_again", verdict.isolations[1] as f64),
            ("isolations_live_again_told", verdict.isolations[2] as f64),
            ("isolation_offers", verdict.offers as f64),
            ("isolation_asked", self.asked as f64),
            ("isolation_answered", self.answered as f64),
            ("took_s", self.took.as_secs_f64()),
            ("faults", (verdict.faults.len() + verdict.more_faults) as f64),
        ] {
            row = row.number(key, number);
        }
        for (name, minutes) in ["p50", "p90", "max"].iter().zip(self.times().into_iter().flatten()) {
            row = row.number(&format!("arrival_{name}_min"), minutes);
        }
        for (channel, [sent, accepted, failed]) in &self.channels {
            for (word, count) in [("sent", sent), ("accepted", accepted), ("failed", failed)] {
                row = row.number(&format!("{channel}_{word}"), *count as f64);
            }
        }
        row
    }
}

/// How bad a night was: what did not hold, who came late, who took longest.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
struct Rank {
    faults: usize,
    late: usize,
    longest_min: f64,
}

/// All nights.
pub(super) struct Sum {
    head: Row,
    nights: usize,
    /// Seed of the worst of them.
    worst: Option<(u64, Rank)>,
    figures: Figures,
    verdict: Verdict,
}

impl Sum {
    pub(super) fn of(options: &Options, days: f64) -> Self {
        let head = Row::of("night").text("city", &options.scenario).text("mark", "SIM");
        let head = head.number("posts", f64::from(options.posts)).number("days", days);
        Self { head, nights: 0, worst: None, figures: Figures::default(), verdict: Verdict::default() }
    }

    /// Adds a night; its row.
    pub(super) fn add(&mut self, seed: u64, figures: Figures, verdict: Verdict) -> Row {
        let row = figures.row(self.head.clone().number("seed", seed as f64), &verdict);
        self.nights += 1;
        let rank = Rank {
            faults: verdict.faults.len() + verdict.more_faults,
            late: figures.arrivals.late,
            longest_min: figures.times().map_or(0.0, |[.., longest]| longest),
        };
        if self.worst.is_none_or(|(_, known)| rank > known) {
            self.worst = Some((seed, rank));
        }
        self.figures.add(figures);
        self.verdict.add(verdict);
        row
    }

    /// The row of all.
    pub(super) fn total(&self) -> Row {
        let row = self.head.clone().text("seed", "all").number("nights", self.nights as f64);
        let row = self.worst.iter().fold(row, |row, (seed, _)| row.number("worst_seed", *seed as f64));
        self.figures.row(row, &self.verdict)
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let (all, verdict) = (&self.figures, &self.verdict);
        let late = &all.arrivals;
        let mut text = format!("\n{}\n", score::SIMULATED);
        let mut line = |label: &str, cell: String| {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{label:<46}{cell:>24}");
        };
        line("nights", self.nights.to_string());
        line("P1 that a crew has to go to", all.p1.to_string());
        line("  told at 0 by two channels", verdict.told_at_once.to_string());
        line("arrived / within 30 min", format!("{} / {}", late.arrived, all.within_half_hour));
        let parts = format!("{} / {} / {} / {}", late.system, late.capacity, late.crew, late.unknown);
        line("late: system / capacity / crew / unknown", parts);
        if let Some([middle, ninth, longest]) = all.times() {
            line("arrival p50 / p90 / longest, min", format!("{middle:.1} / {ninth:.1} / {longest:.1}"));
        }
        line("breached", all.breached.to_string());
        let rungs = format!("{} / {} / {}", verdict.exact, verdict.listed, verdict.jumped);
        line("rungs in their second / in lists / jumped", rungs);
        line("  latest behind its moment, ms", verdict.latest.0.to_string());
        let most = format!("{} ({})", all.messages_max, all.busiest);
        line("messages to one person in 10 min, most", most);
        line("  in a flood", format!("{} ({} floods)", verdict.flood_max, all.floods));
        for (channel, [sent, accepted, failed]) in &all.channels {
            line(
                &format!("{channel}: notices / accepted / failed tries"),
                format!("{sent} / {accepted} / {failed}"),
            );
        }
        line("moves / refused / second taps", format!("{} / {} / {}", all.moves, all.refused, all.taps));
        let [told, taken, desk] = verdict.handovers;
        line("changes of shift / taken / desk told", format!("{told} / {taken} / {desk}"));
        let [dead, live, heard] = verdict.isolations;
        line("isolations / live again / all told", format!("{dead} / {live} / {heard}"));
        let offers = format!("{} / {} / {}", verdict.offers, all.asked, all.answered);
        line("switching off offered / asked / answered", offers);
        if let Some((seed, rank)) = &self.worst {
            let Rank { faults, late, longest_min } = rank;
            line(
                "worst seed: faults, late, longest min",
                format!("{seed}: {faults}, {late}, {longest_min:.1}"),
            );
        }
        line("what had to hold and did not", (verdict.faults.len() + verdict.more_faults).to_string());
        text
    }

    /// An error when something did not hold.
    pub(super) fn judge(&self) -> Result<()> {
        if self.verdict.faults.is_empty() {
            return Ok(());
        }
        bail!("bench night: {}", first_faults(&self.verdict))
    }
}
