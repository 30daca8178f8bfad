//! The best design within a budget: by brute force over given axes ([`grid`]), by continuous optimisation ([`exact`]),
//! along sweeps of budgets ([`frontier`]) and sizes ([`curve`]); and the cheapest budget for a target ([`cheapest`]).

pub mod cheapest;
mod chinchilla;
mod climb;
pub mod curve;
pub mod exact;
mod flat;
pub mod frontier;
pub mod grid;
mod lattice;
mod leaders;
mod place;
mod problem;
mod samples;
mod surface;
mod useful;

use crate::cost::Budget;
use crate::law::{Chosen, Law};

/// The largest training or total budget that is considered, FLOP.
pub const MOST_FLOPS: f64 = 1e40;

/// A model to train and a number of samples to draw, with what they bring and cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Design {
    /// N.
    pub n_params: f64,
    /// D, repeats included.
    pub n_tokens: f64,
    /// Samples per question, at most; 0 is silence.
    pub k: f64,
    /// Samples drawn per question on average, which are paid for: fewer than k where sampling stops at an answer.
    pub samples: f64,
    /// The law's value: a loss, or pass@k.
    pub value: f64,
    /// pass@k of the same samples, where the value is what a rule makes of them; the value otherwise.
    pub pass_at_k: f64,
    /// The Chinchilla loss behind it, repeated tokens discounted.
    pub loss: f64,
    /// FLOP of training.
    pub train_flops: f64,
    /// FLOP of inference over the budget's workload.
    pub inference_flops: f64,
    /// Dollars of training and of inference, where the budget counts them.
    pub dollars: Option<(f64, f64)>,
}

impl Design {
    /// The design at N, D and what its law chooses of k samples. Arguments are not checked, against the budget neither.
    #[must_use]
    pub fn new(law: &dyn Law, budget: &Budget, n_params: f64, n_tokens: f64, k: f64) -> Self {
        let loss = law.chinchilla().loss_within(n_params, n_tokens, budget.unique_tokens);
        let Chosen { k, samples, value } = law.choose(loss, k);
        let dollars = budget.money.map(|_| {
            let at = budget.at(n_params);
            (at.per_token * n_tokens, at.inference(samples))
        });
        Self {
            n_params,
            n_tokens,
            k,
            samples,
            value,
            pass_at_k: law.pass_at_loss(loss, k),
            loss,
            train_flops: budget.workload.train_flops(n_params, n_tokens),
            inference_flops: budget.workload.inference_flops(n_params, samples),
            dollars,
        }
    }

    /// Cost of training and of inference in the budget's unit.
    #[must_use]
    pub fn costs(&self) -> (f64, f64) {
        self.dollars.unwrap_or((self.train_flops, self.inference_flops))
    }

    /// FLOP of training and inference together.
    #[must_use]
    pub fn total_flops(&self) -> f64 {
        self.train_flops + self.inference_flops
    }
}
