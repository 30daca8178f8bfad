//! Brute force over the user's own axes of N, D and k.
//!
//! Every point of the grid is considered, but not every one need be evaluated: at fixed N and D more samples are never
//! worse, so that below the largest affordable k only ties and the runners-up matter, and where a law improves as the
//! loss falls, and overtraining has no term, the same holds for D. Work is handed out by N, results are merged under a total order (value, then cost,
//! then position), so that they don't depend on the number of threads; nothing is allocated that grows with the grid.

use rayon::prelude::*;

use super::Design;
use super::leaders::{Candidate, Leaders, ROUNDING};
use super::surface::{self, Table};
use crate::cost::{AtSize, Budget, Rate, SLACK};
use crate::error::{Error, Result, Shown, positive};
use crate::law::{AnyLaw, Law};
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

/// Values of D handled together; their losses live on the stack.
const BLOCK: usize = 256;

/// Values of N that one task handles, sharing the token terms of a block.
const ROWS: usize = 8;

/// The search over one grid.
struct Search<'a> {
    law: &'a AnyLaw,
    axes: Axes<'a>,
    budget: &'a Budget,
    /// The first k that the budget's bounds allow.
    first_k: usize,
    per_token: Rate,
    fixed: Rate,
    per_sample: Rate,
    /// Where more samples may be worse: the law at every k of the axis, by the loss.
    tables: Option<Vec<Table>>,
    /// What each size costs, where that is dollars and no formula of N alone; empty otherwise.
    priced: Vec<AtSize>,
}

impl<'a> Search<'a> {
    fn new(law: &'a AnyLaw, axes: Axes<'a>, budget: &'a Budget) -> Self {
        let (fixed, per_sample) = budget.workload.inference_rates();
        let first_k = axes.k.partition_point(|&k| k < budget.k.lo);
        let priced =
            if budget.money.is_some() { axes.n_params.iter().map(|&n| budget.at(n)).collect() } else { Vec::new() };
        let tables = if law.rises_with_k() { None } else { surface::prepared(law, axes, budget.unique_tokens).tables };
        Self { law, axes, budget, tables, first_k, per_token: budget.workload.train_rate(), fixed, per_sample, priced }
    }
}

impl Search<'_> {
    /// The number of leading entries of the k axis that are affordable beside the costs given.
    fn affordable_k(&self, train: f64, row: &Row) -> usize {
        self.axes.k.partition_point(|&k| k <= self.budget.k.hi && self.budget.affords(train, self.inference(row, k)))
    }

    /// Cost of k samples; infinite where memory or latency forbids them.
    #[inline]
    fn inference(&self, row: &Row, k: f64) -> f64 {
        match self.priced.get(row.size) {
            None => row.fixed + k * row.per_sample,
            Some(at) if k <= at.most_k * (1.0 + SLACK) => at.inference(k),
            Some(_) => f64::INFINITY,
        }
    }

    /// Offers (i, j, l) and then ever smaller k, for as long as they could enter.
    fn offer(&self, leaders: &mut Leaders, row: &Row, [i, j, l]: [usize; 3], loss: f64, value: f64) {
        let train = row.per_token * self.axes.n_tokens[j];
        let flops = |l: usize| train + self.inference(row, self.axes.k[l]);
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

    /// Offers (i, j) with every affordable k, for laws to which more samples may be worse.
    fn offer_all(&self, leaders: &mut Leaders, row: &Row, [i, j, end]: [usize; 3], loss: f64) {
        let train = row.per_token * self.axes.n_tokens[j];
        let mut values = [0.0; surface::BLOCK];
        for (block, ks) in self.axes.k.chunks(surface::BLOCK).enumerate() {
            let start = block * surface::BLOCK;
            if start >= end {
                break;
            }
            let values = &mut values[..ks.len()];
            match &self.tables {
                Some(tables) => tables[block].row(loss, values),
                None => self.law.at_losses(&[loss; surface::BLOCK][..ks.len()], ks, values),
            }
            for l in start.max(row.first_k)..end.min(start + ks.len()) {
                let flops = train + self.inference(row, self.axes.k[l]);
                // Tables are exact to a little less than the law.
                if leaders.welcomes(values[l - start], flops, 1e-11) {
                    let value = self.law.at_loss(loss, self.axes.k[l]);
                    leaders.offer(Candidate { value, flops, place: [i, j, l] });
                }
            }
        }
    }

    /// Whether at each size only the largest affordable D can be best.
    fn along_edge(&self) -> bool {
        let monotone = self.law.improves_as_loss_falls() && !self.law.chinchilla().overtraining.acts();
        monotone && self.budget.total.is_none()
    }

    /// What one size costs.
    fn row(&self, i: usize) -> Row {
        let n = self.axes.n_params[i];
        Row {
            allowed: self.budget.n_params.lo <= n && n <= self.budget.n_params.hi,
            most_tokens: self.budget.tokens_allowed(n) * (1.0 + SLACK),
            size: i,
            per_token: self.priced.get(i).map_or_else(|| self.per_token.at(n), |at| at.per_token),
            fixed: self.fixed.at(n),
            per_sample: self.per_sample.at(n),
            first_k: self.first_k,
            ..Row::default()
        }
    }

    /// Where the budget's bounds on D begin and end on the axis.
    fn tokens(&self) -> (usize, usize) {
        let (lo, hi) = (self.budget.n_tokens.lo, self.budget.n_tokens.hi);
        (self.axes.n_tokens.partition_point(|&d| d < lo), self.axes.n_tokens.partition_point(|&d| d <= hi))
    }

    /// Considers the sizes `first..last`, at most [`BLOCK`], each with the largest D and k that it affords, then fewer for
    /// as long as they tie.
    fn edge(&self, first: usize, last: usize, leaders: &mut Leaders) {
        let base = self.law.chinchilla();
        let (d_lo, d_hi) = self.tokens();
        let mut rows = vec![Row::default(); BLOCK];
        let (mut sizes, mut k_ends) = ([0_usize; BLOCK], [0_usize; BLOCK]);
        let (mut terms, mut losses, mut ks, mut values) = ([0.0; BLOCK], [0.0; BLOCK], [0.0; BLOCK], [0.0; BLOCK]);
        let mut params = [0.0; BLOCK];
        base.params_terms(&self.axes.n_params[first..last], self.budget.unique_tokens, &mut params[..last - first]);
        let mut count = 0;
        // Larger models afford fewer tokens and samples: both ends only move down.
        let (mut end, mut k_end) = (d_hi, self.axes.k.partition_point(|&k| k <= self.budget.k.hi));
        for i in first..last {
            let mut row = self.row(i);
            let affords_k = |k: f64| self.budget.affords(0.0, self.inference(&row, k));
            if i == first {
                k_end = self.axes.k[..k_end].partition_point(|&k| affords_k(k));
            }
            while k_end > row.first_k && !affords_k(self.axes.k[k_end - 1]) {
                k_end -= 1;
            }
            if !row.allowed || k_end <= row.first_k {
                continue;
            }
            let inference = self.inference(&row, self.axes.k[row.first_k]);
            let affords = |d: f64| self.budget.affords(row.per_token * d, inference);
            if count == 0 {
                end = self.axes.n_tokens[..end].partition_point(|&d| affords(d));
            }
            while end > d_lo && !affords(self.axes.n_tokens[end - 1]) {
                end -= 1;
            }
            row.end = end;
            row.loss = base.e + params[i - first];
            // A bound on D / N lets larger models have more, not fewer.
            if self.budget.max_tokens_per_param.is_some() {
                row.end = self.axes.n_tokens[..end].partition_point(|&d| d <= row.most_tokens);
            }
            if row.end <= d_lo {
                continue;
            }
            (rows[count], sizes[count], k_ends[count]) = (row, i, k_end);
            (terms[count], ks[count]) = (self.axes.n_tokens[row.end - 1], self.axes.k[k_end - 1]);
            count += 1;
        }
        if count == 0 {
            return;
        }
        let tokens = terms;
        base.tokens_terms(&tokens[..count], self.budget.unique_tokens, &mut terms[..count]);
        for ((loss, row), term) in losses[..count].iter_mut().zip(&rows).zip(&terms) {
            *loss = row.loss + term;
        }
        self.law.at_losses(&losses[..count], &ks[..count], &mut values[..count]);
        let mut top = 0;
        for lane in 1..count {
            if self.law.sense().better(values[lane], values[top]) {
                top = lane;
            }
        }
        // The best first: once it has entered, few others do.
        for lane in std::iter::once(top).chain((0..count).filter(|&lane| lane != top)) {
            let (row, i, l) = (&rows[lane], sizes[lane], k_ends[lane] - 1);
            let (mut loss, mut value) = (losses[lane], values[lane]);
            for j in (d_lo..row.end).rev() {
                if j + 1 < row.end {
                    let mut term = [0.0];
                    base.tokens_terms(&self.axes.n_tokens[j..=j], self.budget.unique_tokens, &mut term);
                    loss = row.loss + term[0];
                    value = self.law.at_loss(loss, self.axes.k[l]);
                }
                // Fewer tokens cannot do better, and tie at less cost only while the loss does not change.
                if !leaders.welcomes(value, 0.0, ROUNDING) {
                    break;
                }
                self.offer(leaders, row, [i, j, l], loss, value);
            }
        }
    }

    /// Considers every D and k beside the sizes `first..last`, at most [`ROWS`].
    fn rows(&self, first: usize, last: usize, leaders: &mut Leaders) {
        let base = self.law.chinchilla();
        let (d_lo, d_hi) = self.tokens();
        let row = |i: usize| {
            let mut row = self.row(i);
            let n = self.axes.n_params[i];
            row.loss = base.e + base.params_term(base.effective_params(n, self.budget.unique_tokens));
            row.over = base.overtraining_of_params(n);
            let least_k = self.axes.k.get(row.first_k).copied().filter(|&k| row.allowed && k <= self.budget.k.hi);
            row.end = least_k.map_or(0, |k| {
                let inference = self.inference(&row, k);
                let affordable = |&d: &f64| d <= row.most_tokens && self.budget.affords(row.per_token * d, inference);
                self.axes.n_tokens[..d_hi].partition_point(affordable)
            });
            row
        };
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
                let mut k_end = self.affordable_k(row.per_token * self.axes.n_tokens[start], row);
                for lane in 0..count {
                    if self.budget.total.is_some() {
                        let train = row.per_token * self.axes.n_tokens[start + lane];
                        while k_end > row.first_k
                            && !self.budget.affords(train, self.inference(row, self.axes.k[k_end - 1]))
                        {
                            k_end -= 1;
                        }
                    }
                    // `end` leaves room for the first k at least.
                    places[lane] = k_end - 1;
                    ks[lane] = self.axes.k[k_end - 1];
                    losses[lane] = row.loss + terms[lane] + row.over * powers[lane];
                }
                if !self.law.rises_with_k() {
                    for lane in 0..count {
                        self.offer_all(leaders, row, [i, start + lane, places[lane] + 1], losses[lane]);
                    }
                    continue;
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
    /// Whether the budget's bounds on N admit it.
    allowed: bool,
    /// The largest D that the bounds allow.
    most_tokens: f64,
    /// Its place on the axis.
    size: usize,
    per_token: f64,
    fixed: f64,
    per_sample: f64,
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

/// Sizes along the budget's edge that take tens of microseconds.
const INSTANT: usize = 2048;

/// Whether a search takes less time than waking a thread: then it runs on the caller's.
#[must_use]
pub fn instant(law: &AnyLaw, axes: Axes<'_>, budget: &Budget) -> bool {
    axes.n_params.len() <= INSTANT && Search::new(law, axes, budget).along_edge()
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
    let search = Search::new(law, axes, &budget);
    let sizes = axes.n_params.len();
    let sense = law.sense();
    let edge = search.along_edge();
    let block = if edge { BLOCK } else { ROWS };
    let task = |leaders: &mut Leaders, task: usize| {
        let (first, last) = (task * block, sizes.min((task + 1) * block));
        if edge {
            search.edge(first, last, leaders);
        } else {
            search.rows(first, last, leaders);
        }
        progress.advance((last - first) as u64)
    };
    let tasks = sizes.div_ceil(block);
    let leaders = if instant(law, axes, &budget) {
        // Done before another thread would wake up.
        let mut leaders = Leaders::new(most, sense);
        (0..tasks).try_for_each(|i| task(&mut leaders, i))?;
        leaders
    } else {
        (0..tasks)
            .into_par_iter()
            .try_fold(
                || Leaders::new(most, sense),
                |mut leaders, i| {
                    task(&mut leaders, i)?;
                    Ok(leaders)
                },
            )
            .try_reduce(|| Leaders::new(most, sense), |a, b| Ok(a.merge(&b)))?
    };
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
