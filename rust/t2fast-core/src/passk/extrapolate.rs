//! pass@k beyond the samples drawn: methods, their bootstrap, and a back-test that measures them on the data at hand.

use rayon::prelude::*;

use super::beta_binomial::{BetaBinomial, Fit, Likelihood};
use super::estimate::Estimator;
use super::histogram::{Histogram, Sum};
use super::interval::Resampler;
use crate::error::{Error, Result};
use crate::random::Philox;
use crate::threads::Progress;

/// Points of the curve that the power law is fitted to, at most; evenly spaced in ln k.
const GRID: u32 = 40;

/// How to go beyond n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// `-ln pass@k = A k^-gamma`, by least squares on `ln(-ln pass@k)` over the estimated curve (Brown et al. 2024, arXiv
    /// 2407.21787; Hughes et al. 2024, arXiv 2412.03556).
    PowerLaw,
    /// Beta distributed success rates, by maximum likelihood.
    BetaBinomial,
    /// The same with a share of problems that never succeed.
    ZeroInflated,
    /// `1 - (1 - c/n)^k` per problem: what one gets by taking c/n for the truth. Biased low; here as the baseline.
    PlugIn,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::PowerLaw, Self::BetaBinomial, Self::ZeroInflated, Self::PlugIn];
}

/// Counts prepared for prediction under changing weights.
#[derive(Debug, Clone)]
pub struct Predictor {
    method: Method,
    /// ln k of the curve's points, and pass@k of each distinct pair at each of them, row by row.
    grid: Vec<f64>,
    values: Vec<f64>,
    /// c/n of each distinct pair.
    rates: Vec<f64>,
    problems: Vec<u64>,
    likelihood: Option<Likelihood>,
}

/// What a method found in the counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Found {
    /// `-ln pass@k = exp(ln_scale) k^-exponent`; the curve's points that were used.
    PowerLaw {
        /// ln A.
        ln_scale: f64,
        /// gamma.
        exponent: f64,
    },
    /// A fitted distribution.
    Distribution(Fit),
    /// No sample was correct, or all were: the same at every k.
    Constant(f64),
    /// Nothing but the rates themselves.
    Rates,
}

impl Predictor {
    /// Prepares a method. `batch` is the size of batches where sampling stopped at the first success, else `None`.
    ///
    /// # Errors
    /// [`Error::Array`] when there is no problem, when stopped sampling is no whole number of batches, and when a method
    /// is asked for that stopped sampling biases.
    #[allow(clippy::cast_precision_loss)]
    pub fn new(histogram: &Histogram, method: Method, batch: Option<u64>) -> Result<Self> {
        let pairs = histogram.pairs();
        if pairs.is_empty() {
            return Err(Error::Array("no problems to extrapolate from".to_owned()));
        }
        let (mut grid, mut values, mut likelihood) = (Vec::new(), Vec::new(), None);
        match method {
            Method::PowerLaw => {
                let estimator = batch.map_or(Estimator::PassAtK, |batch| Estimator::Stopped { batch });
                // Stopped sampling leaves solved problems with few samples and still says how they do at any k.
                let defined = pairs.iter().filter(|pair| batch.is_none() || pair.c == 0).map(|pair| pair.n).min();
                let most = defined.unwrap_or_else(|| pairs[pairs.len() - 1].n);
                let ks = grid_to(most);
                for pair in pairs {
                    for &k in &ks {
                        values.push(estimator.value(pair.n, pair.c, k)?);
                    }
                }
                grid = ks.into_iter().map(|k| (k as f64).ln()).collect();
            }
            Method::BetaBinomial | Method::ZeroInflated => likelihood = Some(Likelihood::new(histogram)?),
            Method::PlugIn if batch.is_some() => {
                return Err(Error::Array(
                    "method = plug_in: c/n is too high where sampling stopped at the first success; use another method"
                        .to_owned(),
                ));
            }
            Method::PlugIn => {}
        }
        let rates = pairs.iter().map(|pair| pair.c as f64 / pair.n as f64).collect();
        let problems = pairs.iter().map(|pair| pair.problems).collect();
        Ok(Self { method, grid, values, rates, problems, likelihood })
    }

    /// pass@k for each (real) k when the distinct pairs weigh as given; `start` shortens a fit.
    #[allow(clippy::cast_precision_loss)]
    fn predict(&mut self, weights: &[f64], ks: &[f64], start: Option<BetaBinomial>) -> (Vec<f64>, Found) {
        match self.method {
            Method::PowerLaw => self.power_law(weights, ks),
            Method::BetaBinomial | Method::ZeroInflated => {
                let likelihood = self.likelihood.as_mut().expect("made for these methods");
                likelihood.weigh(weights);
                let fit = likelihood.fit(self.method == Method::ZeroInflated, start);
                (ks.iter().map(|&k| fit.model.pass_at_k(k)).collect(), Found::Distribution(fit))
            }
            Method::PlugIn => {
                let total: f64 = weights.iter().sum();
                let one = |&k: &f64| {
                    let mut sum = Sum::default();
                    for (&rate, &w) in self.rates.iter().zip(weights) {
                        // At rate 1 the logarithm is minus infinity and the result 1.
                        sum.add(w * -(k * (-rate).ln_1p()).exp_m1());
                    }
                    sum.value() / total
                };
                (ks.iter().map(one).collect(), Found::Rates)
            }
        }
    }

    fn power_law(&self, weights: &[f64], ks: &[f64]) -> (Vec<f64>, Found) {
        let total: f64 = weights.iter().sum();
        let mut curve = vec![Sum::default(); self.grid.len()];
        for (row, &w) in self.values.chunks_exact(self.grid.len()).zip(weights) {
            if w > 0.0 {
                for (sum, value) in curve.iter_mut().zip(row) {
                    sum.add(w * value);
                }
            }
        }
        // A mean of 0 or 1 has no ln(-ln): 1 is reached at some k and held; 0 holds at all k or at none.
        let (mut n, mut sx, mut sy, mut last) = (0.0, 0.0, 0.0, 0.0);
        let mut points = Vec::with_capacity(curve.len());
        for (&x, sum) in self.grid.iter().zip(&curve) {
            let mean = sum.value() / total;
            last = mean;
            if mean > 0.0 && mean < 1.0 {
                let y = (-mean.ln()).ln();
                points.push((x, y));
                n += 1.0;
                sx += x;
                sy += y;
            }
        }
        if points.len() < 2 {
            return (vec![last; ks.len()], Found::Constant(last));
        }
        let (mx, my) = (sx / n, sy / n);
        let (mut xx, mut xy) = (0.0, 0.0);
        for (x, y) in points {
            xx += (x - mx) * (x - mx);
            xy += (x - mx) * (y - my);
        }
        let exponent = -xy / xx;
        let ln_scale = my + exponent * mx;
        let values = ks.iter().map(|k| (-(ln_scale - exponent * k.ln()).exp()).exp()).collect();
        (values, Found::PowerLaw { ln_scale, exponent })
    }

    /// The prediction from all problems.
    #[allow(clippy::cast_precision_loss)]
    pub fn point(&mut self, ks: &[f64]) -> (Vec<f64>, Found) {
        let weights: Vec<f64> = self.problems.iter().map(|&problems| problems as f64).collect();
        self.predict(&weights, ks, None)
    }

    /// Bootstrap over problems with refit: one row of predictions per replicate. One unit of progress is one replicate.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when asked to stop.
    pub fn bootstrap(&self, ks: &[f64], replicates: usize, seed: u64, progress: &Progress) -> Result<Vec<f64>> {
        let start = match self.clone().point(&[]).1 {
            Found::Distribution(fit) => Some(fit.model),
            _ => None,
        };
        let resampler = Resampler::new(self.problems.iter().copied(), seed)?;
        let mut out = vec![0.0; replicates * ks.len()];
        out.par_chunks_mut(ks.len().max(1)).enumerate().try_for_each_init(
            || self.clone(),
            |predictor, (replicate, out)| {
                let weights = resampler.weights(replicate as u64);
                out.copy_from_slice(&predictor.predict(&weights, ks, start).0);
                progress.advance(1)
            },
        )?;
        Ok(out)
    }
}

/// Whole numbers from 1 to `most`, evenly spaced in their logarithms as far as that goes.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn grid_to(most: u64) -> Vec<u64> {
    let step = (most as f64).ln() / f64::from(GRID - 1);
    let mut ks: Vec<u64> = (0..GRID).map(|i| (f64::from(i) * step).exp().round() as u64).collect();
    *ks.last_mut().expect("the grid is not empty") = most;
    ks.dedup();
    ks
}

/// m samples of each problem's n, drawn without replacement; a function of the seed, the replicate and the problems alone.
///
/// # Errors
/// [`Error::Array`] when a problem has fewer than m samples.
pub fn subsample(histogram: &Histogram, m: u64, seed: u64, replicate: u64) -> Result<Histogram> {
    if m > histogram.fewest_samples() || m == 0 {
        let n = histogram.fewest_samples();
        return Err(Error::Array(format!("m = {m}: must lie between 1 and the fewest samples of a problem, {n}")));
    }
    let (mut ns, mut cs) = (Vec::new(), Vec::new());
    let mut problem = 0;
    for pair in histogram.pairs() {
        for _ in 0..pair.problems {
            let mut random = Philox::new(seed, (replicate << 32).wrapping_add(problem));
            problem += 1;
            ns.push(m.cast_signed());
            cs.push(hypergeometric(&mut random, pair.n, pair.c, m).cast_signed());
        }
    }
    Histogram::from_counts(&ns, &cs)
}

/// How many of m draws without replacement from n hit the c correct ones.
fn hypergeometric(random: &mut Philox, n: u64, c: u64, m: u64) -> u64 {
    // Drawn and correct may change places, and so may correct and wrong: walk through the fewest.
    let (draws, marked) = if m <= c { (m, c) } else { (c, m) };
    if 2 * marked > n && draws > n - marked {
        // Fewer are left out than drawn.
        return draws - hypergeometric(random, n, n - marked, draws);
    }
    let (mut left, mut hits) = (marked, 0);
    for i in 0..draws {
        if random.below(n - i) < left {
            left -= 1;
            hits += 1;
        }
    }
    hits
}

/// What a back-test measured for one method at one size of subsample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trial {
    /// The method.
    pub method: Method,
    /// Samples per problem that it saw.
    pub seen: u64,
    /// Mean absolute error of its prediction of pass@n.
    pub error: f64,
    /// Mean error: positive where it predicts too much.
    pub bias: f64,
}

/// Subsamples the counts and lets each method predict pass@n, n being the fewest samples of a problem, from fewer.
///
/// Sizes of subsamples reach as far below n as `most` lies above it, as far as counts allow. One unit of progress is one
/// replicate.
///
/// # Errors
/// [`Error::Array`] when n is below 4, [`Error::Interrupted`] when asked to stop.
#[allow(clippy::cast_precision_loss)]
pub fn backtest(
    histogram: &Histogram,
    methods: &[Method],
    most: f64,
    replicates: u64,
    seed: u64,
    progress: &Progress,
) -> Result<Vec<Trial>> {
    let n = histogram.fewest_samples();
    if n < 4 {
        return Err(Error::Array(format!("n = {n}: a back-test hides samples and needs at least 4 of each problem")));
    }
    let truth = histogram.mean_pass_at_k(n);
    let sizes = subsample_sizes(n, most);
    let jobs: Vec<(u64, u64)> = sizes.iter().flat_map(|&m| (0..replicates).map(move |r| (m, r))).collect();
    let errors: Vec<Vec<f64>> = jobs
        .par_iter()
        .map(|&(m, replicate)| {
            let fewer = subsample(histogram, m, seed, replicate.wrapping_mul(64).wrapping_add(m.ilog2().into()))?;
            let one = |&method: &Method| Ok(Predictor::new(&fewer, method, None)?.point(&[n as f64]).0[0] - truth);
            let errors = methods.iter().map(one).collect::<Result<Vec<f64>>>();
            progress.advance(1)?;
            errors
        })
        .collect::<Result<_>>()?;
    let mut trials = Vec::new();
    for (errors, &seen) in errors.chunks(usize::try_from(replicates).unwrap_or(usize::MAX)).zip(&sizes) {
        for (i, &method) in methods.iter().enumerate() {
            let mean = |f: fn(f64) -> f64| errors.iter().map(|e| f(e[i])).sum::<f64>() / errors.len() as f64;
            trials.push(Trial { method, seen, error: mean(f64::abs), bias: mean(|e| e) });
        }
    }
    Ok(trials)
}

/// Up to three sizes, from n^2 / most (at least 3) to n / 3.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn subsample_sizes(n: u64, most: f64) -> Vec<u64> {
    let n = n as f64;
    let high = (n / 3.0).max(3.0_f64.min(n - 1.0));
    let low = (n * n / most).max(3.0).min(high);
    let mut sizes: Vec<u64> = [low, (low * high).sqrt(), high].map(|m| m.round() as u64).to_vec();
    sizes.dedup();
    sizes
}
