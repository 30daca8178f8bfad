//! What training and sampling cost in floating-point operations, and which designs a budget admits.

use super::money::{AtSize, Money};
use crate::error::{Error, Result, non_negative, positive};

/// A budget is met when the cost exceeds it by no more than this share, so that rounding in `6 N D` does not exclude a
/// design that spends the budget exactly.
pub const SLACK: f64 = 1e-12;

/// The attention terms that `6 N D` and `2 N` per token leave out.
///
/// A token that attends to t others costs `4 t n_layers d_model` FLOP forward (scores and weighted values, 2 each), and
/// three times that in training. With N = 12 n_layers d_model^2 and a fixed aspect ratio d_model / n_layers this is a
/// function of N (Kaplan et al. 2020, arXiv 2001.08361, table 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attention {
    /// d_model / n_layers.
    pub aspect_ratio: f64,
    /// Tokens per training sequence; causal attention sees half of them on average.
    pub train_context: f64,
}

impl Attention {
    /// `n_layers d_model` as a multiple of N^(2/3): d_model^3 = N aspect_ratio / 12.
    fn width(self) -> f64 {
        (self.aspect_ratio / 12.0).cbrt().powi(2) / self.aspect_ratio
    }
}

/// A cost as a function of N: `params N + width N^(2/3)`, the second part being attention's.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rate {
    /// FLOP per parameter.
    pub params: f64,
    /// FLOP per N^(2/3).
    pub width: f64,
}

impl Rate {
    /// The cost at N parameters.
    #[inline]
    #[must_use]
    pub fn at(self, n_params: f64) -> f64 {
        // Without attention the root is not worth its time.
        let attention = if self.width == 0.0 { 0.0 } else { self.width * n_params.cbrt().powi(2) };
        self.params * n_params + attention
    }

    pub(crate) fn times(self, factor: f64) -> Self {
        Self { params: self.params * factor, width: self.width * factor }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self { params: self.params + other.params, width: self.width + other.width }
    }
}

/// How the prompt of a question is treated when k samples answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prompt {
    /// Processed anew for each sample.
    Recomputed,
    /// Processed once; each sample reads its keys and values (a prefix cache).
    Cached,
    /// Processed once, and its keys and values are read once for all samples.
    #[default]
    Shared,
}

/// How the model will be used. The default is the unit of the T2 paper: one generated token position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Workload {
    /// Questions over the life of the model.
    pub queries: f64,
    /// Tokens of the prompt of each question.
    pub prompt_tokens: f64,
    /// Tokens of each sampled answer.
    pub answer_tokens: f64,
    /// How the prompt is treated.
    pub prompt: Prompt,
    /// Attention terms, left out when `None`.
    pub attention: Option<Attention>,
}

impl Default for Workload {
    fn default() -> Self {
        Self { queries: 1.0, prompt_tokens: 0.0, answer_tokens: 1.0, prompt: Prompt::Shared, attention: None }
    }
}

impl Workload {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`Error::Value`] unless queries, answer tokens and the attention's numbers are positive and finite, and prompt
    /// tokens are zero or positive.
    pub fn checked(self) -> Result<Self> {
        positive("queries", self.queries)?;
        positive("answer_tokens", self.answer_tokens)?;
        non_negative("prompt_tokens", self.prompt_tokens)?;
        if let Some(attention) = self.attention {
            positive("aspect_ratio", attention.aspect_ratio)?;
            positive("train_context", attention.train_context)?;
        }
        Ok(self)
    }

    /// FLOP of training on one token: `6 N`, plus attention.
    #[must_use]
    pub fn train_rate(&self) -> Rate {
        Rate { params: 6.0, width: self.attention.map_or(0.0, |a| 6.0 * a.train_context * a.width()) }
    }

    /// FLOP of inference as (fixed, per sample): with k samples it costs fixed + k per-sample.
    ///
    /// `2 N T_in` per query for the prompt and `2 N T_out` for each answer, plus attention.
    #[must_use]
    pub fn inference_rates(&self) -> (Rate, Rate) {
        let (t_in, t_out) = (self.prompt_tokens, self.answer_tokens);
        let width = self.attention.map_or(0.0, Attention::width);
        let prompt = Rate { params: 2.0 * self.queries * t_in, width: 2.0 * self.queries * t_in * t_in * width };
        let answer = Rate {
            params: 2.0 * self.queries * t_out,
            width: 4.0 * self.queries * t_out * (t_in + 0.5 * t_out) * width,
        };
        if self.prompt == Prompt::Recomputed { (Rate::default(), prompt.plus(answer)) } else { (prompt, answer) }
    }

    /// FLOP of training: `6 N D`, plus attention.
    #[must_use]
    pub fn train_flops(&self, n_params: f64, n_tokens: f64) -> f64 {
        self.train_rate().at(n_params) * n_tokens
    }

    /// The N whose training on `tokens(N)` tokens, rising with N or fixed, costs `flops`.
    fn size(&self, flops: f64, tokens: impl Fn(f64) -> f64) -> f64 {
        let cost = |ln_n: f64| self.train_rate().at(ln_n.exp()) * tokens(ln_n.exp());
        // Cost rises at least as N^(2/3) and at most as N^2, so that Newton's method in the logarithms goes nowhere wrong.
        let mut x = 0.0_f64;
        for _ in 0..100 {
            const STEP: f64 = 1e-4;
            let here = cost(x).ln();
            let slope = ((cost(x + STEP).ln() - here) / STEP).clamp(0.6, 2.1);
            let step = (flops.ln() - here) / slope;
            x += step;
            if step.abs() < 1e-13 * x.abs().max(1.0) {
                break;
            }
        }
        x.exp()
    }

    /// The N that a training cost pays for beside D tokens.
    #[must_use]
    pub fn size_for_tokens(&self, train_flops: f64, n_tokens: f64) -> f64 {
        self.size(train_flops, |_| n_tokens)
    }

    /// The N that a training cost pays for at a given D / N.
    #[must_use]
    pub fn size_for_ratio(&self, train_flops: f64, tokens_per_param: f64) -> f64 {
        self.size(train_flops, |n| tokens_per_param * n)
    }

    /// FLOP of inference with k samples per question, over all queries.
    #[must_use]
    pub fn inference_flops(&self, n_params: f64, k: f64) -> f64 {
        if k == 0.0 {
            return 0.0;
        }
        let (fixed, per_sample) = self.inference_rates();
        fixed.at(n_params) + k * per_sample.at(n_params)
    }
}

/// A closed range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// Smallest value allowed.
    pub lo: f64,
    /// Largest value allowed, possibly infinite.
    pub hi: f64,
}

impl Range {
    /// Checks that a range with positive finite lower end holds something.
    ///
    /// # Errors
    /// [`Error::Value`] when an end is not positive or NaN, or the lower end is above the upper.
    pub fn new(name: &'static str, lo: f64, hi: f64) -> Result<Self> {
        positive(name, lo)?;
        if hi >= lo {
            Ok(Self { lo, hi })
        } else {
            Err(Error::Value { name, value: hi, must: "the upper bound must be positive and at least the lower bound" })
        }
    }

    /// The part common to both, if any.
    #[must_use]
    pub fn intersect(self, other: Self) -> Option<Self> {
        let (lo, hi) = (self.lo.max(other.lo), self.hi.min(other.hi));
        (lo <= hi).then_some(Self { lo, hi })
    }
}

/// What may be spent, on what use, within which bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// FLOP (or dollars, see `money`) of training.
    pub train: Option<f64>,
    /// FLOP (or dollars) of inference over the workload.
    pub inference: Option<f64>,
    /// FLOP (or dollars) of both together.
    pub total: Option<f64>,
    /// Prices; without them costs are FLOP.
    pub money: Option<Money>,
    /// How the model will be used.
    pub workload: Workload,
    /// Allowed N.
    pub n_params: Range,
    /// Allowed D, repeats included.
    pub n_tokens: Range,
    /// Allowed k.
    pub k: Range,
    /// Largest D / N allowed.
    pub max_tokens_per_param: Option<f64>,
    /// Tokens that exist; more than these are repeats and count for less.
    pub unique_tokens: Option<f64>,
}

impl Default for Budget {
    fn default() -> Self {
        let free = Range { lo: 1.0, hi: f64::INFINITY };
        Self {
            train: None,
            inference: None,
            total: None,
            money: None,
            workload: Workload::default(),
            n_params: free,
            n_tokens: free,
            k: free,
            max_tokens_per_param: None,
            unique_tokens: None,
        }
    }
}

impl Budget {
    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::Value`] that names the first number out of range.
    pub fn checked(self) -> Result<Self> {
        let [train, inference, total] = self.names();
        for (name, value) in [
            (train, self.train),
            (inference, self.inference),
            (total, self.total),
            ("max_tokens_per_param", self.max_tokens_per_param),
            ("unique_tokens", self.unique_tokens),
        ] {
            if let Some(value) = value {
                positive(name, value)?;
            }
        }
        self.workload.checked()?;
        if let Some(money) = self.money {
            money.roofline.checked()?;
            money.family.checked()?;
            positive("price", money.dollars_per_second)?;
        }
        Range::new("n_params", self.n_params.lo, self.n_params.hi)?;
        Range::new("n_tokens", self.n_tokens.lo, self.n_tokens.hi)?;
        Range::new("k", self.k.lo, self.k.hi)?;
        Ok(self)
    }

    /// Public names of the budgets for training, inference and both.
    #[must_use]
    pub fn names(&self) -> [&'static str; 3] {
        if self.money.is_some() {
            ["train_dollars", "dollars_per_question", "total_dollars"]
        } else {
            ["train_flops", "inference_flops", "total_flops"]
        }
    }

    /// Costs at one N, in the budget's unit.
    #[inline]
    #[must_use]
    pub fn at(&self, n_params: f64) -> AtSize {
        if let Some(money) = &self.money {
            return money.at(&self.workload, n_params);
        }
        let (fixed, per_sample) = self.workload.inference_rates();
        let per_token = self.workload.train_rate().at(n_params);
        AtSize::straight(per_token, fixed.at(n_params), per_sample.at(n_params))
    }

    /// The largest D that the bounds alone allow beside N.
    #[inline]
    #[must_use]
    pub fn tokens_allowed(&self, n_params: f64) -> f64 {
        self.max_tokens_per_param.map_or(self.n_tokens.hi, |ratio| self.n_tokens.hi.min(ratio * n_params))
    }

    /// The largest D allowed beside N and k; below the lower bound of D, possibly negative, when there is none.
    #[must_use]
    pub fn most_tokens(&self, n_params: f64, k: f64) -> f64 {
        self.most_tokens_at(&self.at(n_params), n_params, k)
    }

    /// The same, where costs at N are known.
    fn most_tokens_at(&self, at: &AtSize, n_params: f64, k: f64) -> f64 {
        let mut tokens = self.tokens_allowed(n_params);
        if let Some(train) = self.train {
            tokens = tokens.min(train / at.per_token);
        }
        if let Some(total) = self.total {
            tokens = tokens.min((total - at.inference(k)) / at.per_token);
        }
        tokens
    }

    /// The largest real k allowed beside N and D; below the lower bound of k when there is none.
    #[must_use]
    pub fn most_samples(&self, n_params: f64, n_tokens: f64) -> f64 {
        self.most_samples_at(&self.at(n_params), n_tokens)
    }

    /// The same, where costs at N are known.
    fn most_samples_at(&self, at: &AtSize, n_tokens: f64) -> f64 {
        let mut k = self.k.hi.min(at.most_k);
        if let Some(inference) = self.inference {
            k = k.min(at.most_samples(inference));
        }
        if let Some(total) = self.total {
            k = k.min(at.most_samples(total - at.per_token * n_tokens));
        }
        k
    }

    /// Whether a model of N parameters, D tokens (but for rounding) and k samples meets every limit but those of N.
    #[must_use]
    pub fn admits(&self, n_params: f64, n_tokens: f64, k: f64) -> bool {
        let at = self.at(n_params);
        self.most_tokens_at(&at, n_params, k) >= n_tokens * (1.0 - SLACK) && self.most_samples_at(&at, n_tokens) >= k
    }

    /// Whether costs of training and inference meet every budget, within [`SLACK`].
    #[inline]
    #[must_use]
    pub fn affords(&self, train_flops: f64, inference_flops: f64) -> bool {
        let meets = |budget: Option<f64>, cost: f64| budget.is_none_or(|budget| cost <= budget * (1.0 + SLACK));
        meets(self.train, train_flops)
            && meets(self.inference, inference_flops)
            && meets(self.total, train_flops + inference_flops)
    }
}
