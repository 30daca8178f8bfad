//! A law of pass@k under the rule by which answers will be chosen.

use std::cell::RefCell;
use std::sync::Arc;

use super::{ChinchillaLaw, Chosen, Law, Sense, Slopes, T2PassLaw};
use crate::rule::{Priced, Room, Rule, Shape};

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

    fn depends_on_k(&self) -> bool {
        self.rule.depends_on_k()
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
    fn chosen(&self, loss: f64, k: f64, room: &mut Room) -> Chosen {
        let (a, b) = self.ruled.law.beta(loss);
        let rule = &self.ruled.rule;
        let most = if self.ruled.stops { rule.k_for_drawn(a, b, k, self.most_k, room) } else { k.min(self.most_k) };
        let (k, value) = rule.best(a, b, most, self.whole, room);
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

    fn depends_on_k(&self) -> bool {
        self.ruled.depends_on_k()
    }

    fn at_loss(&self, loss: f64, k: f64) -> f64 {
        self.choose(loss, k).value
    }

    fn at_losses(&self, loss: &[f64], k: &[f64], out: &mut [f64]) {
        assert!(loss.len() == out.len() && k.len() == out.len(), "slices must have one length");
        ROOM.with_borrow_mut(|room| {
            for ((out, &loss), &k) in out.iter_mut().zip(loss).zip(k) {
                *out = self.chosen(loss, k, room).value;
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

    fn at_given_k(&self) -> Option<&dyn Law> {
        Some(self.ruled)
    }

    fn stops(&self) -> bool {
        self.ruled.stops
    }
}
