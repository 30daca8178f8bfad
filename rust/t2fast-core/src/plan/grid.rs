//! Brute force over the user's own axes of N, D and k.
//!
//! Every point of the grid is considered, but not every one need be evaluated: at fixed N and D more samples are never
//! worse, so that below the largest affordable k only ties and the runners-up matter, and where a law improves as the
//! loss falls, and overtraining has no term, the same holds for D. Work is handed out by N, results are merged under a total order (value, then cost,
//! then position), so that they don't depend on the number of threads; nothing is allocated that grows with the grid.

use std::cmp::Ordering;

use rayon::prelude::*;

use super::Design;
use crate::cost::{AtSize, Budget, SLACK};
use crate::error::{Error, Result, Shown, positive};
use crate::law::{AnyLaw, Law, Sense};
use crate::threads::Progress;

/// Axes of a grid, each sorted upwards without repeats.
#[derive(Debug, Clone, Copy)]
pub struct Axes<'a> {
    /// N.
    pub n_params: &'a [f64],
    /// D.
    pub n_tokens: &'a [f64],
    /// k, not necessarily whole.
    pub k: &'a [f64],
}

impl Axes<'_> {
    /// Checks the axes.
    ///
    /// # Errors
    /// [`Error::Array`] for an axis that is empty or not sorted, [`Error::Value`] for a number that is not positive and
    /// finite, or a k below 1.
    pub fn check(&self) -> Result<()> {
        for (name, axis) in [("n_params", self.n_params), ("n_tokens", self.n_tokens), ("k", self.k)] {
            if axis.is_empty() {
                return Err(Error::Array(format!("{name} is empty: an axis needs at least one value")));
            }
            for &value in axis {
                positive(name, value)?;
            }
            if let Some(i) = (1..axis.len()).find(|&i| axis[i] <= axis[i - 1]) {
                return Err(Error::Array(format!(
                    "{name}[{i}] = {} does not exceed {name}[{}] = {}: sort the axis upwards and drop repeats",
                    Shown(axis[i]),
                    i - 1,
                    Shown(axis[i - 1])
                )));
            }
        }
        if self.k[0] < 1.0 {
            return Err(Error::Value { name: "k", value: self.k[0], must: "must be at least 1" });
        }
        Ok(())
    }

    /// The number of points.
    #[must_use]
    pub fn points(&self) -> u64 {
        self.n_params.len() as u64 * self.n_tokens.len() as u64 * self.k.len() as u64
    }
}

/// A point of the grid: its place on the axes, its value and its cost.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    value: f64,
    flops: f64,
    place: [usize; 3],
}

impl Candidate {
    /// Best first: the better value, then the smaller cost, then the earlier place.
    fn compare(&self, other: &Self, sense: Sense) -> Ordering {
        let value = match sense {
            Sense::Least => self.value.total_cmp(&other.value),
            Sense::Most => other.value.total_cmp(&self.value),
        };
        value.then(self.flops.total_cmp(&other.flops)).then(self.place.cmp(&other.place))
    }
}

/// How far, relative to the value, rounding may make a law depart from being monotone.
const ROUNDING: f64 = 1e-13;

/// The best candidates so far, best first, never more than asked for.
struct Leaders {
    list: Vec<Candidate>,
    most: usize,
    sense: Sense,
}

impl Leaders {
    fn new(most: usize, sense: Sense) -> Self {
        // No room is set aside: `most` may be far more than there are points.
        Self { list: Vec::new(), most, sense }
    }

    /// Whether something no better than `value`, but for rounding, and no cheaper than `flops` could enter the list.
    ///
    /// The laws are monotone, their rounding is not. Without the margin, what is looked at, and so the outcome, would
    /// depend on what the list holds already, hence on the number of threads.
    #[inline]
    fn welcomes(&self, value: f64, flops: f64, rounding: f64) -> bool {
        let Some(last) = self.list.get(self.most - 1) else {
            return true;
        };
        let margin = rounding * last.value.abs();
        let near = value == last.value || (value - last.value).abs() < margin;
        self.sense.better(value, last.value) || (near && (rounding > 0.0 || flops <= last.flops))
    }

    /// Enters the candidate if it is good enough, and says whether it was.
    fn offer(&mut self, candidate: Candidate) -> bool {
        let place = self.list.partition_point(|leader| leader.compare(&candidate, self.sense) == Ordering::Less);
        if place == self.most {
            return false;
        }
        self.list.insert(place, candidate);
        self.list.truncate(self.most);
        true
    }

    fn merge(mut self, other: &Self) -> Self {
        for &candidate in &other.list {
            if !self.offer(candidate) {
                break;
            }
        }
        self
    }
}

/// Values of D handled together; their losses live on the stack.
const BLOCK: usize = 256;

/// Values of N that one task handles, sharing the token terms of a block.
const ROWS: usize = 8;

/// The search over one grid.
struct Search<'a> {
    law: &'a AnyLaw,
    axes: Axes<'a>,
    budget: &'a Budget,
}

impl Search<'_> {
    /// The number of leading entries of the k axis that are affordable beside the costs given.
    fn affordable_k(&self, train: f64, at: &AtSize) -> usize {
        let most = self.budget.k.hi.min(at.most_k * (1.0 + SLACK));
        self.axes.k.partition_point(|&k| k <= most && self.budget.affords(train, at.inference(k)))
    }

    /// Offers (i, j, l) and then ever smaller k, for as long as they could enter.
    fn offer(&self, leaders: &mut Leaders, row: &Row, [i, j, l]: [usize; 3], loss: f64, value: f64) {
        let train = row.at.per_token * self.axes.n_tokens[j];
        let flops = |l: usize| train + row.at.inference(self.axes.k[l]);
        let (mut l, mut value) = (l, value);
        // A law without k has the same value, in every digit, for each.
        let rounding = if self.law.depends_on_k() { ROUNDING } else { 0.0 };
        while leaders.welcomes(value, flops(row.first_k), rounding) {
            leaders.offer(Candidate { value, flops: flops(l), place: [i, j, l] });
            if l == row.first_k {
                break;
            }
            l -= 1;
            value = self.law.at_loss(loss, self.axes.k[l]);
        }
    }

    /// Considers every D and k beside the sizes `first..last`.
    fn rows(&self, first: usize, last: usize, leaders: &mut Leaders) {
        let base = self.law.chinchilla();
        let first_k = self.axes.k.partition_point(|&k| k < self.budget.k.lo);
        let d_lo = self.axes.n_tokens.partition_point(|&d| d < self.budget.n_tokens.lo);
        let d_hi = self.axes.n_tokens.partition_point(|&d| d <= self.budget.n_tokens.hi);
        let only_largest_d =
            self.law.improves_as_loss_falls() && self.budget.total.is_none() && !base.overtraining.acts();
        let row = |i: usize| {
            let n = self.axes.n_params[i];
            let at = self.budget.at(n);
            let effective = base.effective_params(n, self.budget.unique_tokens);
            let allowed = self.budget.n_params.lo <= n && n <= self.budget.n_params.hi;
            let least_k = self.axes.k.get(first_k).copied().filter(|&k| allowed && k <= self.budget.k.hi);
            let end = least_k.map_or(0, |k| {
                if k > at.most_k * (1.0 + SLACK) {
                    return 0;
                }
                let inference = at.inference(k);
                let most = self.budget.tokens_allowed(n) * (1.0 + SLACK);
                let affordable = |&d: &f64| d <= most && self.budget.affords(at.per_token * d, inference);
                self.axes.n_tokens[..d_hi].partition_point(affordable)
            });
            Row { at, first_k, end, loss: base.e + base.params_term(effective), over: base.overtraining_of_params(n) }
        };
        if only_largest_d {
            for i in first..last {
                let row = row(i);
                let k_end = self.affordable_k(0.0, &row.at);
                for j in (d_lo..row.end).rev() {
                    if k_end <= first_k {
                        break;
                    }
                    let mut term = [0.0];
                    base.tokens_terms(&self.axes.n_tokens[j..=j], self.budget.unique_tokens, &mut term);
                    let loss = row.loss + term[0];
                    let value = self.law.at_loss(loss, self.axes.k[k_end - 1]);
                    // Fewer tokens cannot do better, and tie at less cost only while the loss does not change.
                    if !leaders.welcomes(value, 0.0, ROUNDING) {
                        break;
                    }
                    self.offer(leaders, &row, [i, j, k_end - 1], loss, value);
                }
            }
            return;
        }
        let mut rows: [Row; ROWS] = [Row::default(); ROWS];
        for (slot, i) in rows.iter_mut().zip(first..last) {
            *slot = row(i);
        }
        let (mut terms, mut losses, mut ks, mut values) = ([0.0; BLOCK], [0.0; BLOCK], [0.0; BLOCK], [0.0; BLOCK]);
        let (mut places, mut powers) = ([0_usize; BLOCK], [0.0; BLOCK]);
        for start in (d_lo..d_hi).step_by(BLOCK) {
            let stop = d_hi.min(start + BLOCK);
            base.tokens_terms(&self.axes.n_tokens[start..stop], self.budget.unique_tokens, &mut terms[..stop - start]);
            base.overtraining_of_tokens(&self.axes.n_tokens[start..stop], &mut powers[..stop - start]);
            for (row, i) in rows.iter().zip(first..last) {
                let count = row.end.clamp(start, stop) - start;
                if count == 0 {
                    continue;
                }
                // The affordable k: once per N, or falling with D where one budget pays for both.
                let mut k_end = self.affordable_k(row.at.per_token * self.axes.n_tokens[start], &row.at);
                for lane in 0..count {
                    if self.budget.total.is_some() {
                        let train = row.at.per_token * self.axes.n_tokens[start + lane];
                        while k_end > first_k && !self.budget.affords(train, row.at.inference(self.axes.k[k_end - 1])) {
                            k_end -= 1;
                        }
                    }
                    // `end` leaves room for the first k at least.
                    places[lane] = k_end - 1;
                    ks[lane] = self.axes.k[k_end - 1];
                    losses[lane] = row.loss + terms[lane] + row.over * powers[lane];
                }
                self.law.at_losses(&losses[..count], &ks[..count], &mut values[..count]);
                let mut top = 0;
                for lane in 1..count {
                    if self.law.sense().better(values[lane], values[top]) {
                        top = lane;
                    }
                }
                // The best first: once it has entered, few others do.
                if !leaders.welcomes(values[top], 0.0, ROUNDING) {
                    continue;
                }
                self.offer(leaders, row, [i, start + top, places[top]], losses[top], values[top]);
                for lane in (0..count).filter(|&lane| lane != top) {
                    self.offer(leaders, row, [i, start + lane, places[lane]], losses[lane], values[lane]);
                }
            }
        }
    }
}

/// What one N costs, and the loss that it leaves at infinite data.
#[derive(Clone, Copy, Default)]
struct Row {
    at: AtSize,
    /// The first k allowed.
    first_k: usize,
    /// Affordable entries of the D axis, beside the first k allowed.
    end: usize,
    loss: f64,
    /// What overtraining adds per unit of [`ChinchillaLaw::overtraining_of_tokens`](crate::law::ChinchillaLaw).
    over: f64,
}

/// A design found on a grid, with its place on the axes of N, D and k.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Indices into the three axes.
    pub index: [usize; 3],
    /// The design there.
    pub design: Design,
}

/// The best `most` feasible points of a grid, best first: the better value, of equal values the cheaper, of equal costs the
/// earlier on the axes. Fewer when fewer are feasible.
///
/// Progress counts values of N.
///
/// # Errors
/// As [`Axes::check`] and [`Budget::checked`]; [`Error::Value`] when `most` is zero; [`Error::Infeasible`] when the budget
/// admits no point of the grid; [`Error::Interrupted`] when `progress` is cancelled.
pub fn search(law: &AnyLaw, axes: Axes<'_>, budget: &Budget, most: usize, progress: &Progress) -> Result<Vec<Place>> {
    axes.check()?;
    let budget = budget.checked()?;
    if most == 0 {
        return Err(Error::Value { name: "top", value: 0.0, must: "must be at least 1" });
    }
    let search = Search { law, axes, budget: &budget };
    let sizes = axes.n_params.len();
    let sense = law.sense();
    let leaders = (0..sizes.div_ceil(ROWS))
        .into_par_iter()
        .try_fold(
            || Leaders::new(most, sense),
            |mut leaders, task| {
                let (first, last) = (task * ROWS, sizes.min((task + 1) * ROWS));
                search.rows(first, last, &mut leaders);
                progress.advance((last - first) as u64)?;
                Ok(leaders)
            },
        )
        .try_reduce(|| Leaders::new(most, sense), |a, b| Ok(a.merge(&b)))?;
    if leaders.list.is_empty() {
        return Err(infeasible(&axes, &budget));
    }
    Ok(leaders
        .list
        .iter()
        .map(|candidate| {
            let [i, j, l] = candidate.place;
            let design = Design::new(law, &budget, axes.n_params[i], axes.n_tokens[j], axes.k[l]);
            Place { index: candidate.place, design }
        })
        .collect())
}

/// Says why a grid has no feasible point, by its cheapest one.
fn infeasible(axes: &Axes<'_>, budget: &Budget) -> Error {
    let bounded =
        |axis: &[f64], range: crate::cost::Range| axis.iter().copied().find(|&x| range.lo <= x && x <= range.hi);
    let corner =
        (bounded(axes.n_params, budget.n_params), bounded(axes.n_tokens, budget.n_tokens), bounded(axes.k, budget.k));
    let (Some(n), Some(d), Some(k)) = corner else {
        return Error::Infeasible("an axis lies wholly outside the budget's bounds on it: widen one of the two".into());
    };
    let largest = axes.n_params.iter().copied().filter(|&n| n <= budget.n_params.hi).fold(n, f64::max);
    if d > budget.tokens_allowed(largest) * (1.0 + SLACK) {
        return Error::Infeasible(format!(
            "no point of the grid has at most max_tokens_per_param = {} tokens per parameter; raise it, or extend n_params \
             upwards or n_tokens downwards",
            Shown(budget.max_tokens_per_param.unwrap_or(f64::INFINITY))
        ));
    }
    // The smallest size that may be trained on the fewest tokens.
    let allowed = |&&size: &&f64| size >= n && d <= budget.tokens_allowed(size) * (1.0 + SLACK);
    let n = axes.n_params.iter().find(allowed).copied().unwrap_or(n);
    let at = budget.at(n);
    if k > at.most_k {
        return Error::Infeasible(format!(
            "no point of the grid can run: the cheapest, N = {}, k = {}, exceeds memory or latency; take more cards, \
             another format, shorter prompts or a larger max_seconds",
            Shown(n),
            Shown(k)
        ));
    }
    let (train, inference) = (at.per_token * d, at.inference(k));
    let [train_name, inference_name, total_name] = budget.names();
    let total = train + inference;
    let over = |limit: Option<f64>, cost: f64| limit.filter(|limit| cost > limit * (1.0 + SLACK));
    let (name, limit, cost) = if let Some(limit) = over(budget.train, train) {
        (train_name, limit, train)
    } else if let Some(limit) = over(budget.inference, inference) {
        (inference_name, limit, inference)
    } else {
        (total_name, budget.total.unwrap_or(f64::NAN), total)
    };
    Error::Infeasible(format!(
        "no point of the grid is affordable: {name} = {}, and the cheapest point, N = {}, D = {}, k = {}, needs {}; \
         raise the budget or extend the axes downwards",
        Shown(limit),
        Shown(n),
        Shown(d),
        Shown(k),
        Shown(cost)
    ))
}

pub use super::surface::surface;
