//! Exact draws of the next token: exponential clocks from Philox counters, one for every 32 tokens.
//!
//! The token whose clock rings first is drawn; that of a token of weight w = exp(heated logit) rings after an exponential
//! time of rate w. A group of 32 tokens first rings after e over the sum of its weights, and the first of its tokens is
//! the one with the smallest e' / w; each other follows after a further e'' / w. (Minimum and its place are independent,
//! and what remains of the others is exponential again.) The variates are -ln(1 - u), u = (word + 1/2) / 2^32, of three
//! streams of counters. Few groups are looked into: those that could ring before the first that was found.

use pulp::{Arch, Simd, WithSimd};

use super::vector::{exp, whole};
use crate::error::{Error, Result};

/// The token of a row whose two first ring so close together that rounding may decide: the caller does, by its definition.
pub const CLOSE: i64 = -2;
/// The relative distance below which that is so: the definition's rounding in single precision is below half of it.
const MARGIN: f64 = 4e-5;
/// Tokens whose clocks share a variate.
const GROUP: usize = 32;
/// Philox calls made at a time.
const QUADS: usize = 16;
/// Added to the first word of a counter: which token of a group is its first, when a group rings, when the others do.
const FIRST: u32 = 0;
const RINGS: u32 = 1 << 31;
const LATER: u32 = 1 << 30;

/// Rows to draw from.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Logits `[rows, vocabulary]`.
    pub logits: &'a [f32],
    /// Tokens in the vocabulary.
    pub vocab: usize,
    /// By row: the seed, prompt, sample and step of its noise.
    pub keys: [&'a [i64]; 4],
    /// By row; 0 takes the likeliest token.
    pub temperature: &'a [f32],
    /// By row, the smallest heated logit that may be drawn.
    pub least: Option<&'a [f32]>,
}

/// Draws one token per row and writes its log-probability before any limit.
///
/// A row whose logits are all -inf gives -1 and -inf; one with NaN or +inf gives -1 and NaN; see also [`CLOSE`].
///
/// # Errors
/// [`Error::Array`] when lengths disagree.
pub fn draw(rows: Rows<'_>, tokens: &mut [i64], logprobs: &mut [f32]) -> Result<()> {
    let n = rows.logits.len().checked_div(rows.vocab).unwrap_or(0);
    let mut lengths =
        rows.keys.iter().map(|key| key.len()).chain([rows.temperature.len(), tokens.len(), logprobs.len()]);
    if lengths.any(|length| length < n) || rows.least.is_some_and(|least| least.len() < n) {
        return Err(Error::Array(format!("a draw's arrays do not have an entry for each of {n} rows")));
    }
    if n > 0 {
        Arch::new().dispatch(Draw { rows, tokens, logprobs });
    }
    Ok(())
}

struct Draw<'a> {
    rows: Rows<'a>,
    tokens: &'a mut [i64],
    logprobs: &'a mut [f32],
}

impl WithSimd for Draw<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Rows { logits, vocab, keys, temperature, least } = self.rows;
        let mut weights = Vec::new();
        for (r, row) in logits.chunks_exact(vocab).enumerate() {
            let (top, broken) = largest(simd, row);
            if broken || top == f32::INFINITY || top == f32::NEG_INFINITY {
                self.tokens[r] = -1;
                self.logprobs[r] = if broken || top > 0.0 { f32::NAN } else { f32::NEG_INFINITY };
                continue;
            }
            let heat = temperature[r];
            let scale = if heat > 0.0 { (1.0 / heat).min(f32::MAX) } else { 1.0 };
            let total = weigh(simd, row, top, scale, &mut weights).ln();
            let token = if heat > 0.0 {
                let [seed, prompt, sample, step] = keys.map(|key| key[r]);
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let (seed, counter) =
                    ([seed as u32, (seed >> 32) as u32], [step, sample, prompt].map(|word| word as u32));
                let race = Race { row, top, scale, seed, counter, weights: &weights };
                race.winner(simd, least.map(|all| all[r]))
            } else {
                first(simd, row, top)
            };
            self.tokens[r] = token;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            if token >= 0 {
                self.logprobs[r] = (f64::from((row[token as usize] - top) * scale) - total) as f32;
            }
        }
    }
}

/// The largest logit, and whether there is one that is no number.
#[inline(always)]
fn largest<S: Simd>(simd: S, row: &[f32]) -> (f32, bool) {
    let (body, tail) = whole(simd, row, f32::NEG_INFINITY);
    let mut top = simd.splat_f32s(f32::NEG_INFINITY);
    let mut odd = simd.splat_f32s(0.0);
    for &x in body.iter().chain(&tail) {
        top = simd.max_f32s(x, top);
        // What is no number does not equal itself.
        odd = simd.select_f32s(simd.equal_f32s(x, x), odd, x);
    }
    let broken = simd.reduce_sum_f32s(odd).is_nan();
    (simd.reduce_max_f32s(top), broken)
}

/// The sum of the exponentials of the heated logits, and those of every group.
#[inline(always)]
fn weigh<S: Simd>(simd: S, row: &[f32], top: f32, scale: f32, weights: &mut Vec<f32>) -> f64 {
    weights.clear();
    let (tops, scales) = (simd.splat_f32s(top), simd.splat_f32s(scale));
    let mut total = 0.0;
    for group in row.chunks(GROUP) {
        let mut sum = simd.splat_f32s(0.0);
        let (body, tail) = whole(simd, group, f32::NEG_INFINITY);
        for &x in body.iter().chain(&tail) {
            sum = simd.add_f32s(sum, exp(simd, simd.mul_f32s(simd.sub_f32s(x, tops), scales)));
        }
        let weight = simd.reduce_sum_f32s(sum);
        weights.push(weight);
        total += f64::from(weight);
    }
    total
}

/// The first token with the largest logit.
#[inline(always)]
#[allow(clippy::cast_possible_wrap)]
fn first<S: Simd>(_: S, row: &[f32], top: f32) -> i64 {
    row.iter().position(|&x| x == top).map_or(-1, |t| t as i64)
}

/// One row's race.
#[derive(Clone, Copy)]
struct Race<'a> {
    row: &'a [f32],
    top: f32,
    scale: f32,
    seed: [u32; 2],
    /// Step, sample, prompt.
    counter: [u32; 3],
    /// Of every group, beside the top.
    weights: &'a [f32],
}

/// The first two to ring: their rates, the inverses of their times, and which is the first.
struct Leaders {
    best: f64,
    second: f64,
    which: usize,
}

impl Leaders {
    const NONE: Self = Self { best: 0.0, second: 0.0, which: 0 };

    #[inline(always)]
    fn add(&mut self, rate: f64, which: usize) {
        if rate > self.best {
            (self.best, self.second, self.which) = (rate, self.best, which);
        } else {
            self.second = self.second.max(rate);
        }
    }

    /// The first, unless rounding may decide.
    fn settled(&self) -> Option<usize> {
        (self.second < self.best * (1.0 - MARGIN)).then_some(self.which)
    }
}

impl Race<'_> {
    /// The first token to ring of those whose heated logits are at least `least`, or [`CLOSE`].
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    fn winner<S: Simd>(self, simd: S, least: Option<f32>) -> i64 {
        let mut found = Leaders::NONE;
        let mut drawn = [[0_u32; 4]; QUADS];
        for (block, weights) in self.weights.chunks(4 * QUADS).enumerate() {
            philox(simd, RINGS + (block * QUADS) as u32, self.counter, self.seed, &mut drawn);
            for (i, (&weight, &word)) in weights.iter().zip(drawn.as_flattened()).enumerate() {
                let (group, weight, u) = (block * 4 * QUADS + i, f64::from(weight), uniform(word));
                // A group's time is at least u over its weight, which mostly settles that it comes too late.
                if weight <= found.best * (1.0 - MARGIN) * u {
                    continue;
                }
                let time = exponential(word) / weight;
                let Some(least) = least else {
                    found.add(time.recip(), group);
                    continue;
                };
                if self.heated(group).all(|y| y < least) {
                    continue;
                }
                let Some(leader) = self.leader(simd, group) else { return CLOSE };
                let later = self.times(simd, LATER, group);
                for (i, _) in self.heated(group).enumerate().filter(|&(_, y)| y >= least) {
                    let token = group * GROUP + i;
                    let time = if token == leader { time } else { time + later[i] };
                    found.add(time.recip(), token);
                }
            }
        }
        let winner = found.settled().and_then(|first| match least {
            None => self.leader(simd, first),
            Some(_) => Some(first),
        });
        winner.map_or(CLOSE, |token| token as i64)
    }

    /// The heated logits of a group.
    #[inline(always)]
    fn heated(self, group: usize) -> impl Iterator<Item = f32> {
        let (top, scale) = (self.top, self.scale);
        self.row[group * GROUP..].iter().take(GROUP).map(move |&x| (x - top) * scale)
    }

    /// Times of a group's tokens, of their own rates.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)]
    fn times<S: Simd>(self, simd: S, stream: u32, group: usize) -> [f64; GROUP] {
        let mut drawn = [[0_u32; 4]; QUADS];
        philox(simd, stream + (group * GROUP / 4) as u32, self.counter, self.seed, &mut drawn);
        let mut times = [f64::INFINITY; GROUP];
        for ((time, y), &word) in times.iter_mut().zip(self.heated(group)).zip(drawn.as_flattened()) {
            *time = exponential(word) / f64::from(y).exp();
        }
        times
    }

    /// The token that is the first of its group, unless rounding may decide.
    #[inline(always)]
    fn leader<S: Simd>(self, simd: S, group: usize) -> Option<usize> {
        let mut found = Leaders::NONE;
        for (i, time) in self.times(simd, FIRST, group).into_iter().enumerate() {
            found.add(time.recip(), group * GROUP + i);
        }
        found.settled()
    }
}

/// The variate's u, in (0, 1).
#[inline(always)]
fn uniform(word: u32) -> f64 {
    (f64::from(word) + 0.5) * (1.0 / 4_294_967_296.0)
}

/// An exponential variate.
#[inline(always)]
fn exponential(word: u32) -> f64 {
    -(-uniform(word)).ln_1p()
}

/// Philox4x32-10 (Salmon et al. 2011) at the counters (first + i, step, sample, prompt).
#[inline(always)]
fn philox<S: Simd>(simd: S, first: u32, counter: [u32; 3], key: [u32; 2], out: &mut [[u32; 4]; QUADS]) {
    let mut words = [[0_u32; QUADS]; 4];
    for (i, word) in words[0].iter_mut().enumerate() {
        #[allow(clippy::cast_possible_truncation)]
        let at = first.wrapping_add(i as u32);
        *word = at;
    }
    let low = S::as_mut_simd_u32s(&mut words[0]).0;
    let mut results = [[0_u32; QUADS]; 3];
    let [r1, r2, r3] = &mut results;
    let (r1, r2, r3) = (S::as_mut_simd_u32s(r1).0, S::as_mut_simd_u32s(r2).0, S::as_mut_simd_u32s(r3).0);
    let (m0, m1) = (simd.splat_u32s(0xd251_1f53), simd.splat_u32s(0xcd9e_8d57));
    for (((c, r1), r2), r3) in low.iter_mut().zip(r1).zip(r2).zip(r3) {
        let mut x = [*c, simd.splat_u32s(counter[0]), simd.splat_u32s(counter[1]), simd.splat_u32s(counter[2])];
        let [mut k0, mut k1] = key;
        for _ in 0..10 {
            let (lo0, hi0) = simd.widening_mul_u32s(x[0], m0);
            let (lo1, hi1) = simd.widening_mul_u32s(x[2], m1);
            x = [
                simd.xor_u32s(simd.xor_u32s(hi1, x[1]), simd.splat_u32s(k0)),
                lo1,
                simd.xor_u32s(simd.xor_u32s(hi0, x[3]), simd.splat_u32s(k1)),
                lo0,
            ];
            k0 = k0.wrapping_add(0x9e37_79b9);
            k1 = k1.wrapping_add(0xbb67_ae85);
        }
        (*c, *r1, *r2, *r3) = (x[0], x[1], x[2], x[3]);
    }
    for (i, quad) in out.iter_mut().enumerate() {
        *quad = [words[0][i], results[0][i], results[1][i], results[2][i]];
    }
}

#[cfg(test)]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss
)]
mod tests {
    use super::*;

    struct Words([u32; 3], [u32; 2], u32);
    impl WithSimd for Words {
        type Output = [[u32; 4]; QUADS];
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let mut out = [[0; 4]; QUADS];
            philox(simd, self.2, self.0, self.1, &mut out);
            out
        }
    }

    /// The vectors that Random123 publishes for philox4x32 with 10 rounds (`kat_vectors`).
    #[test]
    fn known_answers() {
        let arch = Arch::new();
        let zero = arch.dispatch(Words([0; 3], [0; 2], 0));
        assert_eq!(zero[0], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = arch.dispatch(Words([u32::MAX; 3], [u32::MAX; 2], u32::MAX - 3));
        assert_eq!(ones[3], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi =
            arch.dispatch(Words([0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0], 0x243f_6a88 - 15));
        assert_eq!(pi[15], [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    /// Word `index` of a stream of a row's noise.
    fn word(index: usize, stream: u32, [seed, prompt, sample, step]: [i64; 4]) -> u32 {
        let counter = [step, sample, prompt].map(|word| word as u32);
        let seed = [seed as u32, (seed >> 32) as u32];
        Arch::new().dispatch(Words(counter, seed, stream + (index / 4) as u32))[0][index % 4]
    }

    /// Every token's clock, by the definition.
    fn clocks(y: &[f64], key: [i64; 4]) -> Vec<f64> {
        let mut times = Vec::new();
        for (g, group) in y.chunks(GROUP).enumerate() {
            let first = exponential(word(g, RINGS, key)) / group.iter().map(|y| y.exp()).sum::<f64>();
            let own = |i: usize, stream| exponential(word(g * GROUP + i, stream, key)) / group[i].exp();
            let leader = (0..group.len()).min_by(|&a, &b| own(a, FIRST).total_cmp(&own(b, FIRST))).unwrap();
            times.extend((0..group.len()).map(|i| if i == leader { first } else { first + own(i, LATER) }));
        }
        times
    }

    #[test]
    fn draws_follow_the_definition() {
        let vocab = 203;
        let row: Vec<f32> = (0..vocab).map(|t| ((t * 37 % 101) as f32) * 0.04 - 2.0).collect();
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let y: Vec<f64> = row.iter().map(|&x| f64::from((x - top) * (1.0 / 0.8))).collect();
        for step in 0..500_i64 {
            let key = [-7, 5, step % 7, step];
            let times = clocks(&y, key);
            for least in [f32::NEG_INFINITY, -1.3] {
                let (mut tokens, mut logprobs) = ([0], [0.0]);
                let given = [least];
                let given = (least > f32::NEG_INFINITY).then_some(&given[..]);
                let keys = key.each_ref().map(std::slice::from_ref);
                let rows = Rows { logits: &row, vocab, keys, temperature: &[0.8], least: given };
                draw(rows, &mut tokens, &mut logprobs).unwrap();
                let kept = (0..vocab).filter(|&t| y[t] >= f64::from(least));
                let best = kept.min_by(|&a, &b| times[a].total_cmp(&times[b])).unwrap();
                assert_eq!(tokens[0], best as i64);
                let total: f64 = row.iter().map(|&x| (f64::from(x - top) / 0.8).exp()).sum();
                let expected = f64::from(row[best] - top) / 0.8 - total.ln();
                assert!((f64::from(logprobs[0]) - expected).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn ties_are_the_callers() {
        // Two tokens of one group that would be its first at the same time, and two groups that would.
        let key = [1_i64, 2, 3, 4];
        let gap = |a, b, stream| (exponential(word(a, stream, key)) / exponential(word(b, stream, key))).ln();
        for (vocab, other, gap) in [(2, 1, gap(1, 0, FIRST)), (33, 32, gap(1, 0, RINGS))] {
            let mut row = vec![f32::NEG_INFINITY; vocab];
            (row[0], row[other]) = (0.0, gap as f32);
            let (mut tokens, mut logprobs) = ([0], [0.0]);
            let keys = key.each_ref().map(std::slice::from_ref);
            let rows = Rows { logits: &row, vocab, keys, temperature: &[1.0], least: None };
            draw(rows, &mut tokens, &mut logprobs).unwrap();
            assert_eq!(tokens[0], CLOSE);
        }
    }

    #[test]
    fn odd_rows() {
        let inf = f32::INFINITY;
        let cases = [
            (vec![f32::NAN, 0.0, 1.0], -1, f32::NAN),
            (vec![0.0, inf, 1.0], -1, f32::NAN),
            (vec![-inf; 3], -1, -inf),
            (vec![-inf, 3.0, -inf], 1, 0.0),
        ];
        for (row, token, logprob) in cases {
            for heat in [0.0, 1.0] {
                let keys = [&[1_i64][..], &[2], &[3], &[4]];
                let (mut tokens, mut logprobs) = ([0], [0.0]);
                draw(
                    Rows { logits: &row, vocab: 3, keys, temperature: &[heat], least: None },
                    &mut tokens,
                    &mut logprobs,
                )
                .unwrap();
                assert_eq!(tokens[0], token);
                assert!(logprobs[0] == logprob || (logprob.is_nan() && logprobs[0].is_nan()));
            }
        }
    }
}
