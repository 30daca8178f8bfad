//! Dollars of a design whose shape follows from its size: what a planner needs to know of a [`Roofline`].
//!
//! At a given N, the cost of k samples is a maximum of straight lines in k. With r = k / S, the questions' share of a step,
//! S as large as cap, memory and latency allow makes r the largest of a few lines in k: `k / cap`; memory, where questions
//! keep a prompt each, or where one question fills it alone; latency, where matrices are multiplied or read. A question takes
//!
//! ```text
//! prompts + T_out (max(k c, w r) + k (activations + kv T_out / 2) + o r + kv T_in max(1, r))
//! ```
//!
//! (the last term with k in place of the maximum where prompts are not shared), and as every term rises with r, the
//! maximum over lines is that of the whole. So the most samples a budget pays for have a closed form, kinks included, and the
//! cost is convex in k. In ln N, costs are not all convex (N less an embedding is no posynomial), but they rise.

use super::flops::{Prompt, Workload};
use super::roofline::Roofline;
use super::shape::Family;

/// Lines that the cost of k samples is the maximum of: 5 for r, times 2 for matrices, times 2 for the prompt's reading.
const LINES: usize = 20;

/// Prices instead of operations: with it, a budget's numbers are dollars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Money {
    /// The card and how it is used.
    pub roofline: Roofline,
    /// Shapes of the models considered.
    pub family: Family,
    /// Price of a card-second.
    pub dollars_per_second: f64,
}

/// A few straight lines.
#[derive(Debug, Clone, Copy)]
struct Lines {
    count: usize,
    fixed: [f64; LINES],
    slope: [f64; LINES],
}

impl Lines {
    const NONE: Self = Self { count: 0, fixed: [0.0; LINES], slope: [0.0; LINES] };

    fn push(&mut self, fixed: f64, slope: f64) {
        self.fixed[self.count] = fixed;
        self.slope[self.count] = slope;
        self.count += 1;
    }

    /// Those that some other line is not above for every k.
    fn without_lower(&self) -> Self {
        let mut kept = Self::NONE;
        for i in 0..self.count {
            let (fixed, slope) = (self.fixed[i], self.slope[i]);
            let below = |j: usize| {
                self.fixed[j] >= fixed
                    && self.slope[j] >= slope
                    && (j < i || self.fixed[j] > fixed || self.slope[j] > slope)
            };
            if !(0..self.count).any(below) {
                kept.push(fixed, slope);
            }
        }
        kept
    }

    /// The highest line at k.
    fn highest(&self, k: f64) -> f64 {
        let lines = self.fixed.iter().zip(&self.slope).take(self.count);
        lines.fold(f64::NEG_INFINITY, |most, (fixed, slope)| most.max(fixed + k * slope))
    }

    /// The k at which the highest line meets a limit.
    fn meets(&self, limit: f64) -> f64 {
        (0..self.count)
            .map(|i| if self.slope[i] > 0.0 { (limit - self.fixed[i]) / self.slope[i] } else { f64::INFINITY })
            .fold(f64::INFINITY, f64::min)
    }
}

/// What training and samples cost at one N, in the unit of a budget.
#[derive(Debug, Clone, Copy)]
pub struct AtSize {
    /// Cost of training on one token.
    pub per_token: f64,
    /// The most samples whose answers memory and latency allow; minus infinity where a model of this size cannot run.
    pub most_k: f64,
    lines: Lines,
}

impl Default for AtSize {
    fn default() -> Self {
        Self { per_token: f64::INFINITY, most_k: f64::NEG_INFINITY, lines: Lines::NONE }
    }
}

impl AtSize {
    /// Costs that are one straight line in k.
    #[must_use]
    pub fn straight(per_token: f64, fixed: f64, per_sample: f64) -> Self {
        let mut lines = Lines::NONE;
        lines.push(fixed, per_sample);
        Self { per_token, most_k: f64::INFINITY, lines }
    }

    /// Cost of k samples of every question; infinite where the model cannot run, nothing where k is 0 and none is asked.
    #[inline]
    #[must_use]
    pub fn inference(&self, k: f64) -> f64 {
        if k == 0.0 {
            return 0.0;
        }
        match self.lines.count {
            0 => f64::INFINITY,
            1 => self.lines.fixed[0] + k * self.lines.slope[0],
            _ => self.lines.highest(k),
        }
    }

    /// The largest real k that a limit on the cost, memory and latency allow.
    #[inline]
    #[must_use]
    pub fn most_samples(&self, limit: f64) -> f64 {
        match self.lines.count {
            0 => f64::NEG_INFINITY,
            1 => ((limit - self.lines.fixed[0]) / self.lines.slope[0]).min(self.most_k),
            _ => self.lines.meets(limit).min(self.most_k),
        }
    }
}

impl Money {
    /// What a model of N parameters costs over a workload.
    #[must_use]
    pub fn at(&self, workload: &Workload, n_params: f64) -> AtSize {
        let shape = self.family.shape(n_params);
        let Workload { queries, prompt_tokens, answer_tokens, prompt, .. } = *workload;
        let serving = &self.roofline.serving;
        let terms = self.roofline.terms(&shape, prompt_tokens);
        let per_token = self.roofline.train_seconds(&shape) * self.dollars_per_second;
        let never = AtSize { per_token, ..AtSize::default() };
        if terms.free <= 0.0 || terms.free < terms.kv_bytes * (prompt_tokens + answer_tokens) {
            return never;
        }
        let shared = prompt == Prompt::Shared;
        let prefix = terms.kv * prompt_tokens;
        let each =
            terms.activations + terms.network + terms.kv * 0.5 * answer_tokens + if shared { 0.0 } else { prefix };
        let together = if shared { prefix } else { 0.0 };

        // r = k / S where memory and the cap decide.
        let mut share = Lines::NONE;
        share.push(0.0, 1.0 / serving.most_sequences);
        if terms.kv_bytes > 0.0 {
            let room = terms.free / terms.kv_bytes;
            if prompt == Prompt::Recomputed {
                share.push(0.0, (prompt_tokens + answer_tokens) / room);
            } else {
                share.push(prompt_tokens / room, answer_tokens / room);
                share.push(0.0, answer_tokens / (room - prompt_tokens));
            }
        }
        let mut most_k = f64::INFINITY;
        if let Some(seconds) = serving.most_seconds {
            let left = seconds - self.roofline.constants.request - terms.prefill;
            let rest = left / answer_tokens - terms.overhead;
            if rest <= terms.weights {
                return never;
            }
            let mut quick = Lines::NONE;
            quick.push(together / rest, (terms.compute + each) / rest);
            quick.push(together / (rest - terms.weights), each / (rest - terms.weights));
            // Samples that all run at once, or in turns on a replica that they fill.
            most_k = quick.meets(1.0);
            if most_k >= share.meets(1.0) {
                most_k = decoding(&terms, &share, each, together, answer_tokens).meets(left);
            }
            for i in 0..quick.count {
                share.push(quick.fixed[i], quick.slope[i]);
            }
        }
        let mut lines = decoding(&terms, &share, each, together, answer_tokens);
        let scale = queries * serving.cards * self.dollars_per_second;
        let (once, always) = if prompt == Prompt::Recomputed { (0.0, terms.prefill) } else { (terms.prefill, 0.0) };
        for i in 0..lines.count {
            lines.fixed[i] = (lines.fixed[i] + once) * scale;
            lines.slope[i] = (lines.slope[i] + always) * scale;
        }
        AtSize { per_token, most_k, lines: lines.without_lower() }
    }
}

/// Seconds of a replica to decode a question's answers, without its prompt.
fn decoding(terms: &super::roofline::Terms, share: &Lines, each: f64, together: f64, answer_tokens: f64) -> Lines {
    let mut lines = Lines::NONE;
    for i in 0..share.count {
        let (alpha, beta) = (share.fixed[i], share.slope[i]);
        for (fixed, slope) in [(0.0, terms.compute), (terms.weights * alpha, terms.weights * beta)] {
            let fixed = fixed + terms.overhead * alpha;
            let slope = slope + terms.overhead * beta + each;
            if together > 0.0 {
                lines.push(answer_tokens * (fixed + together), answer_tokens * slope);
                lines.push(answer_tokens * (fixed + together * alpha), answer_tokens * (slope + together * beta));
            } else {
                lines.push(answer_tokens * fixed, answer_tokens * slope);
            }
        }
    }
    lines
}
