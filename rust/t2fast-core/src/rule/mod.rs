//! How one answer is chosen from k samples, and the share of questions that it gets right.
//!
//! A rule is a function v(p, k): the value of the answer given to a question whose samples are right with probability p.
//! Over questions p is Beta(a, b) distributed. With `v = v(0) (1 - p) + v(1) p + rest`, the rest vanishes at both ends at
//! least as fast as a power of p and of 1 - p, and its integral over the logit of p is a trapezoid sum that converges
//! exponentially: [`logit`] holds its nodes, each rule its values there.

// Counts here are far below 2^53.
#![allow(clippy::cast_precision_loss)]

mod best;
mod counts;
mod logit;
mod search;
mod sheet;
mod verifier;
mod vote;

use std::sync::Arc;

pub use counts::Counted;
pub use search::Shape;
pub use verifier::{Fallback, Verifier};

use crate::error::{Result, non_negative};
use sheet::Sheet;
use verifier::{Nodes, Sum, View, What};

/// A rule.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// A test that errs: the first sample accepted. pass@k is the test that does not.
    Verifier(Verifier),
    /// A plurality vote, ties at random.
    Majority {
        /// Shares of the wrong answers, a tail for each rate.
        tails: Vec<Vec<f64>>,
        /// Rising success rates at which the tails hold; empty for a single one.
        rates: Vec<f64>,
    },
    /// The best of k by a score.
    BestOf {
        /// How far apart right and wrong answers score, in standard deviations.
        d_prime: f64,
    },
}

/// Room that evaluations work in, kept from one to the next.
pub type Room = Vec<f64>;

/// A rule with what a wrong answer costs: right answers count 1, wrong ones `-wrong_cost`.
#[derive(Debug, Clone)]
pub struct Priced {
    rule: Rule,
    wrong_cost: f64,
    table: Arc<Table>,
}

/// What evaluations need.
// There is one of them for each rule.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
enum Table {
    /// Of a verifier.
    Nodes(Nodes),
    /// Of the others.
    Sheet(Sheet),
}

impl PartialEq for Priced {
    fn eq(&self, other: &Self) -> bool {
        self.rule == other.rule && self.wrong_cost == other.wrong_cost
    }
}

/// More samples than this are as good as any number.
pub const MOST_K: f64 = 1e9;

/// What is forgiven, relatively, where a whole number of samples is asked for.
const ROUNDING: f64 = 1e-12;

impl Priced {
    /// Checks the price, and prepares what evaluations need.
    ///
    /// # Errors
    /// [`Error::Value`](crate::Error::Value) for a price that is negative or not finite.
    pub fn new(rule: Rule, wrong_cost: f64) -> Result<Self> {
        non_negative("wrong_cost", wrong_cost)?;
        let table = match &rule {
            Rule::Verifier(verifier) => Table::Nodes(Nodes::new(&verifier.checked()?, wrong_cost)),
            Rule::Majority { tails, rates } => Table::Sheet(vote::sheet(tails, rates)),
            Rule::BestOf { d_prime } => Table::Sheet(best::sheet(non_negative("d_prime", *d_prime)?)),
        };
        Ok(Self { rule, wrong_cost, table: Arc::new(table) })
    }

    /// The rule.
    #[must_use]
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// What a wrong answer costs.
    #[must_use]
    pub fn wrong_cost(&self) -> f64 {
        self.wrong_cost
    }

    /// How the value moves as samples are added.
    #[must_use]
    pub fn shape(&self) -> Shape {
        match &self.rule {
            Rule::Verifier(verifier) => verifier.shape(self.wrong_cost),
            Rule::Majority { .. } => Shape::Unknown,
            // The best score rises with k, and with it the odds that it is that of a right answer.
            Rule::BestOf { .. } => Shape::Rising,
        }
    }

    /// Whether samples beyond the first change anything: a score that is noise, or a test that accepts right and wrong answers
    /// alike, leaves any number of samples worth one.
    #[must_use]
    pub fn depends_on_k(&self) -> bool {
        match &self.rule {
            Rule::Verifier(verifier) => !verifier.indifferent(),
            Rule::BestOf { d_prime } => *d_prime > 0.0,
            Rule::Majority { .. } => true,
        }
    }

    /// The number of samples that as many are worth: one where more change nothing, so that every digit is the same.
    fn worth_as(&self, k: f64) -> f64 {
        if self.depends_on_k() { k } else { 1.0 }
    }

    /// The nodes of a verifier.
    fn verifier(&self) -> Option<&Nodes> {
        match &*self.table {
            Table::Nodes(nodes) => Some(nodes),
            Table::Sheet(_) => None,
        }
    }

    /// Whether sampling can stop at an answer before all k samples are drawn.
    #[must_use]
    pub fn can_stop(&self) -> bool {
        matches!(self.rule, Rule::Verifier(_))
    }

    /// The mean value of questions with Beta(a, b) distributed success rates at a real `k >= 1`; within 1e-10.
    pub fn value(&self, a: f64, b: f64, k: f64, room: &mut Room) -> f64 {
        let k = self.worth_as(k);
        match &*self.table {
            Table::Nodes(nodes) => nodes.value(a, b, k, room),
            Table::Sheet(sheet) => self.priced(sheet.weighed(a, b).value(k)),
        }
    }

    /// The value of a share of right answers, all others being wrong.
    fn priced(&self, right: f64) -> f64 {
        right - self.wrong_cost * (1.0 - right)
    }

    /// The value at each of several k.
    pub fn values(&self, a: f64, b: f64, k: &[f64], out: &mut [f64], room: &mut Room) {
        if !self.depends_on_k() {
            return out.fill(self.value(a, b, 1.0, room));
        }
        let nodes = match &*self.table {
            Table::Nodes(nodes) => nodes,
            Table::Sheet(sheet) => {
                let mut weighed = sheet.weighed(a, b);
                for (out, &k) in out.iter_mut().zip(k) {
                    *out = self.priced(weighed.value(k));
                }
                return;
            }
        };
        if nodes.perfect() {
            for (out, &k) in out.iter_mut().zip(k) {
                *out = crate::law::beta_pass_at_k(a, b, k);
            }
            return;
        }
        let most = k.iter().copied().fold(1.0, f64::max);
        nodes.prepared(a, b, most, room, |view, weights| {
            for (out, &k) in out.iter_mut().zip(k) {
                *out = view.sum(What::Value, k, weights).value;
            }
        });
    }

    /// The value at each of several k, and where sampling stops the mean number of samples drawn.
    pub(crate) fn tabled(&self, a: f64, b: f64, k: &[f64], values: &mut [f64], drawn: &mut [f64], room: &mut Room) {
        let Some(nodes) = self.verifier().filter(|nodes| !drawn.is_empty() || !nodes.perfect()) else {
            return self.values(a, b, k, values, room);
        };
        let most = k.iter().copied().fold(1.0, f64::max);
        nodes.prepared(a, b, most, room, |view, weights| {
            for (place, &k) in k.iter().enumerate() {
                values[place] = view.sum(What::Value, k, weights).value;
                if !drawn.is_empty() {
                    drawn[place] = view.sum(What::Drawn, k, weights).value;
                }
            }
        });
    }

    /// The value of a question whose samples are right with probability p.
    #[must_use]
    pub fn at_rate(&self, p: f64, k: f64) -> f64 {
        match &*self.table {
            Table::Nodes(nodes) => nodes.at_rate(What::Value, p, 1.0 - p, k),
            Table::Sheet(sheet) => self.priced(sheet.at_rate(p, k)),
        }
    }

    /// The mean value of questions whose success rates have the logits `ability - difficulty`.
    #[must_use]
    pub fn of_logits(&self, ability: f64, difficulties: &[f64], k: f64) -> f64 {
        match &*self.table {
            Table::Nodes(nodes) => nodes.of_logits(What::Value, ability, difficulties, k),
            Table::Sheet(sheet) => self.priced(sheet.of_logits(ability, difficulties, k)),
        }
    }

    /// The mean number of samples drawn for such questions until one is accepted; k at most.
    #[must_use]
    pub fn drawn_of_logits(&self, ability: f64, difficulties: &[f64], k: f64) -> f64 {
        self.verifier().map_or(k, |nodes| nodes.of_logits(What::Drawn, ability, difficulties, k))
    }

    /// The mean number of samples drawn, when sampling stops at the first accepted; k at most.
    pub fn drawn(&self, a: f64, b: f64, k: f64, room: &mut Room) -> f64 {
        self.verifier().map_or(k, |nodes| nodes.mean(What::Drawn, a, b, k, room))
    }

    /// The same for a question whose samples are right with probability p.
    #[must_use]
    pub fn drawn_at_rate(&self, p: f64, k: f64) -> f64 {
        self.verifier().map_or(k, |nodes| nodes.at_rate(What::Drawn, p, 1.0 - p, k))
    }

    /// The k, real or whole, of at most `most` with the largest value; 0, silence, where wrong answers cost more than all
    /// right ones bring.
    pub fn best(&self, a: f64, b: f64, most: f64, whole: bool, room: &mut Room) -> (f64, f64) {
        let most = self.worth_as(if whole { floor(most) } else { most });
        let found = match &*self.table {
            Table::Nodes(nodes) if nodes.perfect() => (most, crate::law::beta_pass_at_k(a, b, most)),
            Table::Nodes(nodes) => {
                nodes.prepared(a, b, most, room, |view, weights| self.best_of(view, weights, most, whole))
            }
            Table::Sheet(sheet) => {
                let mut weighed = sheet.weighed(a, b);
                let rising = self.shape() == Shape::Rising;
                let found = if rising { (most, weighed.value(most)) } else { weighed.best(most) };
                let (k, right) = if whole { fewest(found, || weighed.value(1.0)) } else { found };
                (k, self.priced(right))
            }
        };
        self.or_silent(found)
    }

    /// The k of at most `most` at which `drawn` samples are drawn on average; `most` where fewer always are.
    pub fn k_for_drawn(&self, a: f64, b: f64, drawn: f64, most: f64, room: &mut Room) -> f64 {
        let most = most.min(MOST_K);
        let Some(nodes) = self.verifier() else { return drawn.clamp(1.0, most) };
        nodes
            .prepared(a, b, most, room, |view, weights| k_for_drawn(|k| view.sum(What::Drawn, k, weights), drawn, most))
    }

    /// The same where `drawn` samples are drawn on average and at most `most` for one question.
    pub fn best_drawn(&self, a: f64, b: f64, drawn: f64, most: f64, whole: bool, room: &mut Room) -> (f64, f64) {
        let Some(nodes) = self.verifier() else { return self.best(a, b, drawn.min(most), whole, room) };
        let most = most.min(MOST_K);
        let found = nodes.prepared(a, b, most, room, |view, weights| {
            // A whole k that is just paid for must not be missed by rounding, of which few samples drawn make many of k.
            let drawn = if whole { drawn * (1.0 + ROUNDING) } else { drawn };
            let most = k_for_drawn(|k| view.sum(What::Drawn, k, weights), drawn, most);
            let most = self.worth_as(if whole { floor(most) } else { most });
            self.best_of(view, weights, most, whole)
        });
        self.or_silent(found)
    }

    /// The best k of at most `most` of a verifier at weighed nodes.
    fn best_of(&self, view: &View<'_>, weights: &[f64], most: f64, whole: bool) -> (f64, f64) {
        let mut at = |k: f64| view.sum(What::Value, k, weights);
        let found = search::best(self.shape(), most, &mut at, |out| view.doubled(weights, out));
        if !whole {
            return found;
        }
        let found = search::whole(found, most, &mut at);
        fewest(found, || at(1.0).value)
    }

    fn or_silent(&self, found: (f64, f64)) -> (f64, f64) {
        if self.wrong_cost > 0.0 && found.1 < 0.0 { (0.0, 0.0) } else { found }
    }
}

/// The k of at most `most` at which `drawn` samples are drawn, `at` giving how many are; `most` where fewer always are.
fn k_for_drawn(at: impl Fn(f64) -> Sum, drawn: f64, most: f64) -> f64 {
    if drawn <= 1.0 {
        return 1.0;
    }
    let all = at(most).value;
    let drawn = if all > drawn {
        drawn
    } else if most < MOST_K {
        return most;
    } else {
        // Any number is paid for: as many as are drawn but once in a million.
        all * (1.0 - 1e-6)
    };
    // What is still to be drawn beyond k falls between exponentially and like a power of k: a curve through both, with the
    // slope and curvature of here, says where it will be little enough.
    let (mut k, mut low, mut high) = (drawn.min(most), drawn.min(most), most);
    for _ in 0..100 {
        let Sum { value, slope, curvature } = at(k);
        if value > drawn {
            high = k;
        } else {
            low = k;
        }
        let (missing, beyond) = (drawn - value, all - value);
        let (rate, fall) = (slope / beyond, (beyond / (all - drawn)).ln());
        let slows = -curvature / slope - rate;
        let bend = slows * fall / rate;
        let step = if bend.abs() < 1e-6 { fall / rate } else { bend.exp_m1() / slows };
        let inside = (low..=high).contains(&(k + step));
        k = if inside { k + step } else { (low * high).sqrt() };
        // Where nearly all questions are answered k means little, and rounding would move it for ever.
        if inside && (step.abs() <= 1e-12 * k || missing.abs() <= 1e-10 * drawn) {
            break;
        }
    }
    k
}

/// A k with its value; one sample where that is as good, as with two votes, which a tie decides by chance.
fn fewest((k, value): (f64, f64), one: impl FnOnce() -> f64) -> (f64, f64) {
    if k > 1.0 {
        let one = one();
        if one >= value - 1e-9 * value.abs() {
            return (1.0, one);
        }
    }
    (k, value)
}

/// The whole number of samples in a real one, rounding forgiven.
fn floor(k: f64) -> f64 {
    (k * (1.0 + ROUNDING)).floor().max(1.0)
}
