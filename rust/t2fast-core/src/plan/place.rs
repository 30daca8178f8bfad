//! From the search's two unknowns, `x = ln N` and `v` in [0, 1], to N, D and k and their loss: one loop over vectors.

use std::cell::RefCell;

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use super::useful::Useful;
use crate::cost::{AtSize, Budget, Range, Rate};
use crate::law::ChinchillaLaw;
use crate::simd;

/// The budget and the law as plain numbers, infinite where nothing limits, ready for the vector loop.
#[derive(Clone)]
pub(super) struct Numbers {
    train: f64,
    inference: f64,
    pub(super) total: f64,
    tokens: Range,
    tokens_per_param: f64,
    ln_tokens_lo: f64,
    k: Range,
    per_token: Rate,
    fixed: Rate,
    per_sample: Rate,
    unique: f64,
    unique_params: f64,
    r_tokens: f64,
    r_params: f64,
    law: ChinchillaLaw,
    /// ln(beta B / (delta F)) and 1 / (beta + delta), where overtraining has a term: with fresh tokens the loss is least
    /// at ln D = (pull + delta ln N) times this.
    pull: f64,
    slope: f64,
    /// The same where tokens repeat.
    pub(super) useful: Useful,
    /// The budget again, where its costs are dollars and no formula of N alone.
    pub(super) priced: Option<Budget>,
    /// Neither attention nor repetition.
    plain: bool,
    /// More tokens are never worse.
    spends: bool,
    /// The v beyond which the most samples allowed are no longer affordable; zero where that is so throughout.
    pub(super) kink: f64,
}

impl Numbers {
    /// The numbers of a law and a budget, for ln N up to `x_hi`.
    pub(super) fn new(law: &ChinchillaLaw, budget: &Budget, spends: bool, x_hi: f64) -> Self {
        let or_infinite = |budget: Option<f64>| budget.unwrap_or(f64::INFINITY);
        let (fixed, per_sample) = budget.workload.inference_rates();
        // Without a limit on unique tokens nothing repeats, and without R* for parameters none is in excess.
        let unique_params = match (budget.unique_tokens, law.repetition.params) {
            (Some(unique), Some(_)) => law.params_for_tokens(unique),
            _ => f64::MAX,
        };
        Self {
            train: or_infinite(budget.train),
            inference: or_infinite(budget.inference),
            total: or_infinite(budget.total),
            tokens: budget.n_tokens,
            tokens_per_param: or_infinite(budget.max_tokens_per_param),
            ln_tokens_lo: budget.n_tokens.lo.ln(),
            k: budget.k,
            per_token: budget.workload.train_rate(),
            fixed,
            per_sample,
            unique: budget.unique_tokens.unwrap_or(f64::MAX),
            unique_params,
            r_tokens: law.repetition.tokens,
            r_params: law.repetition.params.unwrap_or(1.0),
            law: *law,
            pull: (law.beta * law.b / (law.overtraining.delta * law.overtraining.f)).ln(),
            slope: 1.0 / (law.beta + law.overtraining.delta),
            useful: Useful::new(law, budget.unique_tokens.unwrap_or(f64::MAX), x_hi),
            priced: budget.money.is_some().then_some(*budget),
            plain: budget.unique_tokens.is_none() && budget.workload.attention.is_none(),
            spends,
            kink: if spends || (budget.inference.is_none() && budget.k.hi.is_infinite()) { 0.0 } else { 0.5 },
        }
    }
}

#[inline(always)]
fn least(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

#[inline(always)]
fn most(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

/// Points that [`losses`] takes at once, at most.
pub(super) const LANES: usize = 16;

/// Added to v by points beyond the tokens that help.
pub(super) const BEYOND: f64 = 2.0;

/// N, ln D and k at a lattice point. TOTAL: one budget pays for training and samples; GENERAL: costs have terms of
/// attention, or tokens repeat; OVER: overtraining has a term, so that D ends where its loss is least, or from
/// [`BEYOND`] on begins there. Where both hold, `ln_useful` says where that is.
#[inline(always)]
pub(super) fn locate<const FMA: bool, const TOTAL: bool, const GENERAL: bool, const OVER: bool>(
    p: &Numbers,
    x: f64,
    v: f64,
    ln_useful: f64,
) -> (f64, f64, f64) {
    let n = simd::exp::<FMA>(x);
    let width = if GENERAL { simd::exp::<FMA>(x * (2.0 / 3.0)) } else { 0.0 };
    let per_token = p.per_token.params * n + p.per_token.width * width;
    let fixed = p.fixed.params * n + p.fixed.width * width;
    let per_sample = p.per_sample.params * n + p.per_sample.width * width;
    let mut most_tokens = least(least(p.tokens.hi, p.tokens_per_param * n), p.train / per_token);
    let (mut least_tokens, mut ln_least, mut v) = (p.tokens.lo, p.ln_tokens_lo, v);
    if OVER {
        let ln_useful = if GENERAL { ln_useful } else { (p.pull + p.law.overtraining.delta * x) * p.slope };
        let useful = most(simd::exp::<FMA>(ln_useful), p.tokens.lo);
        if v >= BEYOND {
            v -= BEYOND;
            // Where the budget ends before them, there is nothing beyond.
            let rest = if TOTAL { (p.total - fixed - p.k.lo * per_sample) / per_token } else { f64::INFINITY };
            least_tokens = least(useful, most(least(most_tokens, rest), p.tokens.lo));
            ln_least = simd::ln::<FMA>(least_tokens);
        } else {
            most_tokens = least(most_tokens, useful);
        }
    }
    let most_samples = least(p.k.hi, (p.inference - fixed) / per_sample);
    let (ln_d, k) = if TOTAL {
        // v runs along the logarithm of (spent on training / spent on samples), so that neither end is crowded: from the
        // most samples and fewest tokens to the reverse. Bounds on D and k end it, so that they make no kinks inside.
        let both = p.total - fixed;
        let (train_lo, samples_lo) = (least_tokens * per_token, p.k.lo * per_sample);
        let samples_hi = most_samples * per_sample;
        let train_hi = most_tokens * per_token;
        let kink =
            simd::ln::<FMA>(most(both - samples_hi, train_lo) / least(most(both - train_lo, samples_lo), samples_hi));
        let hi =
            simd::ln::<FMA>(least(most(both - samples_lo, train_lo), train_hi) / most(both - train_hi, samples_lo));
        // A law that a falling loss may hurt can want fewer tokens than remain affordable beside the most samples. The
        // kink there has a v of its own, the same for every N: a lattice sees it as an axis, not as a slanted ridge.
        let lo = if p.spends { kink } else { simd::ln::<FMA>(train_lo / most(both - train_lo, samples_lo)) };
        let kink = least(kink, hi);
        let place =
            if v < p.kink { lo + v / p.kink * (kink - lo) } else { kink + (v - p.kink) / (1.0 - p.kink) * (hi - kink) };
        let odds = simd::exp::<FMA>(place);
        let sample_share = 1.0 / (1.0 + odds);
        let d = both * (odds * sample_share) / per_token;
        // What a bound on D leaves unspent goes to the samples.
        let bounded = least(d, most_tokens);
        let rest = if bounded < d { both - bounded * per_token } else { both * sample_share };
        (simd::ln::<FMA>(bounded), rest / per_sample)
    } else {
        (ln_least + v * (simd::ln::<FMA>(most_tokens) - ln_least), f64::INFINITY)
    };
    let k = least(most_samples, k);
    (n, most(ln_d, ln_least), most(k, p.k.lo))
}

/// Sizes that are remembered: lattices come back to the same few.
const REMEMBERED: usize = 64;

/// Where costs are dollars: all of a point that depends on its size alone.
#[derive(Clone, Copy)]
struct Size {
    x: f64,
    beyond: bool,
    n: f64,
    at: AtSize,
    most_samples: f64,
    most_tokens: f64,
    ln_least: f64,
    /// With a total budget, ends and kink of the logarithm of (spent on training / spent on samples); without, `lo` and
    /// `hi` of ln D.
    lo: f64,
    kink: f64,
    hi: f64,
    /// The law's term of N.
    params: f64,
}

impl Size {
    fn new(p: &Numbers, budget: &Budget, x: f64, beyond: bool) -> Self {
        let n = x.exp();
        let at = budget.at(n);
        let mut most_tokens = p.tokens.hi.min(p.tokens_per_param * n).min(p.train / at.per_token);
        let mut least_tokens = p.tokens.lo;
        if p.law.overtraining.acts() {
            let useful = p.useful.ln_tokens(x).exp().max(p.tokens.lo);
            if beyond {
                let rest = (p.total - at.inference(p.k.lo)) / at.per_token;
                least_tokens = useful.min(most_tokens.min(rest).max(p.tokens.lo));
            } else {
                most_tokens = most_tokens.min(useful);
            }
        }
        let most_samples = p.k.hi.min(at.most_samples(p.inference));
        let ln_least = least_tokens.ln();
        let (lo, kink, hi) = if p.total < f64::INFINITY {
            // As above, with what samples cost beside each other in place of a fixed part and a part for each.
            let (train_lo, train_hi) = (least_tokens * at.per_token, most_tokens * at.per_token);
            let samples_lo = at.inference(p.k.lo);
            let samples_hi = if most_samples.is_finite() { at.inference(most_samples) } else { f64::INFINITY };
            let both = p.total;
            let kink = ((both - samples_hi).max(train_lo) / (both - train_lo).max(samples_lo).min(samples_hi)).ln();
            let hi = ((both - samples_lo).max(train_lo).min(train_hi) / (both - train_hi).max(samples_lo)).ln();
            let lo = if p.spends { kink } else { (train_lo / (both - train_lo).max(samples_lo)).ln() };
            (lo, kink.min(hi), hi)
        } else {
            (ln_least, f64::NAN, most_tokens.ln())
        };
        let params = p.law.a * (-p.law.alpha * x).exp();
        Self { x, beyond, n, at, most_samples, most_tokens, ln_least, lo, kink, hi, params }
    }

    /// ln D and k at a v of this size.
    #[inline]
    fn place(&self, p: &Numbers, v: f64) -> (f64, f64) {
        let v = if self.beyond { v - BEYOND } else { v };
        let (ln_d, k) = if p.total < f64::INFINITY {
            let place = if v < p.kink {
                self.lo + v / p.kink * (self.kink - self.lo)
            } else {
                self.kink + (v - p.kink) / (1.0 - p.kink) * (self.hi - self.kink)
            };
            let odds = place.exp();
            let d = (p.total * (odds / (1.0 + odds)) / self.at.per_token).min(self.most_tokens);
            (d.ln(), self.at.most_samples(p.total - d * self.at.per_token))
        } else {
            (self.lo + v * (self.hi - self.lo), f64::INFINITY)
        };
        (ln_d.max(self.ln_least), self.most_samples.min(k).max(p.k.lo))
    }
}

/// Sizes met lately, each in the place that its bits choose.
pub(super) struct Sizes(RefCell<Vec<Size>>);

impl Sizes {
    pub(super) fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    /// What `read` makes of the size at x.
    #[inline]
    fn at<T>(&self, p: &Numbers, budget: &Budget, x: f64, v: f64, read: impl FnOnce(&Size) -> T) -> T {
        let beyond = p.law.overtraining.acts() && v >= BEYOND;
        let mut sizes = self.0.borrow_mut();
        if sizes.is_empty() {
            // Filled on the first call: budgets of operations need none.
            sizes.resize(REMEMBERED, Size::new(p, budget, x, beyond));
        }
        let place = (x.to_bits().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize;
        let size = &mut sizes[place];
        if size.x.to_bits() != x.to_bits() || size.beyond != beyond {
            *size = Size::new(p, budget, x, beyond);
        }
        read(size)
    }
}

/// N, ln D and k where costs are dollars: [`AtSize`] says what a size costs.
pub(super) fn locate_priced(p: &Numbers, sizes: &Sizes, budget: &Budget, x: f64, v: f64) -> (f64, f64, f64) {
    sizes.at(p, budget, x, v, |size| {
        let (ln_d, k) = size.place(p, v);
        (size.n, ln_d, k)
    })
}

/// Loss and k at lattice points where costs are dollars.
#[inline(always)]
fn losses_priced<const FMA: bool>(
    p: &Numbers,
    sizes: &Sizes,
    budget: &Budget,
    x: &[f64],
    v: &[f64],
    loss: &mut [f64],
    k: &mut [f64],
) {
    let mut of_params = [0.0; LANES];
    for ((((&x, &v), ln_d), k), params) in x.iter().zip(v).zip(&mut *loss).zip(k).zip(&mut of_params) {
        sizes.at(p, budget, x, v, |size| {
            (*ln_d, *k) = size.place(p, v);
            *params = size.params;
        });
    }
    if budget.unique_tokens.is_some() {
        for (&x, loss) in x.iter().zip(loss) {
            *loss = p.law.loss_within(x.exp(), loss.exp(), budget.unique_tokens);
        }
        return;
    }
    let over = p.law.overtraining;
    for ((&x, params), loss) in x.iter().zip(&of_params).zip(loss) {
        let ln_d = *loss;
        let tokens = p.law.b * simd::exp::<FMA>(-p.law.beta * ln_d);
        let beyond = if over.acts() { over.f * simd::exp::<FMA>(over.delta * (ln_d - x)) } else { 0.0 };
        *loss = p.law.e + params + tokens + beyond;
    }
}

/// Repeated amounts as in [`crate::law::effective`].
#[inline(always)]
fn worth<const FMA: bool>(total: f64, unique: f64, r_star: f64) -> f64 {
    let repeats = total / unique - 1.0;
    let discounted = unique * (1.0 - r_star * simd::exp_m1::<FMA>(-most(repeats, 0.0) / r_star));
    if repeats <= 0.0 { total } else { discounted }
}

/// Loss and k at lattice points. PLAIN: neither attention nor repetition.
#[inline(always)]
fn losses_as<const FMA: bool, const TOTAL: bool, const PLAIN: bool, const OVER: bool>(
    p: &Numbers,
    x: &[f64],
    v: &[f64],
    loss: &mut [f64],
    k: &mut [f64],
) {
    // Apart, since a search in this loop would keep it from the vector registers.
    let mut useful = [0.0; LANES];
    if OVER && !PLAIN {
        p.useful.fill(x, &mut useful[..x.len()]);
    }
    for ((((&x, &v), &useful), loss), k) in x.iter().zip(v).zip(&useful).zip(loss).zip(k) {
        let (n, ln_d, samples) = if PLAIN {
            locate::<FMA, TOTAL, false, OVER>(p, x, v, useful)
        } else {
            locate::<FMA, TOTAL, true, OVER>(p, x, v, useful)
        };
        let over =
            if OVER { p.law.overtraining.f * simd::exp::<FMA>(p.law.overtraining.delta * (ln_d - x)) } else { 0.0 };
        let (ln_n, ln_d) = if PLAIN {
            (x, ln_d)
        } else {
            let n = worth::<FMA>(n, p.unique_params, p.r_params);
            let d = worth::<FMA>(simd::exp::<FMA>(ln_d), p.unique, p.r_tokens);
            (simd::ln::<FMA>(n), simd::ln::<FMA>(d))
        };
        let params = p.law.a * simd::exp::<FMA>(-p.law.alpha * ln_n);
        let tokens = p.law.b * simd::exp::<FMA>(-p.law.beta * ln_d);
        *loss = p.law.e + params + tokens + over;
        *k = samples;
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
pub(super) fn losses(p: &Numbers, sizes: &Sizes, x: &[f64], v: &[f64], loss: &mut [f64], k: &mut [f64]) {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    if let Some(budget) = &p.priced {
        return losses_priced::<FMA>(p, sizes, budget, x, v, loss, k);
    }
    match (p.total < f64::INFINITY, p.plain, p.law.overtraining.acts()) {
        (false, true, false) => losses_as::<FMA, false, true, false>(p, x, v, loss, k),
        (false, false, false) => losses_as::<FMA, false, false, false>(p, x, v, loss, k),
        (true, true, false) => losses_as::<FMA, true, true, false>(p, x, v, loss, k),
        (true, false, false) => losses_as::<FMA, true, false, false>(p, x, v, loss, k),
        (false, true, true) => losses_as::<FMA, false, true, true>(p, x, v, loss, k),
        (false, false, true) => losses_as::<FMA, false, false, true>(p, x, v, loss, k),
        (true, true, true) => losses_as::<FMA, true, true, true>(p, x, v, loss, k),
        (true, false, true) => losses_as::<FMA, true, false, true>(p, x, v, loss, k),
    }
}
