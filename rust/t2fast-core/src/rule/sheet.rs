//! A rule as a table over logits of p and numbers of samples, for rules without a closed form in p.
//!
//! Rows hold `v(p, k) - p`, which vanishes at both ends and for one sample. Between the k of rows values are interpolated:
//! linearly between whole numbers up to the last that has its own row and all before it, in ln k beyond; all of it is
//! linear in the rows, so that integrals over p are taken first.

use multiversion::multiversion;

use super::logit::{Logits, Spread, added};

/// Rows used for one k at most.
const MOST_ROWS: usize = 8;

/// A coefficient for each of a few rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mix {
    places: [usize; MOST_ROWS],
    shares: [f64; MOST_ROWS],
    count: usize,
}

/// Neighbours on the ladder of k on which the search of the best begins.
const RUNG: f64 = 1.4;

/// Nodes at one distance, and the rows there.
#[derive(Debug, Clone, PartialEq)]
struct Level {
    logits: Logits,
    rows: Vec<Vec<f64>>,
    /// A row for each k of the ladder: one product in place of several.
    ladder: Vec<Vec<f64>>,
}

impl Level {
    fn row(&self, mix: &Mix) -> Vec<f64> {
        let mut out = vec![0.0; self.rows[0].len()];
        for (place, share) in mix.parts() {
            for (out, value) in out.iter_mut().zip(&self.rows[place]) {
                *out += share * value;
            }
        }
        out
    }
}

impl Mix {
    /// Rows and their shares, without those that have none.
    fn parts(&self) -> impl Iterator<Item = (usize, f64)> {
        self.places.into_iter().zip(self.shares).take(self.count).filter(|&(_, share)| share != 0.0)
    }
}

/// The table of a rule.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sheet {
    /// The finest first, each with every other node of the one before.
    levels: Vec<Level>,
    ks: Vec<f64>,
    ln_ks: Vec<f64>,
    /// 1 and whole numbers that each exceed the one before by two fifths, up to the last k.
    ladder: Vec<f64>,
    /// So many rows are for 1, 2, 3, ...
    whole: usize,
    /// Points of an interpolation in ln k.
    points: usize,
    /// The step that a k asks for is this over its square root; infinite where any will do.
    sharpness: f64,
    /// Beyond the last k: whether what is left falls as 1 / k (a vote), or nothing changes.
    fades: bool,
}

impl Sheet {
    /// From rows over the finest nodes.
    pub(crate) fn new(
        logits: Logits,
        rows: Vec<Vec<f64>>,
        ks: Vec<f64>,
        [whole, points]: [usize; 2],
        sharpness: f64,
        fades: bool,
        coarsest: f64,
    ) -> Self {
        let mut levels = vec![Level { logits, rows, ladder: vec![] }];
        loop {
            let last = &levels[levels.len() - 1];
            if last.logits.step * 2.0 > coarsest * (1.0 + 1e-9) {
                break;
            }
            let rows = last.rows.iter().map(|row| row.iter().copied().step_by(2).collect()).collect();
            levels.push(Level { logits: last.logits.every_other(), rows, ladder: vec![] });
        }
        let ladder = std::iter::successors(Some(1.0), |&k| Some(next_rung(k)));
        let ladder: Vec<f64> = ladder.take_while(|&k| k <= ks[ks.len() - 1]).collect();
        let ln_ks = ks.iter().map(|k| k.ln()).collect();
        let mut sheet = Self { levels, ks, ln_ks, ladder, whole, points, sharpness, fades };
        let mixes: Vec<Mix> = sheet.ladder.iter().map(|&k| sheet.mix(k)).collect();
        for level in &mut sheet.levels {
            level.ladder = mixes.iter().map(|mix| level.row(mix)).collect();
        }
        sheet
    }

    /// The rows that make up k.
    pub(crate) fn mix(&self, k: f64) -> Mix {
        let mut mix = Mix { places: [0; MOST_ROWS], shares: [0.0; MOST_ROWS], count: 1 };
        let last = self.ks.len() - 1;
        if k <= 1.0 {
            mix.shares[0] = 1.0;
        } else if k >= self.ks[last] {
            let t = if self.fades { self.ks[last] / k } else { 1.0 };
            // The limit is 2 V(K) - V(K / 2), four rows before the last.
            (mix.places[0], mix.places[1], mix.count) = (last, last.saturating_sub(4), 2);
            (mix.shares[0], mix.shares[1]) = (2.0 - t, t - 1.0);
        } else if k <= self.ks[self.whole.max(1) - 1] {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let below = (k.floor() as usize - 1).min(self.whole - 2);
            (mix.places[0], mix.places[1], mix.count) = (below, below + 1, 2);
            (mix.shares[0], mix.shares[1]) = (self.ks[below + 1] - k, k - self.ks[below]);
        } else {
            let above = self.ks.partition_point(|&at| at < k);
            let first = above.saturating_sub(self.points / 2).max(self.whole.saturating_sub(1));
            let first = first.min(last + 1 - self.points);
            mix.count = self.points;
            let x = k.ln();
            for i in 0..self.points {
                let xi = self.ln_ks[first + i];
                let mut share = 1.0;
                for j in (0..self.points).filter(|&j| j != i) {
                    let xj = self.ln_ks[first + j];
                    share *= (x - xj) / (xi - xj);
                }
                (mix.places[i], mix.shares[i]) = (first + i, share);
            }
        }
        mix
    }

    /// What a distribution weighs, level by level, found when first needed.
    pub(crate) fn weighed(&self, a: f64, b: f64) -> Weighed<'_> {
        let (a, b) = (a.clamp(1e-250, 1e250), b.clamp(1e-250, 1e250));
        let levels = self.levels.iter().map(|_| None).collect();
        Weighed { sheet: self, a, b, mean: a / (a + b), levels, narrow: None }
    }

    /// v(p, k) - p at a logit, from the finest nodes.
    fn at_logit(&self, row: &[f64], u: f64) -> f64 {
        const POINTS: usize = 6;
        let nodes = &self.levels[0].logits;
        let x = (u - nodes.start) / nodes.step;
        if x <= 0.0 {
            return row[0] * (u - nodes.start).exp();
        }
        if x >= (row.len() - 1) as f64 {
            return row[row.len() - 1] * (-(u - nodes.start - nodes.step * (row.len() - 1) as f64)).exp();
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let first = (x.floor() as usize).saturating_sub(POINTS / 2 - 1).min(row.len() - POINTS);
        let t = x - first as f64;
        let mut sum = 0.0;
        for i in 0..POINTS {
            let mut share = 1.0;
            for j in (0..POINTS).filter(|&j| j != i) {
                share *= (t - j as f64) / (i as f64 - j as f64);
            }
            sum += share * row[first + i];
        }
        sum
    }

    /// v(p, k) of a question.
    pub(crate) fn at_rate(&self, p: f64, k: f64) -> f64 {
        if p <= 0.0 || p >= 1.0 {
            return p.clamp(0.0, 1.0);
        }
        p + self.at_logit(&self.levels[0].row(&self.mix(k)), p.ln() - (-p).ln_1p())
    }

    /// The mean of v over questions with the logits `ability - difficulty`.
    pub(crate) fn of_logits(&self, ability: f64, difficulties: &[f64], k: f64) -> f64 {
        let row = self.levels[0].row(&self.mix(k));
        let at = |difficulty: &f64| {
            let u = ability - difficulty;
            1.0 / (1.0 + (-u).exp()) + self.at_logit(&row, u)
        };
        difficulties.iter().map(at).sum::<f64>() / difficulties.len() as f64
    }
}

/// The weights of a Beta distribution over a sheet's nodes.
pub(crate) struct Weighed<'a> {
    sheet: &'a Sheet,
    a: f64,
    b: f64,
    mean: f64,
    levels: Vec<Option<(usize, Vec<f64>, f64)>>,
    /// Logits and weights of a distribution too narrow for the nodes.
    narrow: Option<(Vec<f64>, Vec<f64>)>,
}

impl Weighed<'_> {
    /// The widest nodes that a k and the distribution allow; `None` where the distribution needs its own.
    fn place(&self, k: f64) -> Option<usize> {
        let sheet = self.sheet;
        let most = sheet.sharpness / k.min(sheet.ks[sheet.ks.len() - 1]).sqrt();
        let coarse = sheet.levels.iter().rposition(|level| level.logits.step <= most * (1.0 + 1e-9)).unwrap_or(0);
        (0..=coarse).rev().find(|&place| matches!(sheet.levels[place].logits.spread(self.a, self.b), Spread::Wide))
    }

    /// The mean of v over questions.
    pub(crate) fn value(&mut self, k: f64) -> f64 {
        let mix = self.sheet.mix(k);
        let Some(place) = self.place(k) else { return self.over_own(&mix) };
        let (sheet, mean) = (self.sheet, self.mean);
        let (first, weights, scale) = self.weights(place);
        let rows = &sheet.levels[place].rows;
        let range = *first..*first + weights.len();
        mean + *scale * mix.parts().map(|(row, share)| share * dot(weights, &rows[row][range.clone()])).sum::<f64>()
    }

    /// The same for the k of a rung of the ladder.
    fn at_rung(&mut self, rung: usize) -> f64 {
        let k = self.sheet.ladder[rung];
        let Some(place) = self.place(k) else { return self.value(k) };
        let (sheet, mean) = (self.sheet, self.mean);
        let (first, weights, scale) = self.weights(place);
        mean + *scale * dot(weights, &sheet.levels[place].ladder[rung][*first..*first + weights.len()])
    }

    /// The first node that matters, weights and scale at a level.
    fn weights(&mut self, place: usize) -> &(usize, Vec<f64>, f64) {
        let (sheet, a, b) = (self.sheet, self.a, self.b);
        let level = &sheet.levels[place];
        self.levels[place].get_or_insert_with(|| {
            let mut weights = Vec::new();
            match level.logits.window(a, b, sheet.ks[sheet.ks.len() - 1].min(1e4), 1.0) {
                Some(range) => {
                    let scale = level.logits.weigh(a, b, range, &mut weights);
                    (range.0, weights, scale)
                }
                None => (0, vec![1.0], a / (a + b) / level.logits.p[0]),
            }
        })
    }

    fn over_own(&mut self, mix: &Mix) -> f64 {
        let (a, b, mean) = (self.a, self.b, self.mean);
        let finest = &self.sheet.levels[0].logits;
        let (logits, weights) = self.narrow.get_or_insert_with(|| match finest.spread(a, b) {
            Spread::Narrow(nodes) => {
                let mut weights = Vec::new();
                let scale = nodes.weigh(a, b, (0, nodes.p.len()), &mut weights);
                for w in &mut weights {
                    *w *= scale;
                }
                (nodes.p.iter().zip(&nodes.q).map(|(p, q)| (p / q).ln()).collect(), weights)
            }
            _ => (vec![(a / b).ln()], vec![1.0]),
        });
        let row = self.sheet.levels[0].row(mix);
        mean + logits.iter().zip(weights.iter()).map(|(&u, w)| w * self.sheet.at_logit(&row, u)).sum::<f64>()
    }

    /// The whole k up to `most`, or that itself, with the largest value: on a ladder first, then between its rungs.
    pub(crate) fn best(&mut self, most: f64) -> (f64, f64) {
        let end = self.value(most);
        let ladder = &self.sheet.ladder;
        let count = ladder.partition_point(|&k| k <= most).max(1);
        let mut rungs = ladder[..count].to_vec();
        let mut values: Vec<f64> = (0..count).map(|rung| self.at_rung(rung)).collect();
        while next_rung(rungs[rungs.len() - 1]) <= most {
            rungs.push(next_rung(rungs[rungs.len() - 1]));
            values.push(self.value(rungs[rungs.len() - 1]));
        }
        let top = (0..rungs.len()).fold(0, |top, i| if values[i] > values[top] { i } else { top });
        if values[top] < end {
            return (most, end);
        }
        let mut best = if values[top] > end { (rungs[top], values[top]) } else { (most, end) };
        let mut try_k = |weighed: &mut Self, k: f64| {
            let value = weighed.value(k);
            if value > best.1 {
                best = (k, value);
            }
            value
        };
        let (mut low, mut high) = (rungs[top.saturating_sub(1)], rungs.get(top + 1).map_or(most.floor(), |&k| k));
        while high - low > 4.0 {
            let (left, right) = ((low + (high - low) / 3.0).floor(), (high - (high - low) / 3.0).ceil());
            if try_k(self, left) < try_k(self, right) { low = left } else { high = right }
        }
        let mut k = low;
        while k <= high {
            try_k(self, k);
            k += 1.0;
        }
        best
    }
}

/// The next rung of the ladder.
fn next_rung(k: f64) -> f64 {
    (k * RUNG).ceil()
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (blocks_a, rest_a) = a.as_chunks::<8>();
    let (blocks_b, rest_b) = b.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for (a, b) in blocks_a.iter().zip(blocks_b) {
        for i in 0..8 {
            lanes[i] += a[i] * b[i];
        }
    }
    for (i, (a, b)) in rest_a.iter().zip(rest_b).enumerate() {
        lanes[i] += a * b;
    }
    added(lanes)
}
