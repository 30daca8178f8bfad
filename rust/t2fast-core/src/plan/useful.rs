//! The most useful tokens of every size, where tokens repeat: a table in place of a search for each point of a lattice.
//!
//! With c the logarithm of what the last unique token gives over what it costs, and seen how often tokens are seen where
//! they cease to help, c is an explicit function of y = ln seen, rising (the loss is convex in ln D). Tabulated, it brackets
//! the y of a given c, and a cubic through the bracket's ends is so near that Newton's method needs a step or two.

use crate::law::{ChinchillaLaw, most_useful_ln_tokens};

/// Intervals of the table.
const STEPS: usize = 32;

/// ln D of the most useful tokens as a function of ln N, for a law with a term of overtraining.
#[derive(Clone)]
pub(super) struct Useful {
    law: ChinchillaLaw,
    unique: f64,
    ln_unique: f64,
    /// ln(beta B / (delta F)).
    pull: f64,
    /// At each node, where y is a multiple of `step`: c, and by how much y rises with it.
    at: [f64; STEPS + 1],
    slope: [f64; STEPS + 1],
    step: f64,
}

impl Useful {
    /// The table for ln N up to `x_hi`.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn new(law: &ChinchillaLaw, unique: f64, x_hi: f64) -> Self {
        let over = law.overtraining;
        let ln_unique = unique.ln();
        let pull = (law.beta * law.b / (over.delta * over.f)).ln();
        let mut table =
            Self { law: *law, unique, ln_unique, pull, at: [0.0; STEPS + 1], slope: [0.0; STEPS + 1], step: 0.0 };
        if over.acts() && table.worth_of_unique(x_hi) > 0.0 {
            table.step = (most_useful_ln_tokens(law, x_hi, unique) - ln_unique) / STEPS as f64;
            for i in 0..=STEPS {
                let (c, slope) = table.balance(table.step * i as f64);
                (table.at[i], table.slope[i]) = (c, 1.0 / slope);
            }
        }
        table
    }

    /// c at a given ln N: where it is negative, tokens cease to help before they repeat.
    #[inline(always)]
    fn worth_of_unique(&self, x: f64) -> f64 {
        let delta = self.law.overtraining.delta;
        self.pull + delta * x - (self.law.beta + delta) * self.ln_unique
    }

    /// c as a function of y, and its slope.
    #[inline(always)]
    fn balance(&self, y: f64) -> (f64, f64) {
        let (r_star, delta, beta) = (self.law.repetition.tokens, self.law.overtraining.delta, self.law.beta);
        let seen = y.exp();
        let left = ((1.0 - seen) / r_star).exp();
        let worth = 1.0 + r_star * (1.0 - left);
        let c = (delta - 1.0) * y + (seen - 1.0) / r_star + (1.0 + beta) * worth.ln();
        (c, delta - 1.0 + seen / r_star + (1.0 + beta) * seen * left / worth)
    }

    /// ln D of the most useful tokens at each of some ln N; equal ones that follow each other are looked up once.
    pub(super) fn fill(&self, x: &[f64], out: &mut [f64]) {
        let mut last = (f64::NAN, f64::NAN);
        for (&x, out) in x.iter().zip(out) {
            if x.to_bits() != last.0.to_bits() {
                last = (x, self.ln_tokens(x));
            }
            *out = last.1;
        }
    }

    /// ln D of the most useful tokens.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn ln_tokens(&self, x: f64) -> f64 {
        let delta = self.law.overtraining.delta;
        let c = self.worth_of_unique(x);
        if c <= 0.0 {
            return (self.pull + delta * x) / (self.law.beta + delta);
        }
        let place = self.at.partition_point(|&at| at <= c).clamp(1, STEPS) - 1;
        let width = self.at[place + 1] - self.at[place];
        let part = (c - self.at[place]) / width;
        let (rise, start, end) = (self.step, self.slope[place] * width, self.slope[place + 1] * width);
        // Hermite's cubic.
        let bend = 3.0 * rise - 2.0 * start - end + part * (start + end - 2.0 * rise);
        let mut y = self.step * place as f64 + part * (start + part * bend);
        for _ in 0..20 {
            let (at, slope) = self.balance(y);
            let move_by = (c - at) / slope;
            y += move_by;
            // The loss is flat here: this moves it by less than rounding does.
            if move_by.abs() <= 1e-7 {
                return self.ln_unique + y;
            }
        }
        most_useful_ln_tokens(&self.law, x, self.unique)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::law::{Overtraining, Repetition};

    #[test]
    fn the_table_gives_what_the_search_gives() {
        let mut worst: f64 = 0.0;
        for f in [1e-6, 1e-3, 1.0] {
            for delta in [0.1, 0.6, 1.0, 1.7] {
                for r_star in [0.5, 15.4, 200.0] {
                    for unique in [1e6, 1e9, 1e12] {
                        let law = ChinchillaLaw {
                            overtraining: Overtraining::new(f, delta).unwrap(),
                            repetition: Repetition::new(r_star, None).unwrap(),
                            ..ChinchillaLaw::new(0.5, 400.0, 900.0, 0.34, 0.3).unwrap()
                        };
                        let table = Useful::new(&law, unique, 30.0);
                        for i in 0..=300 {
                            let x = 10.0 + f64::from(i) / 15.0;
                            let exact = most_useful_ln_tokens(&law, x, unique);
                            worst = worst.max((table.ln_tokens(x) - exact).abs());
                        }
                    }
                }
            }
        }
        assert!(worst < 1e-10, "{worst:e}");
    }
}
