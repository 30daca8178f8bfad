//! Laws: what a model of N parameters, trained on D tokens and sampled k times per question, achieves.
//!
//! Every law here is a function of two things only: the Chinchilla loss `E + A N^-alpha + B D^-beta + F (D/N)^delta`, which
//! joins N and D into one number, and k. The trait [`Law`] says just that, and everything else (values, gradients, arrays, the
//! planner's shortcuts) follows from it.

mod chinchilla;
mod item_response;
mod loss;
mod overtraining;
mod pass;
pub mod predictive;
mod repeat;
mod ruled;

pub use chinchilla::ChinchillaLaw;
pub(crate) use chinchilla::most_useful_ln_tokens;
pub use item_response::item_response;
pub use loss::T2LossLaw;
pub use overtraining::Overtraining;
pub use pass::{Moments, T2PassLaw, THETA_RANGES, beta_pass_at_k, beta_pass_slopes};
pub use repeat::{DEFAULT_R_STAR, Repetition, effective};
pub use ruled::RuledLaw;

use crate::error::{Error, Result, positive};

/// Which direction is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sense {
    /// The law predicts a loss: less is better.
    Least,
    /// The law predicts a success rate: more is better.
    Most,
}

impl Sense {
    /// True when `a` is strictly better than `b`.
    #[inline(always)]
    #[must_use]
    pub fn better(self, a: f64, b: f64) -> bool {
        match self {
            Self::Least => a < b,
            Self::Most => a > b,
        }
    }

    /// The value that every other beats.
    #[must_use]
    pub fn worst(self) -> f64 {
        match self {
            Self::Least => f64::INFINITY,
            Self::Most => f64::NEG_INFINITY,
        }
    }
}

/// A law's value and its partial derivatives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gradient {
    /// The law's value.
    pub value: f64,
    /// Derivative by N, per parameter.
    pub n_params: f64,
    /// Derivative by D, per token.
    pub n_tokens: f64,
    /// Derivative by k, per sample.
    pub k: f64,
}

/// The value of a law at a given loss and k, with its derivatives by both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slopes {
    /// The law's value.
    pub value: f64,
    /// Derivative by the Chinchilla loss.
    pub loss: f64,
    /// Derivative by k.
    pub k: f64,
}

/// The samples that a design draws per question, out of those that its budget pays for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chosen {
    /// The most samples drawn; 0 is silence.
    pub k: f64,
    /// Those drawn on average, which are paid for.
    pub samples: f64,
    /// The law's value.
    pub value: f64,
}

/// What a budget brings within reach, worked out when asked for: rising losses, each with the most samples to be had at it
/// or below; `None` where the losses know no bound.
pub type Reach<'a> = &'a dyn Fn() -> Option<Vec<(f64, f64)>>;

/// A scaling law of N, D and k, seen as a function of the Chinchilla loss and k.
pub trait Law: Sync {
    /// The law that joins N and D into one loss.
    fn chinchilla(&self) -> &ChinchillaLaw;

    /// Whether the value is a loss or a success rate.
    fn sense(&self) -> Sense;

    /// True when at every fixed k a smaller loss is at least as good, so that training longer never hurts but for
    /// overtraining.
    fn improves_as_loss_falls(&self) -> bool;

    /// The largest value at which a higher loss is known to be better, within reach and from `least_k` samples on: negative
    /// infinity where none is, infinity where nothing is known. Where no proof says so, a table may.
    fn doubt_within(&self, _least_k: f64, _reach: Reach<'_>) -> f64 {
        if self.improves_as_loss_falls() { f64::NEG_INFINITY } else { f64::INFINITY }
    }

    /// False when the value is the same for every k.
    fn depends_on_k(&self) -> bool {
        true
    }

    /// The value at a loss (nats per token) and a real `k >= 1`. Arguments are not checked.
    fn at_loss(&self, loss: f64, k: f64) -> f64;

    /// [`Law::at_loss`] over slices of one length.
    ///
    /// # Panics
    /// When the lengths differ.
    fn at_losses(&self, loss: &[f64], k: &[f64], out: &mut [f64]);

    /// How many digits of a value mean nothing: a search need not tell values apart that differ by less, relatively.
    fn noise(&self) -> f64 {
        0.0
    }

    /// Whether a value is a formula, worked out in vectors, and no integral.
    fn is_formula(&self) -> bool {
        true
    }

    /// Whether more samples are never worse.
    fn rises_with_k(&self) -> bool {
        true
    }

    /// What is drawn where `k` samples are paid for.
    fn choose(&self, loss: f64, k: f64) -> Chosen {
        Chosen { k, samples: k, value: self.at_loss(loss, k) }
    }

    /// The most samples that may be drawn where `k` are paid for: more, where sampling may stop before.
    fn most_drawn(&self, _loss: f64, k: f64) -> f64 {
        k
    }

    /// What somebody who recognises right answers would make of k samples at a loss.
    fn pass_at_loss(&self, loss: f64, k: f64) -> f64 {
        self.at_loss(loss, k)
    }

    /// The law to plan with where k of the samples paid for need not be best: at the best number of at most k and
    /// `most_k`, real or whole. `None` where the law itself will do.
    fn planned(&self, _most_k: f64, _whole: bool) -> Option<Box<dyn Law + '_>> {
        None
    }

    /// Of a law made by [`Law::planned`] the value where all of the `k` samples paid for are drawn, whether fewer were better
    /// or not; between odd numbers of votes something between the values of those.
    fn at_all_samples(&self, loss: f64, k: f64) -> f64 {
        self.at_loss(loss, k)
    }

    /// Whether fewer samples than k are drawn on average.
    fn stops(&self) -> bool {
        false
    }

    /// Whether odd numbers of samples may be better than both of their neighbours, as in votes.
    fn prefers_odd_k(&self) -> bool {
        false
    }

    /// [`Law::at_loss`] with its derivatives.
    fn slopes(&self, loss: f64, k: f64) -> Slopes;

    /// The law's value at N parameters, D tokens and k samples.
    ///
    /// # Errors
    /// [`Error::Value`] unless N and D are positive and finite and k is finite and at least 1.
    fn value(&self, n_params: f64, n_tokens: f64, k: f64) -> Result<f64> {
        check_point(n_params, n_tokens, k)?;
        Ok(self.at_loss(self.chinchilla().loss(n_params, n_tokens), k))
    }

    /// The law's value and its partial derivatives by N, D and k.
    ///
    /// # Errors
    /// As [`Law::value`].
    fn gradient(&self, n_params: f64, n_tokens: f64, k: f64) -> Result<Gradient> {
        check_point(n_params, n_tokens, k)?;
        let base = self.chinchilla();
        let slopes = self.slopes(base.loss(n_params, n_tokens), k);
        let over = base.overtraining.delta * base.overtraining.term(n_params, n_tokens);
        Ok(Gradient {
            value: slopes.value,
            n_params: slopes.loss * (-base.alpha * base.params_term(n_params) - over) / n_params,
            n_tokens: slopes.loss * (-base.beta * base.tokens_term(n_tokens) + over) / n_tokens,
            k: slopes.k,
        })
    }

    /// The law's value over slices of one length.
    ///
    /// # Errors
    /// [`Error::Array`] when the lengths differ, [`Error::Value`] as in [`Law::value`].
    fn values(&self, n_params: &[f64], n_tokens: &[f64], k: &[f64], out: &mut [f64]) -> Result<()> {
        if n_params.len() != out.len() || n_tokens.len() != out.len() || k.len() != out.len() {
            return Err(Error::Array(format!(
                "n_params, n_tokens, k and out have lengths {}, {}, {} and {}: they must be equal",
                n_params.len(),
                n_tokens.len(),
                k.len(),
                out.len()
            )));
        }
        for ((&n, &d), &k) in n_params.iter().zip(n_tokens).zip(k) {
            check_point(n, d, k)?;
        }
        let mut loss = [0.0; BLOCK];
        for (((n, d), k), out) in
            n_params.chunks(BLOCK).zip(n_tokens.chunks(BLOCK)).zip(k.chunks(BLOCK)).zip(out.chunks_mut(BLOCK))
        {
            let loss = &mut loss[..n.len()];
            self.chinchilla().losses(n, d, loss);
            self.at_losses(loss, k, out);
        }
        Ok(())
    }
}

/// Points worked on at once; their losses live on the stack.
const BLOCK: usize = 256;

fn check_point(n_params: f64, n_tokens: f64, k: f64) -> Result<()> {
    positive("n_params", n_params)?;
    positive("n_tokens", n_tokens)?;
    if k >= 1.0 && k.is_finite() {
        Ok(())
    } else {
        Err(Error::Value { name: "k", value: k, must: "must be finite and at least 1" })
    }
}

/// Any of the laws, for callers that learn at run time which one they hold.
#[derive(Debug, Clone, PartialEq)]
pub enum AnyLaw {
    /// Loss of N and D alone.
    Chinchilla(ChinchillaLaw),
    /// Approach 1.
    T2Loss(T2LossLaw),
    /// Approach 2.
    T2Pass(T2PassLaw),
    /// Approach 2 under a rule.
    Ruled(RuledLaw),
}

impl AnyLaw {
    fn inner(&self) -> &dyn Law {
        match self {
            Self::Chinchilla(law) => law,
            Self::T2Loss(law) => law,
            Self::T2Pass(law) => law,
            Self::Ruled(law) => law,
        }
    }
}

impl Law for AnyLaw {
    fn chinchilla(&self) -> &ChinchillaLaw {
        self.inner().chinchilla()
    }

    fn sense(&self) -> Sense {
        self.inner().sense()
    }

    fn improves_as_loss_falls(&self) -> bool {
        self.inner().improves_as_loss_falls()
    }

    fn doubt_within(&self, least_k: f64, reach: Reach<'_>) -> f64 {
        self.inner().doubt_within(least_k, reach)
    }

    fn depends_on_k(&self) -> bool {
        self.inner().depends_on_k()
    }

    fn at_loss(&self, loss: f64, k: f64) -> f64 {
        self.inner().at_loss(loss, k)
    }

    fn at_losses(&self, loss: &[f64], k: &[f64], out: &mut [f64]) {
        self.inner().at_losses(loss, k, out);
    }

    fn slopes(&self, loss: f64, k: f64) -> Slopes {
        self.inner().slopes(loss, k)
    }

    fn noise(&self) -> f64 {
        self.inner().noise()
    }

    fn is_formula(&self) -> bool {
        self.inner().is_formula()
    }

    fn rises_with_k(&self) -> bool {
        self.inner().rises_with_k()
    }

    fn pass_at_loss(&self, loss: f64, k: f64) -> f64 {
        self.inner().pass_at_loss(loss, k)
    }

    fn choose(&self, loss: f64, k: f64) -> Chosen {
        self.inner().choose(loss, k)
    }

    fn planned(&self, most_k: f64, whole: bool) -> Option<Box<dyn Law + '_>> {
        self.inner().planned(most_k, whole)
    }

    fn prefers_odd_k(&self) -> bool {
        self.inner().prefers_odd_k()
    }
}
