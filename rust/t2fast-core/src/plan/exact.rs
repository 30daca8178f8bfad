//! The continuous optimum over N, D and k, and what can be said around it.
//!
//! Whatever the law, pass@k rises and losses fall with k, so that k is always the largest the budget pays for beside N and
//! D. Two unknowns remain: `x = ln N`, and `v` in [0, 1], the place of D between its bounds. With separate budgets for
//! training and inference, k does not depend on D; then, if the law improves as the loss falls, D is at its upper bound and
//! one unknown is left. A law that need not improve (see [`Law::improves_as_loss_falls`]) is searched in both.
//!
//! The search evaluates a coarse lattice over the whole range and then ever finer lattices around the best point, moving
//! without refining while the best point lies on a lattice's edge. It needs no derivatives, so that bounds and kinks are
//! nothing special, and every lattice is one vectorised sweep. The loss laws are sums of exponentials of ln N, ln D and
//! ln k, and the costs too, so that these problems are convex and the optimum found is the only one; a pass law is
//! assumed to have no second optimum narrower than the coarse lattice, 1/40 of the range of ln N.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use super::Design;
use crate::cost::{Budget, Range, Rate};
use crate::error::{Error, Result};
use crate::law::{ChinchillaLaw, Law, Sense};
use crate::simd;

/// The largest training or total budget that [`cheapest`] considers, FLOP.
pub const MOST_FLOPS: f64 = 1e40;

/// Steps in which [`cheapest`] climbs to it, a factor of 100 each.
const CLIMB: u32 = 20;

/// Refinement ends when neighbours on the lattice of ln N are nearer than this: at a smooth optimum the objective is then
/// exact to rounding, at a kink to this times its slope.
const STEP: f64 = 1e-9;

/// The same for what tells how the optimum responds to more budget.
const STEP_GAIN: f64 = 1e-5;

/// Points of the coarse lattice, along ln N and along v.
const COARSE_X: u32 = 41;
/// The same along ln N for a problem known to be convex.
const COARSE_CONVEX: u32 = 9;
const COARSE_V: u32 = 9;

/// Misses after which a search stops to trust parabolas: they fit no kink.
const TRUST: usize = 3;

/// Rounds of refinement after which a search gives up and says so; smooth problems take eight.
const MOST_ROUNDS: usize = 100;

/// An optimum and what it took to find it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Optimum {
    /// The best design, k real.
    pub design: Design,
    /// Points at which the law was evaluated.
    pub evaluations: usize,
    /// Whether the lattice shrank below its tolerance.
    pub converged: bool,
}

/// The answer of [`plan`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// The best design with an integer k.
    pub best: Design,
    /// The best design with a real k.
    pub continuous: Design,
    /// The Chinchilla-style design, k chosen last; `None` when the budget admits none.
    pub chinchilla: Option<Design>,
    /// The best design within the data's range; `None` when no range was given or the budget admits none.
    pub inside_data: Option<Design>,
    /// The interval of N around the continuous optimum within 1% of its value, D and k chosen best for each N.
    pub flat: Range,
    /// How much the continuous optimum's value improves with 1% more training budget.
    pub gain_train: Option<f64>,
    /// The same for the inference budget.
    pub gain_inference: Option<f64>,
    /// The same for the budget of both together.
    pub gain_total: Option<f64>,
    /// Points at which the law was evaluated.
    pub evaluations: usize,
    /// Whether every search shrank below its tolerance.
    pub converged: bool,
}

/// Ranges of N, D and k, for example those of the data behind a law.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    /// N.
    pub n_params: Range,
    /// D.
    pub n_tokens: Range,
    /// k.
    pub k: Range,
}

/// A lattice point.
#[derive(Debug, Clone, Copy)]
struct Point {
    x: f64,
    v: f64,
    value: f64,
}

/// The budget and the law as plain numbers, infinite where nothing limits, ready for the vector loop.
#[derive(Clone, Copy)]
struct Numbers {
    train: f64,
    inference: f64,
    total: f64,
    tokens: Range,
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
    /// Neither attention nor repetition.
    plain: bool,
    /// More tokens are never worse.
    spends: bool,
}

impl Numbers {
    fn new(law: &ChinchillaLaw, budget: &Budget, spends: bool) -> Self {
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
            plain: budget.unique_tokens.is_none() && budget.workload.attention.is_none(),
            spends,
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

/// N, ln D and k at a lattice point. TOTAL: one budget pays for training and samples; ATTENTION: costs have its terms.
#[inline(always)]
fn locate<const FMA: bool, const TOTAL: bool, const ATTENTION: bool>(p: &Numbers, x: f64, v: f64) -> (f64, f64, f64) {
    let n = simd::exp::<FMA>(x);
    let width = if ATTENTION { simd::exp::<FMA>(x * (2.0 / 3.0)) } else { 0.0 };
    let per_token = p.per_token.params * n + p.per_token.width * width;
    let fixed = p.fixed.params * n + p.fixed.width * width;
    let per_sample = p.per_sample.params * n + p.per_sample.width * width;
    let most_tokens = least(p.tokens.hi, p.train / per_token);
    let most_samples = least(p.k.hi, (p.inference - fixed) / per_sample);
    let (ln_d, k) = if TOTAL {
        // v runs along the logarithm of (spent on training / spent on samples), so that neither end is crowded: from the
        // most samples and fewest tokens to the reverse. Bounds on D and k end it, so that they make no kinks inside.
        let both = p.total - fixed;
        let (train_lo, samples_lo) = (p.tokens.lo * per_token, p.k.lo * per_sample);
        // A law that a falling loss may hurt can want fewer tokens than remain affordable beside the most samples.
        let samples_hi = if p.spends { most_samples * per_sample } else { f64::INFINITY };
        let train_hi = most_tokens * per_token;
        let lo =
            simd::ln::<FMA>(most(both - samples_hi, train_lo) / least(most(both - train_lo, samples_lo), samples_hi));
        let hi =
            simd::ln::<FMA>(least(most(both - samples_lo, train_lo), train_hi) / most(both - train_hi, samples_lo));
        let odds = simd::exp::<FMA>(lo + v * (hi - lo));
        let sample_share = 1.0 / (1.0 + odds);
        let d = both * (odds * sample_share) / per_token;
        // What a bound on D leaves unspent goes to the samples.
        let bounded = least(d, most_tokens);
        let rest = if bounded < d { both - bounded * per_token } else { both * sample_share };
        (simd::ln::<FMA>(bounded), rest / per_sample)
    } else {
        (p.ln_tokens_lo + v * (simd::ln::<FMA>(most_tokens) - p.ln_tokens_lo), f64::INFINITY)
    };
    let k = least(most_samples, k);
    (n, most(ln_d, p.ln_tokens_lo), most(k, p.k.lo))
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
fn losses_as<const FMA: bool, const TOTAL: bool, const PLAIN: bool>(
    p: &Numbers,
    x: &[f64],
    v: &[f64],
    loss: &mut [f64],
    k: &mut [f64],
) {
    for (((&x, &v), loss), k) in x.iter().zip(v).zip(loss).zip(k) {
        let (n, ln_d, samples) =
            if PLAIN { locate::<FMA, TOTAL, false>(p, x, v) } else { locate::<FMA, TOTAL, true>(p, x, v) };
        let (ln_n, ln_d) = if PLAIN {
            (x, ln_d)
        } else {
            let n = worth::<FMA>(n, p.unique_params, p.r_params);
            let d = worth::<FMA>(simd::exp::<FMA>(ln_d), p.unique, p.r_tokens);
            (simd::ln::<FMA>(n), simd::ln::<FMA>(d))
        };
        let params = p.law.a * simd::exp::<FMA>(-p.law.alpha * ln_n);
        let tokens = p.law.b * simd::exp::<FMA>(-p.law.beta * ln_d);
        *loss = p.law.e + params + tokens;
        *k = samples;
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn losses(p: &Numbers, x: &[f64], v: &[f64], loss: &mut [f64], k: &mut [f64]) {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "neon"));
    match (p.total < f64::INFINITY, p.plain) {
        (false, true) => losses_as::<FMA, false, true>(p, x, v, loss, k),
        (false, false) => losses_as::<FMA, false, false>(p, x, v, loss, k),
        (true, true) => losses_as::<FMA, true, true>(p, x, v, loss, k),
        (true, false) => losses_as::<FMA, true, false>(p, x, v, loss, k),
    }
}

/// Something to optimise over x and v: fills in the value at each of at most [`BATCH`] points.
type Objective<'a> = dyn Fn(&[f64], &[f64], &mut [f64]) + 'a;

/// Points evaluated at once, at most.
const BATCH: usize = 96;

/// Places of the points of a lattice in x, in steps from its centre: two vectors of four lanes.
const EIGHT: [f64; 8] = [-1.0, -5.0 / 7.0, -3.0 / 7.0, -1.0 / 7.0, 1.0 / 7.0, 3.0 / 7.0, 5.0 / 7.0, 1.0];

/// Places of the points of a lattice in x and v along each, in steps from its centre.
const NINE: [f64; 9] = [0.0, -1.0, -0.75, -0.5, -0.25, 0.25, 0.5, 0.75, 1.0];

/// A search for the best point of an objective, x in a range and v in [0, 1].
struct Lattice<'a> {
    objective: &'a Objective<'a>,
    sense: Sense,
    x: Range,
    /// Refinement ends below this step in x.
    tolerance: f64,
    evaluations: usize,
    converged: bool,
}

impl<'a> Lattice<'a> {
    fn new(objective: &'a Objective<'a>, sense: Sense, x: Range) -> Self {
        Self { objective, sense, x, tolerance: STEP, evaluations: 0, converged: true }
    }

    fn evaluate(&mut self, x: &[f64], v: &[f64], values: &mut [f64]) {
        (self.objective)(x, v, values);
        self.evaluations += x.len();
    }

    /// The better of `best` and the best of the points; of equals the earlier.
    fn better(&mut self, mut best: Point, x: &[f64], v: &[f64]) -> Point {
        let mut values = [0.0; BATCH];
        self.evaluate(x, v, &mut values[..x.len()]);
        for ((&x, &v), &value) in x.iter().zip(v).zip(&values) {
            if self.sense.better(value, best.value) {
                best = Point { x, v, value };
            }
        }
        best
    }

    /// The best of a coarse lattice of `nx` places over the whole range, and the steps between its points.
    fn coarse(&mut self, nx: u32, both: bool) -> (Point, f64, f64) {
        let nv = if both { COARSE_V } else { 1 };
        let step_x = (self.x.hi - self.x.lo) / f64::from(nx - 1);
        let step_v = 1.0 / f64::from(COARSE_V - 1);
        let mut best = Point { x: self.x.hi, v: 1.0, value: self.sense.worst() };
        for j in 0..nv {
            let mut x = [self.x.hi; BATCH];
            let v = [1.0 - f64::from(j) * step_v; BATCH];
            for (x, i) in x.iter_mut().zip(0..nx - 1) {
                *x = self.x.lo + f64::from(i) * step_x;
            }
            best = self.better(best, &x[..nx as usize], &v[..nx as usize]);
        }
        (best, step_x, step_v)
    }

    /// Refines x around `best`, v as it is, until the step is below the tolerance.
    ///
    /// Each round looks at eight points around a centre; the parabola through the best and its neighbours gives the next
    /// centre, around which a far smaller lattice is enough. A best point on the lattice's edge says that it was not: the
    /// lattice then grows again, and after a few such misses parabolas are not tried any more. So kinks cost rounds, and
    /// never the optimum.
    fn refine_x(&mut self, mut best: Point, mut step: f64) -> Point {
        let mut rounds = 0;
        let mut misses = 0;
        let mut centre = best.x;
        while step > self.tolerance {
            rounds += 1;
            if rounds > MOST_ROUNDS {
                self.converged = false;
                break;
            }
            let x = EIGHT.map(|offset| (centre + offset * step).clamp(self.x.lo, self.x.hi));
            let mut values = [0.0; EIGHT.len()];
            self.evaluate(&x, &[best.v; EIGHT.len()], &mut values);
            // Among equals, but for rounding, a point inside: a plateau needs no moving.
            let mut top = 3;
            for i in 1..EIGHT.len() - 1 {
                if self.sense.better(values[i], values[top]) {
                    top = i;
                }
            }
            for i in [0, EIGHT.len() - 1] {
                let ahead = (values[i] - values[top]).abs() > 4.0 * f64::EPSILON * values[top].abs();
                if ahead && self.sense.better(values[i], values[top]) {
                    top = i;
                }
            }
            if self.sense.better(values[top], best.value) {
                best = Point { x: x[top], v: best.v, value: values[top] };
            }
            centre = x[top];
            let at_bound = centre <= self.x.lo || centre >= self.x.hi;
            if (top == 0 || top == EIGHT.len() - 1) && !at_bound {
                misses += 1;
                step *= 4.0;
                continue;
            }
            let spacing = step * (EIGHT[1] - EIGHT[0]);
            if at_bound {
                // From very near, the bound is the best point or the lattice grows away from it.
                step = spacing / 100.0;
            } else {
                step = spacing;
                // The vertex, by divided differences. Without one nearby (a kink, a plateau) the lattice just shrinks.
                let left = (values[top] - values[top - 1]) / (x[top] - x[top - 1]);
                let right = (values[top + 1] - values[top]) / (x[top + 1] - x[top]);
                let curvature = (right - left) / (x[top + 1] - x[top - 1]);
                let vertex = 0.5 * (x[top - 1] + x[top]) - 0.5 * left / curvature;
                if misses < TRUST && (vertex - centre).abs() < spacing {
                    centre = vertex;
                    step = spacing / 6.0;
                }
            }
        }
        best
    }

    /// Refines x and v around `best` until the step in x is below the tolerance.
    fn refine_both(&mut self, mut best: Point, mut step_x: f64, mut step_v: f64) -> Point {
        let mut rounds = 0;
        while step_x > self.tolerance || step_v > 0.3 * self.tolerance {
            rounds += 1;
            if rounds > MOST_ROUNDS {
                self.converged = false;
                break;
            }
            let (mut x, mut v, mut count) = ([0.0; BATCH], [0.0; BATCH], 0);
            for offset_v in NINE {
                for offset_x in NINE {
                    x[count] = (best.x + offset_x * step_x).clamp(self.x.lo, self.x.hi);
                    v[count] = (best.v + offset_v * step_v).clamp(0.0, 1.0);
                    count += 1;
                }
            }
            let next = self.better(best, &x[..count], &v[..count]);
            // A best point on the lattice's edge moves it instead.
            let on_edge = |next: f64, from: f64, step: f64, lo: f64, hi: f64| {
                (next - from).abs() > 0.9 * step && next > lo && next < hi
            };
            let moved =
                on_edge(next.x, best.x, step_x, self.x.lo, self.x.hi) || on_edge(next.v, best.v, step_v, 0.0, 1.0);
            best = next;
            if !moved {
                step_x *= 0.25;
                step_v *= 0.25;
            }
        }
        best
    }
}

/// A law under a budget.
struct Problem<'a> {
    law: &'a dyn Law,
    budget: Budget,
    numbers: Numbers,
    /// ln N that the budget admits.
    x: Range,
    /// Whether D decides how many samples remain affordable.
    shared: bool,
    /// Whether D must be searched too.
    both: bool,
}

impl<'a> Problem<'a> {
    fn new(law: &'a dyn Law, budget: &Budget) -> Result<Self> {
        let mut budget = *budget;
        if !law.depends_on_k() {
            // Every k is as good: the fewest samples are the cheapest.
            budget.k.hi = budget.k.lo;
        }
        let x = admissible(&budget)?;
        let shared = budget.total.is_some() && budget.k.lo < budget.k.hi;
        Ok(Self {
            law,
            numbers: Numbers::new(law.chinchilla(), &budget, law.improves_as_loss_falls()),
            x: Range { lo: x.lo.ln(), hi: x.hi.ln() },
            shared,
            both: shared || !law.improves_as_loss_falls(),
            budget,
        })
    }

    fn evaluate(&self, x: &[f64], v: &[f64], out: &mut [f64]) {
        const LANES: usize = 16;
        let (mut loss, mut k) = ([0.0; LANES], [0.0; LANES]);
        for ((x, v), out) in x.chunks(LANES).zip(v.chunks(LANES)).zip(out.chunks_mut(LANES)) {
            let (loss, k) = (&mut loss[..x.len()], &mut k[..x.len()]);
            losses(&self.numbers, x, v, loss, k);
            self.law.at_losses(loss, k, out);
        }
    }

    fn design(&self, point: Point) -> Design {
        let (n, ln_d, k) = if self.numbers.total < f64::INFINITY {
            locate::<false, true, true>(&self.numbers, point.x, point.v)
        } else {
            locate::<false, false, true>(&self.numbers, point.x, point.v)
        };
        // Rounding in the logarithms must not exceed a bound or overdraw the budget.
        let n = n.clamp(self.budget.n_params.lo, self.budget.n_params.hi);
        let d = ln_d.exp().min(self.budget.most_tokens(n, k)).max(self.budget.n_tokens.lo);
        Design::new(self.law, &self.budget, n, d, k)
    }

    /// Whether at this point a lower loss at the same k is no worse: then D belongs at its upper bound.
    fn wants_tokens(&self, point: Point) -> bool {
        let design = self.design(point);
        let slope = self.law.slopes(design.loss, design.k).loss;
        match self.law.sense() {
            Sense::Least => slope >= 0.0,
            Sense::Most => slope <= 0.0,
        }
    }

    fn solve(&self) -> Solution {
        let objective = |x: &[f64], v: &[f64], out: &mut [f64]| self.evaluate(x, v, out);
        let mut lattice = Lattice::new(&objective, self.law.sense(), self.x);
        let convex = !self.both && self.law.sense() == Sense::Least;
        let (start, step_x, step_v) = lattice.coarse(if convex { COARSE_CONVEX } else { COARSE_X }, self.both);
        let point = self.refine(&mut lattice, start, step_x, step_v);
        Solution { point, evaluations: lattice.evaluations, converged: lattice.converged }
    }

    /// Refines from a point; along the upper bound of D alone where that is where D belongs.
    fn refine(&self, lattice: &mut Lattice<'_>, start: Point, step_x: f64, step_v: f64) -> Point {
        let on_bound = !self.shared && start.v >= 1.0;
        if !self.both || on_bound {
            let point = lattice.refine_x(start, step_x);
            if !self.both || self.wants_tokens(point) {
                return point;
            }
        }
        let rounds_converged = lattice.converged;
        // Where bounds leave no choice of v, at the largest N for example, v says nothing: look at all of it first.
        let point = lattice.refine_both(start, step_x, if self.shared { 1.0 } else { step_v });
        if lattice.converged {
            return point;
        }
        // Bounds that cross make a ridge along which a lattice in both directions only creeps: choose v anew for each x.
        let evaluations = std::cell::Cell::new(0);
        let count = |x: f64| {
            let mut more = evaluations.get();
            let best = self.best_at(x, &mut more);
            evaluations.set(more);
            best
        };
        let objective = |x: &[f64], _: &[f64], out: &mut [f64]| {
            for (out, &x) in out.iter_mut().zip(x) {
                *out = count(x).value;
            }
        };
        let mut ridge = Lattice::new(&objective, lattice.sense, lattice.x);
        ridge.tolerance = lattice.tolerance;
        let found = count(ridge.refine_x(point, step_x).x);
        lattice.evaluations += evaluations.get();
        lattice.converged = rounds_converged && ridge.converged;
        if lattice.sense.better(point.value, found.value) { point } else { found }
    }

    /// The best point at a given ln N, D and k chosen best.
    fn best_at(&self, x: f64, evaluations: &mut usize) -> Point {
        let mut value = [0.0];
        self.evaluate(&[x], &[1.0], &mut value);
        *evaluations += 1;
        let point = Point { x, v: 1.0, value: value[0] };
        if !self.both || (!self.shared && self.wants_tokens(point)) {
            return point;
        }
        // v takes the part of the lattice's x.
        let objective = |v: &[f64], _: &[f64], out: &mut [f64]| self.evaluate(&[x; BATCH][..v.len()], v, out);
        let mut lattice = Lattice::new(&objective, self.law.sense(), Range { lo: 0.0, hi: 1.0 });
        // v spans many units of ln D.
        lattice.tolerance = 0.01 * STEP;
        let (start, step, _) = lattice.coarse(COARSE_X, false);
        let found = lattice.refine_x(start, step);
        *evaluations += lattice.evaluations;
        Point { x, v: found.x, value: found.value }
    }

    /// The interval of N around `optimum` whose value is within 1% of it, D and k chosen best for each N.
    fn flat(&self, optimum: Point, evaluations: &mut usize) -> Range {
        let sense = self.law.sense();
        let limit = match sense {
            Sense::Least => optimum.value * 1.01,
            Sense::Most => optimum.value * 0.99,
        };
        let mut edge = |bound: f64| {
            if !sense.better(limit, self.best_at(bound, evaluations).value) {
                return bound;
            }
            let (mut inside, mut outside) = (optimum.x, bound);
            // To one part in a thousand of N: it is a statement about flatness.
            while (outside - inside).abs() > 1e-3 {
                let middle = 0.5 * (inside + outside);
                if sense.better(limit, self.best_at(middle, evaluations).value) {
                    outside = middle;
                } else {
                    inside = middle;
                }
            }
            inside
        };
        Range { lo: edge(self.x.lo).exp(), hi: edge(self.x.hi).exp() }
    }
}

/// The outcome of a search.
struct Solution {
    point: Point,
    evaluations: usize,
    converged: bool,
}

/// The range of N within which a design with the fewest tokens and samples is affordable.
fn admissible(budget: &Budget) -> Result<Range> {
    let unbounded = |what: &str, remedy: &str| Err(Error::Array(format!("{what} is unbounded: give {remedy}")));
    let Range { lo: d, .. } = budget.n_tokens;
    let Range { lo: k, .. } = budget.k;
    if budget.train.is_none() && budget.total.is_none() && budget.n_tokens.hi.is_infinite() {
        return unbounded("the number of training tokens", "train_flops, total_flops or max_tokens");
    }
    if budget.inference.is_none() && budget.total.is_none() && budget.k.hi.is_infinite() {
        return unbounded("k", "inference_flops, total_flops or max_k");
    }
    let limited = [budget.train, budget.inference, budget.total].iter().any(Option::is_some);
    if !limited && budget.n_params.hi.is_infinite() {
        return unbounded("the number of parameters", "train_flops, inference_flops, total_flops or max_params");
    }
    let feasible = |n: f64| budget.most_tokens(n, k) >= d && budget.most_samples(n, d) >= k;
    let lo = budget.n_params.lo;
    if !feasible(lo) {
        let train = budget.workload.train_flops(lo, d);
        let inference = budget.workload.inference_flops(lo, k);
        let smallest = format!("the smallest design allowed, N = {lo}, D = {d}, k = {k}");
        for (name, given, needed) in [
            ("train_flops", budget.train, train),
            ("inference_flops", budget.inference, inference),
            ("total_flops", budget.total, train + inference),
        ] {
            if let Some(given) = given.filter(|&given| given < needed) {
                return Err(Error::Infeasible(format!(
                    "{name} = {given:e} is too small: {smallest}, needs {needed:e}; raise it or lower the bounds"
                )));
            }
        }
        return Err(Error::Infeasible(format!("no design within the bounds: {smallest}, exceeds them")));
    }
    // Costs are at least linear in N. Where they are just that, the largest N has a closed form.
    let (fixed, per_sample) = budget.workload.inference_rates();
    let train = budget.workload.train_rate().times(d);
    let inference = fixed.plus(per_sample.times(k));
    let mut top = budget.n_params.hi.min(MOST_FLOPS);
    for (flops, rate) in [(budget.train, train), (budget.inference, inference), (budget.total, train.plus(inference))] {
        if let Some(flops) = flops {
            top = top.min(flops / rate.params);
        }
    }
    if budget.workload.attention.is_none() {
        return Ok(Range { lo, hi: top.max(lo) });
    }
    // Every cost rises with N, so the feasible sizes form an interval; its end is found to the last digits.
    let (mut inside, mut outside) = (lo, top.max(lo));
    if feasible(outside) {
        return Ok(Range { lo, hi: outside });
    }
    loop {
        let middle = (inside * outside).sqrt();
        if middle <= inside || middle >= outside {
            return Ok(Range { lo, hi: inside });
        }
        if feasible(middle) {
            inside = middle;
        } else {
            outside = middle;
        }
    }
}

/// The best design with a real k.
///
/// # Errors
/// [`Error::Value`] for a budget with numbers out of range, [`Error::Array`] when something is unbounded,
/// [`Error::Infeasible`] when the budget admits no design.
pub fn optimum(law: &dyn Law, budget: &Budget) -> Result<Optimum> {
    let problem = Problem::new(law, &budget.checked()?)?;
    let Solution { point, evaluations, converged } = problem.solve();
    Ok(Optimum { design: problem.design(point), evaluations, converged })
}

/// The best design with an integer k, given the best with a real one.
///
/// For the convex laws, the best value as a function of k is convex too, so that one of the two neighbours is best.
fn integer_k(law: &dyn Law, budget: &Budget, real: f64) -> Result<Optimum> {
    let (lo, hi) = (budget.k.lo.ceil(), budget.k.hi.floor());
    if lo > hi {
        let Range { lo, hi } = budget.k;
        return Err(Error::Infeasible(format!("k between {lo} and {hi} holds no whole number; widen the bounds")));
    }
    let mut best: Option<Optimum> = None;
    let mut outcome = Err(Error::Infeasible("no whole k is affordable; raise the budget".into()));
    for k in [real.floor().clamp(lo, hi), real.ceil().clamp(lo, hi)] {
        if best.is_some_and(|best| best.design.k == k) {
            continue;
        }
        match optimum(law, &Budget { k: Range { lo: k, hi: k }, ..*budget }) {
            Ok(found) => {
                if best.is_none_or(|best| law.sense().better(found.design.value, best.design.value)) {
                    best = Some(found);
                }
            }
            // The next whole number up is often just beyond the budget.
            Err(error) if error.is_infeasible() => outcome = Err(error),
            Err(error) => return Err(error),
        }
    }
    best.map_or(outcome, Ok)
}

/// The Chinchilla-style design: N and D for the least loss at their training cost, then as many samples as the rest pays.
fn chinchilla(law: &dyn Law, budget: &Budget) -> Result<Option<Design>> {
    let one = Budget { k: Range { lo: budget.k.lo.ceil(), hi: budget.k.lo.ceil() }, ..*budget };
    let problem = match Problem::new(law.chinchilla(), &one) {
        Ok(problem) => problem,
        Err(error) if error.is_infeasible() => return Ok(None),
        Err(error) => return Err(error),
    };
    let base = *law.chinchilla();
    let with_samples = |n: f64, d: f64| {
        let n = n.clamp(budget.n_params.lo, budget.n_params.hi);
        let k = if law.depends_on_k() { budget.most_samples(n, d).floor() } else { budget.k.lo };
        Design::new(law, budget, n, d, k.max(one.k.lo))
    };
    if budget.total.is_none() {
        let design = problem.design(problem.solve().point);
        return Ok(Some(with_samples(design.n_params, design.n_tokens)));
    }
    // One budget for everything: of the designs that are compute-optimal for their own training cost, the best.
    let tokens = |n: f64| {
        let warranted = (base.beta * base.b / (base.alpha * base.params_term(n))).powf(1.0 / base.beta);
        warranted.min(budget.most_tokens(n, one.k.lo)).max(budget.n_tokens.lo)
    };
    let objective = |x: &[f64], _: &[f64], out: &mut [f64]| {
        for (out, x) in out.iter_mut().zip(x) {
            *out = with_samples(x.exp(), tokens(x.exp())).value;
        }
    };
    let mut lattice = Lattice::new(&objective, law.sense(), problem.x);
    let (start, step, _) = lattice.coarse(COARSE_X, false);
    let n = lattice.refine_x(start, step).x.exp();
    Ok(Some(with_samples(n, tokens(n))))
}

/// The best design within a budget, with what a reader needs to judge it.
///
/// `data` is the region of the data behind the law; the best design inside it is found too.
///
/// # Errors
/// As [`optimum`].
pub fn plan(law: &dyn Law, budget: &Budget, data: Option<&Region>) -> Result<Plan> {
    let budget = budget.checked()?;
    let problem = Problem::new(law, &budget)?;
    let Solution { point, mut evaluations, mut converged } = problem.solve();
    let continuous = problem.design(point);
    let best = integer_k(law, &problem.budget, continuous.k)?;
    evaluations += best.evaluations;
    converged &= best.converged;

    let inside_data = match data.and_then(|data| inside(&budget, data)) {
        None => None,
        Some(budget) => match optimum(law, &budget).and_then(|real| integer_k(law, &budget, real.design.k)) {
            Ok(found) => {
                evaluations += found.evaluations;
                converged &= found.converged;
                Some(found.design)
            }
            Err(error) if error.is_infeasible() => None,
            Err(error) => return Err(error),
        },
    };

    let mut gain = |of: fn(&mut Budget) -> Option<&mut f64>| -> Result<Option<f64>> {
        let mut more = problem.budget;
        let Some(flops) = of(&mut more) else {
            return Ok(None);
        };
        *flops *= 1.01;
        // The optimum moves little: a small lattice around the old one finds the new one.
        let richer = Problem::new(law, &more)?;
        let objective = |x: &[f64], v: &[f64], out: &mut [f64]| richer.evaluate(x, v, out);
        let mut lattice = Lattice::new(&objective, law.sense(), richer.x);
        lattice.tolerance = STEP_GAIN;
        let nowhere = Point { value: law.sense().worst(), ..point };
        let start = lattice.better(nowhere, &[point.x], &[point.v]);
        let found = richer.refine(&mut lattice, start, 0.02, 0.02);
        evaluations += lattice.evaluations;
        Ok(Some(match law.sense() {
            Sense::Least => point.value - found.value,
            Sense::Most => found.value - point.value,
        }))
    };
    let gain_train = gain(|budget| budget.train.as_mut())?;
    let gain_inference = gain(|budget| budget.inference.as_mut())?;
    let gain_total = gain(|budget| budget.total.as_mut())?;
    let flat = problem.flat(point, &mut evaluations);
    Ok(Plan {
        best: best.design,
        continuous,
        chinchilla: chinchilla(law, &budget)?,
        inside_data,
        flat,
        gain_train,
        gain_inference,
        gain_total,
        evaluations,
        converged,
    })
}

/// The budget confined to a region, if they have anything in common.
fn inside(budget: &Budget, data: &Region) -> Option<Budget> {
    Some(Budget {
        n_params: budget.n_params.intersect(data.n_params)?,
        n_tokens: budget.n_tokens.intersect(data.n_tokens)?,
        k: budget.k.intersect(data.k)?,
        ..*budget
    })
}

/// The cheapest budget whose best design reaches a target: the training budget when the budget names one for inference,
/// and the total otherwise. Returns the completed budget.
///
/// # Errors
/// As [`optimum`]; [`Error::Value`] for a target out of range; [`Error::Array`] when train or total FLOP are given already;
/// [`Error::Unreachable`] when no budget up to [`MOST_FLOPS`] reaches the target, with the best value that one does.
pub fn cheapest(law: &dyn Law, budget: &Budget, target: f64) -> Result<Budget> {
    let budget = budget.checked()?;
    if law.sense() == Sense::Most && !(target > 0.0 && target < 1.0) {
        let must = "must lie between 0 and 1, both excluded: it is a success rate";
        return Err(Error::Value { name: "target", value: target, must });
    }
    crate::error::positive("target", target)?;
    if budget.train.is_some() || budget.total.is_some() {
        return Err(Error::Array(
            "train_flops and total_flops are what a target asks for: give inference_flops, or a workload alone".into(),
        ));
    }
    let with = |flops: f64| {
        if budget.inference.is_some() {
            Budget { train: Some(flops), ..budget }
        } else {
            Budget { total: Some(flops), ..budget }
        }
    };
    let reach = |flops: f64| -> Result<Option<f64>> {
        let budget = with(flops);
        match optimum(law, &budget).and_then(|real| integer_k(law, &budget, real.design.k)) {
            Ok(found) => Ok(Some(found.design.value)),
            Err(error) if error.is_infeasible() => Ok(None),
            Err(error) => Err(error),
        }
    };
    let reached = |value: Option<f64>| value.is_some_and(|value| !law.sense().better(target, value));
    // Upwards in steps: over the vast range that the largest budget opens, a search might miss what a smaller one finds.
    let mut ceiling = None;
    let (mut below, mut above) = (0.0, 0.0);
    for step in 1..=CLIMB {
        below = above;
        above = MOST_FLOPS.ln() * f64::from(step) / f64::from(CLIMB);
        let value = reach(above.exp())?;
        if value.is_some_and(|value| ceiling.is_none_or(|ceiling| law.sense().better(value, ceiling))) {
            ceiling = value;
        }
        if reached(value) {
            break;
        }
    }
    if !reached(ceiling) {
        let what = if law.sense() == Sense::Most { "most" } else { "least" };
        return Err(match ceiling {
            Some(ceiling) => Error::Unreachable(format!(
                "target = {target} is out of reach: the {what} this law predicts within the bounds is {ceiling:.6}, \
                 even for {MOST_FLOPS:e} FLOP; choose a target this side of it, or raise the other budget"
            )),
            None => Error::Infeasible("no design within the bounds at any cost; widen them".into()),
        });
    }
    while above - below > 1e-11 * above {
        let middle = 0.5 * (below + above);
        if reached(reach(middle.exp())?) {
            above = middle;
        } else {
            below = middle;
        }
    }
    Ok(with(above.exp()))
}
