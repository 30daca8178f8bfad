//! The beta-binomial likelihood of one checkpoint's counts.
//!
//! All questions of a checkpoint share (a, b), and the likelihood is `B(a + c, b + n - c) / B(a, b)`, a ratio of rising
//! factorials of a, b and a + b. Equal counts share their terms, and the Γ functions at a, b and a + b themselves are
//! computed once per checkpoint.

use crate::law::Moments;
use crate::special::{SHIFT, gamma, stirling};

/// Up to this many factors a rising factorial is multiplied out.
const SHORT: f64 = 8.0;

/// Lengths of rising factorials with their weights.
#[derive(Debug, Clone, Default)]
struct Lengths(Vec<(f64, f64)>);

impl Lengths {
    fn new(mut lengths: Vec<(f64, f64)>) -> Self {
        lengths.retain(|(h, w)| *h > 0.0 && *w > 0.0);
        lengths.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut merged: Vec<(f64, f64)> = Vec::with_capacity(lengths.len());
        for (h, w) in lengths {
            match merged.last_mut() {
                Some(last) if last.0.to_bits() == h.to_bits() => last.1 += w,
                _ => merged.push((h, w)),
            }
        }
        Self(merged)
    }

    /// `sum w ln (x)_h` with its first two derivatives by x.
    fn rising(&self, x: f64) -> [f64; 3] {
        let r = 1.0 / x;
        let mut sum = [0.0; 3];
        let mut base = None;
        for &(h, w) in &self.0 {
            let parts = if h <= SHORT {
                let mut parts = [0.0; 3];
                let mut product = 1.0;
                let mut j = 0.0;
                while j < h {
                    let r = 1.0 / (x + j);
                    product *= x + j;
                    parts[1] += r;
                    parts[2] -= r * r;
                    j += 1.0;
                }
                parts[0] = product.ln();
                parts
            } else if x >= SHIFT {
                // Values near x ln x would leave few digits of their difference.
                let r_top = 1.0 / (x + h);
                let (low, high) = (*base.get_or_insert_with(|| stirling::<false>(r)), stirling::<false>(r_top));
                let step = (h * r).ln_1p();
                let value = h * (x + h).ln() + (x - 0.5) * step - h + (high[0] - low[0]);
                [value, step + (high[1] - low[1]), (high[2] - low[2]) - h * r * r_top]
            } else {
                let base = *base.get_or_insert_with(|| gamma(x));
                let top = gamma(x + h);
                [top[0] - base[0], top[1] - base[1], top[2] - base[2]]
            };
            for (sum, part) in sum.iter_mut().zip(parts) {
                *sum += w * part;
            }
        }
        sum
    }
}

/// Counts of one checkpoint.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    successes: Lengths,
    failures: Lengths,
    totals: Lengths,
}

/// Negative log likelihood with its derivatives by a and b.
struct Beta {
    value: f64,
    a: f64,
    b: f64,
    aa: f64,
    ab: f64,
    bb: f64,
}

impl Cell {
    pub(super) fn new(rows: &[(f64, f64, f64)]) -> Self {
        Self {
            successes: Lengths::new(rows.iter().map(|&(_, c, w)| (c, w)).collect()),
            failures: Lengths::new(rows.iter().map(|&(n, c, w)| (n - c, w)).collect()),
            totals: Lengths::new(rows.iter().map(|&(n, _, w)| (n, w)).collect()),
        }
    }

    /// How many samples succeeded and how many were drawn, by weight.
    pub(super) fn sums(&self) -> (f64, f64) {
        let sum = |lengths: &Lengths| lengths.0.iter().map(|(h, w)| h * w).sum();
        (sum(&self.successes), sum(&self.totals))
    }

    fn beta(&self, a: f64, b: f64) -> Beta {
        let (s, f, t) = (self.successes.rising(a), self.failures.rising(b), self.totals.rising(a + b));
        Beta { value: t[0] - s[0] - f[0], a: t[1] - s[1], b: t[1] - f[1], aa: t[2] - s[2], ab: t[2], bb: t[2] - f[2] }
    }
}

/// First and second derivatives by (eta, theta2, zeta), where `mu = theta2 / (1 + e^eta)` and `nu = e^zeta`.
pub(super) struct Shape {
    pub(super) value: f64,
    pub(super) first: [f64; 3],
    pub(super) second: [[f64; 3]; 3],
}

pub(super) fn shape(cell: &Cell, eta: f64, theta2: f64, zeta: f64) -> Shape {
    let at = Moments::new::<false>(eta, theta2, zeta);
    let (odds, share, nu) = (at.odds, at.share, at.concentration);
    let (a, b) = at.beta();
    // At theta2 = 1 and a vanishing loss b underflows: a point mass at one.
    let (a, b) = (a.max(1e-290), b.max(1e-290));
    let f = cell.beta(a, b);
    let by_mu = nu * (f.a - f.b);
    let by_zeta = a * f.a + b * f.b;
    let mu_mu = nu * nu * (f.aa - 2.0 * f.ab + f.bb);
    let mu_zeta = by_mu + nu * (a * (f.aa - f.ab) + b * (f.ab - f.bb));
    let zeta_zeta = by_zeta + a * a * f.aa + 2.0 * a * b * f.ab + b * b * f.bb;
    let slope = -share * odds * share;
    let bend = -slope * (odds - 1.0) * share;
    let (mu_eta, mu_theta) = (theta2 * slope, share);
    let second = [
        [mu_mu * mu_eta * mu_eta + by_mu * theta2 * bend, mu_mu * mu_eta * mu_theta + by_mu * slope, mu_zeta * mu_eta],
        [mu_mu * mu_eta * mu_theta + by_mu * slope, mu_mu * mu_theta * mu_theta, mu_zeta * mu_theta],
        [mu_zeta * mu_eta, mu_zeta * mu_theta, zeta_zeta],
    ];
    Shape { value: f.value, first: [by_mu * mu_eta, by_mu * mu_theta, by_zeta], second }
}
