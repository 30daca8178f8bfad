//! A law of pass@k under the rule by which answers will be chosen.

use std::cell::RefCell;
use std::sync::Arc;

use super::{ChinchillaLaw, Chosen, Law, Reach, Sense, Slopes, T2PassLaw};
use crate::rule::{MOST_K, Priced, Room, Rule, Shape};

/// What a rule makes of k samples, by a law of pass@k: of its success rates the distribution is kept, of its pass@k
/// nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct RuledLaw {
    /// The law of success rates.
    pub law: T2PassLaw,
    /// The rule, and what a wrong answer costs.
    pub rule: Arc<Priced>,
    /// Whether sampling stops at the first accepted answer, and the samples drawn on average are paid for.
    pub stops: bool,
}

thread_local! {
    static ROOM: RefCell<Room> = const { RefCell::new(Vec::new()) };
}

/// Distance between the losses of a table, in logits of the mean success rate or logarithms of the concentration, and the
/// most of them.
const APART: f64 = 0.7;
const MOST_LOSSES: f64 = 64.0;
/// What integrals over questions leave open.
const NOISE: f64 = 1e-12;
/// Mean success rates from here down, as logits, bring nothing.
const HOPELESS: f64 = -40.0;
/// Neighbours among its numbers of samples.
const TIMES: f64 = 4.0;
/// What a lower loss may be worse by, so that rounding and the ends of series are not taken for it.
const LEVEL: f64 = 1e-9;
/// The same of votes and scores, whose tables are less exact.
const SHEET_LEVEL: f64 = 1e-7;

impl RuledLaw {
    /// The largest value that rises with the loss in a table over what is within reach; of the best of at most k samples
    /// where `most`.
    fn doubt(&self, least_k: f64, reach: Reach<'_>, most: bool) -> f64 {
        let Some(reach) = reach() else { return f64::INFINITY };
        let [theta0, theta1, _, _, theta4] = self.law.theta;
        let (Some(&(low, _)), Some(&(high, _))) = (reach.first(), reach.last()) else { return f64::INFINITY };
        let high = high.min(theta0 - HOPELESS / theta1).max(low);
        let count = ((high - low) * theta1.max(theta4.abs()) / APART).ceil().clamp(4.0, MOST_LOSSES);
        let largest = reach.iter().fold(least_k, |largest, &(_, k)| f64::max(largest, k)).min(MOST_K).max(least_k);
        let ks: Vec<f64> =
            std::iter::successors(Some(least_k), |k| Some(TIMES * k)).take_while(|&k| k <= largest).collect();
        let (mut here, mut last) = (vec![0.0; ks.len()], vec![f64::INFINITY; ks.len()]);
        let level = if self.rule.can_stop() { LEVEL } else { SHEET_LEVEL };
        let mut doubt = f64::NEG_INFINITY;
        let (mut drawn, mut least, mut place) = (vec![0.0; ks.len()], vec![0.0; ks.len()], 0);
        ROOM.with_borrow_mut(|room| {
            let mut loss = low;
            let mut seen = 0.0;
            while seen <= count {
                while place + 1 < reach.len() && reach[place].0 < loss {
                    place += 1;
                }
                let within = ks.partition_point(|&k| k <= reach[place].1).max(1);
                let (a, b) = self.law.beta(loss);
                let stops = if self.stops { within } else { 0 };
                self.rule.tabled(a, b, &ks[..within], &mut here[..within], &mut drawn[..stops], room);
                // Less than silence brings need not be told apart, where anything brings more.
                let nothing = if self.rule.wrong_cost() > 0.0 { 0.0 } else { f64::NEG_INFINITY };
                let mut best = nothing;
                for (value, last) in here[..within].iter_mut().zip(&last) {
                    best = f64::max(best, *value);
                    if most {
                        *value = best;
                    } else if *last > nothing {
                        *value = f64::max(nothing, *value);
                    }
                }
                for (here, last) in here[..within].iter().zip(&last) {
                    if here - last > level {
                        doubt = f64::max(doubt, *here);
                    }
                }
                last[..within].copy_from_slice(&here[..within]);
                // Fewer samples must be drawn, too.
                if drawn[..stops].iter().zip(&least).any(|(drawn, least)| *drawn < least * (1.0 - level)) {
                    doubt = here[..within].iter().copied().fold(doubt, f64::max);
                }
                least[..stops].copy_from_slice(&drawn[..stops]);
                seen += 1.0;
                loss = low + (high - low) * seen / count;
            }
            doubt
        })
    }
}

impl Law for RuledLaw {
    fn chinchilla(&self) -> &ChinchillaLaw {
        &self.law.chinchilla
    }

    fn sense(&self) -> Sense {
        Sense::Most
    }

    /// Unknown of most rules: a lower loss changes the spread between questions too.
    fn improves_as_loss_falls(&self) -> bool {
        false
    }

    fn doubt_within(&self, least_k: f64, reach: Reach<'_>) -> f64 {
        self.doubt(least_k, reach, false)
    }

    fn depends_on_k(&self) -> bool {
        self.rule.depends_on_k()
    }

    fn noise(&self) -> f64 {
        NOISE
    }

    fn is_formula(&self) -> bool {
        false
    }

    fn rises_with_k(&self) -> bool {
        self.rule.shape() == Shape::Rising
    }

    fn at_loss(&self, loss: f64, k: f64) -> f64 {
        let (a, b) = self.law.beta(loss);
        ROOM.with_borrow_mut(|room| self.rule.value(a, b, k, room))
    }

    fn at_losses(&self, loss: &[f64], k: &[f64], out: &mut [f64]) {
        assert!(loss.len() == out.len() && k.len() == out.len(), "slices must have one length");
        ROOM.with_borrow_mut(|room| {
            let mut start = 0;
            while start < loss.len() {
                // Points of one loss share their weights.
                let count = loss[start..].iter().take_while(|&&other| other == loss[start]).count().max(1);
                let (a, b) = self.law.beta(loss[start]);
                let range = start..start + count;
                self.rule.values(a, b, &k[range.clone()], &mut out[range], room);
                start += count;
            }
        });
    }

    /// By differences of the loss; the planner asks for signs alone.
    fn slopes(&self, loss: f64, k: f64) -> Slopes {
        let step = 1e-5 * loss.abs().max(1e-3);
        let low = (loss - step).max(0.5 * loss);
        let (above, below) = (self.at_loss(loss + step, k), self.at_loss(low, k));
        let more = k * (1.0 + 1e-5);
        let value = self.at_loss(loss, k);
        Slopes {
            value,
            loss: (above - below) / (loss + step - low),
            k: (self.at_loss(loss, more) - value) / (more - k),
        }
    }

    fn pass_at_loss(&self, loss: f64, k: f64) -> f64 {
        if k == 0.0 { 0.0 } else { self.law.at_loss(loss, k) }
    }

    fn choose(&self, loss: f64, k: f64) -> Chosen {
        let (a, b) = self.law.beta(loss);
        ROOM.with_borrow_mut(|room| {
            let samples = if self.stops { self.rule.drawn(a, b, k, room) } else { k };
            Chosen { k, samples, value: self.rule.value(a, b, k, room) }
        })
    }

    fn prefers_odd_k(&self) -> bool {
        matches!(self.rule.rule(), Rule::Majority { .. })
    }

    fn planned(&self, most_k: f64, whole: bool) -> Option<Box<dyn Law + '_>> {
        let plain = self.rises_with_k() && self.rule.wrong_cost() == 0.0 && !self.stops;
        (!plain).then(|| Box::new(Envelope { ruled: self, most_k, whole }) as Box<dyn Law>)
    }
}

/// A [`RuledLaw`] at the best number of samples of at most k, so that more never hurt.
struct Envelope<'a> {
    ruled: &'a RuledLaw,
    most_k: f64,
    whole: bool,
}

impl Envelope<'_> {
    /// The best number of samples where k are paid for, and the value.
    fn best(&self, loss: f64, k: f64, room: &mut Room) -> (f64, f64) {
        let (a, b) = self.ruled.law.beta(loss);
        let rule = &self.ruled.rule;
        if self.ruled.stops {
            rule.best_drawn(a, b, k, self.most_k, self.whole, room)
        } else {
            rule.best(a, b, k.min(self.most_k), self.whole, room)
        }
    }

    fn chosen(&self, loss: f64, k: f64, room: &mut Room) -> Chosen {
        let (k, value) = self.best(loss, k, room);
        let (a, b) = self.ruled.law.beta(loss);
        let rule = &self.ruled.rule;
        let samples = if self.ruled.stops && k > 0.0 { rule.drawn(a, b, k, room) } else { k };
        Chosen { k, samples, value }
    }
}

impl Law for Envelope<'_> {
    fn chinchilla(&self) -> &ChinchillaLaw {
        self.ruled.chinchilla()
    }

    fn sense(&self) -> Sense {
        Sense::Most
    }

    fn improves_as_loss_falls(&self) -> bool {
        false
    }

    fn doubt_within(&self, _least_k: f64, reach: Reach<'_>) -> f64 {
        self.ruled.doubt(1.0, reach, true)
    }

    fn depends_on_k(&self) -> bool {
        self.ruled.depends_on_k()
    }

    fn at_loss(&self, loss: f64, k: f64) -> f64 {
        ROOM.with_borrow_mut(|room| self.best(loss, k, room).1)
    }

    fn at_losses(&self, loss: &[f64], k: &[f64], out: &mut [f64]) {
        assert!(loss.len() == out.len() && k.len() == out.len(), "slices must have one length");
        ROOM.with_borrow_mut(|room| {
            for ((out, &loss), &k) in out.iter_mut().zip(loss).zip(k) {
                *out = self.best(loss, k, room).1;
            }
        });
    }

    fn slopes(&self, loss: f64, k: f64) -> Slopes {
        let step = 1e-5 * loss.abs().max(1e-3);
        let low = (loss - step).max(0.5 * loss);
        let slope = (self.at_loss(loss + step, k) - self.at_loss(low, k)) / (loss + step - low);
        Slopes { value: self.at_loss(loss, k), loss: slope, k: f64::NAN }
    }

    fn pass_at_loss(&self, loss: f64, k: f64) -> f64 {
        self.ruled.pass_at_loss(loss, k)
    }

    fn choose(&self, loss: f64, k: f64) -> Chosen {
        ROOM.with_borrow_mut(|room| self.chosen(loss, k, room))
    }

    fn noise(&self) -> f64 {
        NOISE
    }

    fn is_formula(&self) -> bool {
        false
    }

    fn most_drawn(&self, loss: f64, k: f64) -> f64 {
        if !self.ruled.stops {
            return k.min(self.most_k);
        }
        let (a, b) = self.ruled.law.beta(loss);
        ROOM.with_borrow_mut(|room| self.ruled.rule.k_for_drawn(a, b, k, self.most_k, room))
    }

    fn at_all_samples(&self, loss: f64, k: f64) -> f64 {
        if self.ruled.stops {
            // The k that as many as can be drawn on average come from is anything: its value says nothing of the best.
            return self.at_loss(loss, k);
        }
        let (a, b) = self.ruled.law.beta(loss);
        ROOM.with_borrow_mut(|room| {
            if !self.ruled.prefers_odd_k() {
                return self.ruled.rule.value(a, b, k, room);
            }
            // Odd numbers are better than what lies between, so that a curve over those is climbed in place of a saw.
            let odd = 2.0 * (0.5 * (k - 1.0)).floor() + 1.0;
            let beyond = if odd + 2.0 > self.most_k { odd } else { odd + 2.0 };
            let mut values = [0.0; 3];
            self.ruled.rule.values(a, b, &[k, odd, beyond], &mut values, room);
            values[0].max(values[1] + 0.5 * (k - odd) * (values[2] - values[1]))
        })
    }

    fn stops(&self) -> bool {
        self.ruled.stops
    }
}
