//! Exact draws of the next token: Gumbel noise from Philox counters, with few logarithms.
//!
//! Token t of a row has the noise -ln(-ln(1 - u)), u = (w + 1/2) / 2^32, where w is word t mod 4 of Philox4x32-10 at the
//! counter (t / 4, step, sample, prompt) under the row's seed. The token with the largest sum of heated logit and noise
//! is drawn (Gumbel 1954). Noise is at most -ln u, and the exponent of w bounds that: almost no token needs a logarithm.

use pulp::{Arch, Simd, WithSimd};

use super::vector::{exp, registers, whole};
use crate::error::{Error, Result};

/// The token of a row whose two best sums lie so close that rounding may decide: the caller does, by its definition.
pub const CLOSE: i64 = -2;
/// The difference below which that is so: the definition's rounding in single precision is below half of it.
const MARGIN: f64 = 4e-5;
/// Philox calls made at a time.
const QUADS: usize = 16;

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
        for (r, row) in logits.chunks_exact(vocab).enumerate() {
            let (top, broken) = largest(simd, row);
            if broken || top == f32::INFINITY || top == f32::NEG_INFINITY {
                self.tokens[r] = -1;
                self.logprobs[r] = if broken || top > 0.0 { f32::NAN } else { f32::NEG_INFINITY };
                continue;
            }
            let heat = temperature[r];
            let scale = if heat > 0.0 { (1.0 / heat).min(f32::MAX) } else { 1.0 };
            let total = mass(simd, row, top, scale).ln();
            let least = least.map_or(f32::NEG_INFINITY, |all| all[r]);
            let token = if heat > 0.0 {
                let [seed, prompt, sample, step] = keys.map(|key| key[r]);
                winner(simd, row, top, scale, least, seed, [step, sample, prompt])
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

/// Sum of the exponentials of the heated logits.
#[inline(always)]
fn mass<S: Simd>(simd: S, row: &[f32], top: f32, scale: f32) -> f64 {
    let (body, tail) = whole(simd, row, f32::NEG_INFINITY);
    let (top, scale) = (simd.splat_f32s(top), simd.splat_f32s(scale));
    let mut total = 0.0;
    let one = |x: S::f32s| exp(simd, simd.mul_f32s(simd.sub_f32s(x, top), scale));
    // Short sums in single precision, long ones in double.
    for part in body.chunks(64) {
        let mut sum = simd.splat_f32s(0.0);
        for &x in part {
            sum = simd.add_f32s(sum, one(x));
        }
        total += f64::from(simd.reduce_sum_f32s(sum));
    }
    if let Some(x) = tail {
        total += f64::from(simd.reduce_sum_f32s(one(x)));
    }
    total
}

/// The first token with the largest logit.
#[inline(always)]
#[allow(clippy::cast_possible_wrap)]
fn first<S: Simd>(_: S, row: &[f32], top: f32) -> i64 {
    row.iter().position(|&x| x == top).map_or(-1, |t| t as i64)
}

/// The token with the largest sum of heated logit and noise, or [`CLOSE`].
#[inline(always)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_possible_wrap)]
fn winner<S: Simd>(simd: S, row: &[f32], top: f32, scale: f32, least: f32, seed: i64, words: [i64; 3]) -> i64 {
    let key = [seed as u32, (seed >> 32) as u32];
    let counter = words.map(|word| word as u32);
    let (mut best, mut second, mut token) = (f64::NEG_INFINITY, f64::NEG_INFINITY, -1_i64);
    let mut drawn = [[0_u32; 4]; QUADS];
    let mut sums = [0_f32; 4 * QUADS];
    for (block, part) in row.chunks(4 * QUADS).enumerate() {
        philox(simd, (block * QUADS) as u32, counter, key, &mut drawn);
        // A token's sum is at most this; what may not be drawn, or lies beyond the end, has -inf.
        sums[part.len()..].fill(f32::NEG_INFINITY);
        let flat = drawn.as_flattened();
        for ((sum, &x), &word) in sums.iter_mut().zip(part).zip(flat) {
            let y = (x - top) * scale;
            let bound = y + bound(word);
            *sum = if y >= least { bound } else { f32::NEG_INFINITY };
        }
        let most = registers::<S>(&sums).iter().fold(simd.splat_f32s(f32::NEG_INFINITY), |a, &b| simd.max_f32s(a, b));
        if f64::from(simd.reduce_max_f32s(most)) <= best - MARGIN {
            continue;
        }
        for (i, &sum) in sums.iter().enumerate() {
            if f64::from(sum) <= best - MARGIN || sum == f32::NEG_INFINITY {
                continue;
            }
            let u = (f64::from(flat[i]) + 0.5) * (1.0 / 4_294_967_296.0);
            let found = f64::from((part[i] - top) * scale) - (-(-u).ln_1p()).ln();
            if found > best {
                (best, second, token) = (found, best, (block * 4 * QUADS + i) as i64);
            } else {
                second = second.max(found);
            }
        }
    }
    if best - second < MARGIN { CLOSE } else { token }
}

/// At least the noise of a word: from its exponent, and rounded up.
#[inline(always)]
#[allow(clippy::cast_precision_loss, clippy::cast_possible_wrap)]
fn bound(word: u32) -> f32 {
    // Half of the word is positive as a signed number, which every processor converts. As it is at least 2^e, u is at
    // least 2^(e - 31) and the noise at most (31 - e) ln 2. Where rounding to f32 raises e, u is smaller by 2^-25 of it.
    let exponent = ((word >> 1) as i32 as f32).to_bits() >> 23;
    ((127 + 31) as f32 - exponent as i32 as f32) * std::f32::consts::LN_2 + 1e-5
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

    #[test]
    fn the_bound_is_never_below_the_noise() {
        let noise = |w: u32| -(-(-(f64::from(w) + 0.5) / 4_294_967_296.0).ln_1p()).ln();
        for shift in 0..32_u32 {
            for near in -3_i64..=3 {
                let Ok(w) = u32::try_from((1_i64 << shift) + near) else { continue };
                assert!(f64::from(bound(w)) >= noise(w), "{w}");
            }
        }
        for w in [0, u32::MAX, u32::MAX - 1, 0x00ff_ffff, 0x0100_0001] {
            assert!(f64::from(bound(w)) >= noise(w), "{w}");
        }
    }

    #[test]
    fn draws_follow_the_definition() {
        let vocab = 203;
        #[allow(clippy::cast_precision_loss)]
        let row: Vec<f32> = (0..vocab).map(|t| ((t * 37 % 101) as f32) * 0.04 - 2.0).collect();
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for step in 0..500_i64 {
            let keys = [&[-7_i64][..], &[5], &[step % 7], &[step]];
            let (mut tokens, mut logprobs) = ([0], [0.0]);
            let rows = Rows { logits: &row, vocab, keys, temperature: &[0.8], least: None };
            draw(rows, &mut tokens, &mut logprobs).unwrap();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let sums = row.iter().enumerate().map(|(t, &x)| {
                let words = [step as u32, (step % 7) as u32, 5];
                let quad = Arch::new().dispatch(Words(words, [(-7_i64) as u32, u32::MAX], (t / 4) as u32))[0];
                let u = (f64::from(quad[t % 4]) + 0.5) / 4_294_967_296.0;
                f64::from((x - top) * (1.0 / 0.8)) - (-(-u).ln_1p()).ln()
            });
            let best = sums.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0;
            assert_eq!(tokens[0], i64::try_from(best).unwrap());
            let total: f64 = row.iter().map(|&x| (f64::from(x - top) / 0.8).exp()).sum();
            let expected = f64::from(row[best] - top) / 0.8 - total.ln();
            assert!((f64::from(logprobs[0]) - expected).abs() < 1e-5);
        }
    }

    #[test]
    fn ties_are_the_callers() {
        // Two tokens with the same word could tie; the same token twice cannot be had, so logits do: equal sums within
        // the margin are found by moving one logit onto the other's sum.
        let keys = [&[1_i64][..], &[2], &[3], &[4]];
        let mut row = [0.0_f32, 0.0];
        let quad = Arch::new().dispatch(Words([4, 3, 2], [1, 0], 0))[0];
        let noise = |w: u32| -(-(-(f64::from(w) + 0.5) / 4_294_967_296.0).ln_1p()).ln();
        let gap = noise(quad[0]) - noise(quad[1]);
        #[allow(clippy::cast_possible_truncation)]
        if gap > 0.0 {
            row[0] = -gap as f32;
        } else {
            row[1] = gap as f32;
        }
        let (mut tokens, mut logprobs) = ([0], [0.0]);
        draw(Rows { logits: &row, vocab: 2, keys, temperature: &[1.0], least: None }, &mut tokens, &mut logprobs)
            .unwrap();
        assert_eq!(tokens[0], CLOSE);
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
