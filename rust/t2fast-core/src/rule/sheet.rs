//! A rule as a table over logits of p and numbers of samples, for rules without a closed form in p.
//!
//! Rows hold `v(p, k) - p`, which vanishes at both ends and for one sample. Between the k of rows values are interpolated:
//! linearly between whole numbers up to the last that has its own row and all before it, in ln k beyond; all of it is
//! linear in the rows, so that integrals over p are taken first.

use multiversion::multiversion;

use super::logit::{Logits, Spread, added};

/// The largest number of samples told apart from infinitely many, as a logarithm.
pub(crate) const LN_MOST_K: f64 = 23.0;

/// Rows used for one k at most.
const MOST_ROWS: usize = 8;

/// A coefficient for each of a few rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mix {
    places: [usize; MOST_ROWS],
    shares: [f64; MOST_ROWS],
    count: usize,
}

/// Points of an interpolation between logits.
const POINTS: usize = 6;

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
    /// The level of each.
    ladder_levels: Vec<usize>,
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
        let mut ladder: Vec<f64> = ladder.take_while(|&k| k < ks[ks.len() - 1]).collect();
        ladder.push(ks[ks.len() - 1]);
        let ln_ks = ks.iter().map(|k| k.ln()).collect();
        let ladder_levels = vec![];
        let mut sheet = Self { levels, ks, ln_ks, ladder, ladder_levels, whole, points, sharpness, fades };
        sheet.ladder_levels = sheet.ladder.iter().map(|&k| sheet.level(k)).collect();
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

    /// The widest nodes that a k allows.
    fn level(&self, k: f64) -> usize {
        let most = self.sharpness / k.min(self.ks[self.ks.len() - 1]).sqrt();
        self.levels.iter().rposition(|level| level.logits.step <= most * (1.0 + 1e-9)).unwrap_or(0)
    }

    /// What a distribution weighs, level by level, found when first needed.
    pub(crate) fn weighed(&self, a: f64, b: f64) -> Weighed<'_> {
        let (a, b) = (a.clamp(1e-250, 1e250), b.clamp(1e-250, 1e250));
        let deviation = (1.0 / a + 1.0 / b).sqrt();
        let widest = self.levels.iter().rposition(|level| level.logits.resolve(deviation));
        let levels = self.levels.iter().map(|_| None).collect();
        Weighed { sheet: self, a, b, mean: a / (a + b), widest, levels }
    }

    /// The finest nodes from which values at a logit are interpolated: the first, and the share of each.
    fn between(&self, u: f64) -> (usize, [f64; POINTS]) {
        let nodes = &self.levels[0].logits;
        let (count, mut shares) = (nodes.p.len(), [0.0; POINTS]);
        let x = (u - nodes.start) / nodes.step;
        if x <= 0.0 {
            shares[0] = (u - nodes.start).exp();
            return (0, shares);
        }
        let last = (count - 1) as f64;
        if x >= last {
            shares[POINTS - 1] = (-(u - nodes.start - nodes.step * last)).exp();
            return (count - POINTS, shares);
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let first = (x.floor() as usize).saturating_sub(POINTS / 2 - 1).min(count - POINTS);
        let t = x - first as f64;
        for (i, share) in shares.iter_mut().enumerate() {
            *share = 1.0;
            for j in (0..POINTS).filter(|&j| j != i) {
                *share *= (t - j as f64) / (i as f64 - j as f64);
            }
        }
        (first, shares)
    }

    /// v(p, k) - p at a logit, from the finest nodes.
    fn at_logit(&self, row: &[f64], u: f64) -> f64 {
        let (first, shares) = self.between(u);
        shares.iter().zip(&row[first..]).map(|(share, value)| share * value).sum()
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
    /// The widest nodes that the distribution allows; `None` where it needs its own.
    widest: Option<usize>,
    /// By level: the first node that matters, the weights from there on, and what turns their sums into integrals.
    levels: Vec<Option<(usize, Vec<f64>, f64)>>,
}

impl Weighed<'_> {
    /// The widest nodes that a level and the distribution allow.
    fn place(&self, level: usize) -> usize {
        self.widest.unwrap_or(0).min(level)
    }

    /// The mean of v over questions.
    pub(crate) fn value(&mut self, k: f64) -> f64 {
        let mix = self.sheet.mix(k);
        let place = self.place(self.sheet.level(k));
        let (sheet, mean) = (self.sheet, self.mean);
        let (first, weights, scale) = self.weights(place);
        let rows = &sheet.levels[place].rows;
        let range = *first..*first + weights.len();
        mean + *scale * mix.parts().map(|(row, share)| share * dot(weights, &rows[row][range.clone()])).sum::<f64>()
    }

    /// The same for the first rungs of the ladder.
    fn at_rungs(&mut self, out: &mut [f64]) {
        let (sheet, mean) = (self.sheet, self.mean);
        let mut rung = 0;
        while rung < out.len() {
            let place = self.place(sheet.ladder_levels[rung]);
            let alike = sheet.ladder_levels[rung..out.len()].iter().take_while(|&&level| self.place(level) == place);
            let end = rung + alike.count();
            let (first, weights, scale) = self.weights(place);
            dots(weights, &sheet.levels[place].ladder[rung..end], *first, &mut out[rung..end]);
            for value in &mut out[rung..end] {
                *value = mean + *scale * *value;
            }
            rung = end;
        }
    }

    /// The first node that matters, weights and scale at a level.
    fn weights(&mut self, place: usize) -> &(usize, Vec<f64>, f64) {
        let (sheet, a, b, own) = (self.sheet, self.a, self.b, self.widest.is_none());
        let level = &sheet.levels[place];
        self.levels[place].get_or_insert_with(|| {
            if own {
                return between_nodes(sheet, a, b);
            }
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

    /// The whole k up to `most`, or that itself, with the largest value: on a ladder first, then between its rungs.
    pub(crate) fn best(&mut self, most: f64) -> (f64, f64) {
        let ladder = &self.sheet.ladder;
        let count = ladder.partition_point(|&k| k <= most).max(1);
        let rungs = &ladder[..count];
        let mut values = vec![0.0; count];
        self.at_rungs(&mut values);
        // Beyond the last row values move one way, towards a limit.
        let end = if most > rungs[count - 1] { self.value(most) } else { values[count - 1] };
        let top = (0..count).fold(0, |top, i| if values[i] > values[top] { i } else { top });
        if values[top] < end {
            return (most, end);
        }
        let mut best = if values[top] > end { (rungs[top], values[top]) } else { (most, end) };
        let low = rungs[top.saturating_sub(1)];
        let high = rungs.get(top + 1).map_or(most.floor().min(ladder[ladder.len() - 1]), |&k| k);
        let mut try_k = |k: f64| {
            if k < low || k > high {
                return f64::NEG_INFINITY;
            }
            let value = self.value(k);
            if value > best.1 {
                best = (k, value);
            }
            value
        };
        if high - low <= SCANNED {
            let mut k = low;
            while k <= high {
                try_k(k);
                k += 1.0;
            }
            return best;
        }
        // Uphill over odd numbers, which no tie decides, from the top of a parabola in ln k; then their even neighbours.
        let mut here = rungs[top];
        if top > 0 && top + 1 < rungs.len() {
            let at = |i: usize| (rungs[i].ln(), values[i]);
            let ((x, left), (y, middle), (z, right)) = (at(top - 1), at(top), at(top + 1));
            let (before, after) = ((middle - left) / (y - x), (right - middle) / (z - y));
            let vertex = 0.5 * (x + y) - 0.5 * before * (z - x) / (after - before);
            if vertex.is_finite() {
                here = vertex.exp().clamp(low, high);
            }
        }
        here = 2.0 * (0.5 * here).floor() + 1.0;
        let mut value = try_k(here);
        for direction in [2.0, -2.0] {
            let mut step = direction;
            loop {
                let next = try_k(here + step);
                if next > value {
                    (here, value, step) = (here + step, next, 2.0 * step);
                } else if step == direction {
                    break;
                } else {
                    step = direction;
                }
            }
        }
        try_k(here - 1.0);
        try_k(here + 1.0);
        best
    }
}

/// So many numbers of samples are looked at one by one.
const SCANNED: f64 = 6.0;

/// The weights, over the finest nodes, of a distribution too narrow for them: between them values are interpolated.
fn between_nodes(sheet: &Sheet, a: f64, b: f64) -> (usize, Vec<f64>, f64) {
    let nodes = &sheet.levels[0].logits;
    let (logits, own) = match nodes.spread(a, b) {
        Spread::Narrow(nodes) => {
            let mut weights = Vec::new();
            let scale = nodes.weigh(a, b, (0, nodes.p.len()), &mut weights);
            for w in &mut weights {
                *w *= scale;
            }
            (nodes.p.iter().zip(&nodes.q).map(|(p, q)| (p / q).ln()).collect(), weights)
        }
        _ => (vec![(a / b).ln()], vec![1.0]),
    };
    let places: Vec<(usize, [f64; POINTS])> = logits.iter().map(|&u| sheet.between(u)).collect();
    let first = places.iter().map(|place| place.0).min().unwrap_or(0);
    let end = places.iter().map(|place| place.0).max().unwrap_or(0) + POINTS;
    let mut weights = vec![0.0; end - first];
    for ((place, shares), w) in places.iter().zip(&own) {
        for (weight, share) in weights[place - first..].iter_mut().zip(shares) {
            *weight += w * share;
        }
    }
    (first, weights, 1.0)
}

/// The next rung of the ladder.
fn next_rung(k: f64) -> f64 {
    (k * RUNG).ceil()
}

/// The sums of several rows, from a node on.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn dots(weights: &[f64], rows: &[Vec<f64>], first: usize, out: &mut [f64]) {
    let (blocks, rest) = weights.as_chunks::<8>();
    for (rows, out) in rows.chunks(4).zip(out.chunks_mut(4)) {
        // Four at a time keep the adders busy.
        let row = |i: usize| &rows[i.min(rows.len() - 1)][first..first + weights.len()];
        let all = [row(0).as_chunks::<8>(), row(1).as_chunks::<8>(), row(2).as_chunks::<8>(), row(3).as_chunks::<8>()];
        let mut lanes = [[0.0; 8]; 4];
        for (place, w) in blocks.iter().enumerate() {
            for (lanes, (blocks, _)) in lanes.iter_mut().zip(&all) {
                let row = &blocks[place];
                for i in 0..8 {
                    lanes[i] += w[i] * row[i];
                }
            }
        }
        for ((out, lanes), (_, ends)) in out.iter_mut().zip(&mut lanes).zip(&all) {
            for (i, (w, value)) in rest.iter().zip(*ends).enumerate() {
                lanes[i] += w * value;
            }
            *out = added(*lanes);
        }
    }
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
