//! pass@k where each question has a difficulty of its own: the mean of `1 - (1 - sigmoid(h - b))^k` over difficulties b.

// Numbers of questions are far below 2^53.
#![allow(clippy::cast_precision_loss)]

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use crate::error::{Error, Result};
use crate::simd;

/// Sums are kept by lane, so that they fill vector registers and don't depend on how wide these are.
const LANES: usize = 8;

/// Abilities and difficulties beyond these are as good as infinite: what is off is below 1e-43 times k.
const FARTHEST: (f64, f64) = (300.0, 400.0);

/// pass@k at abilities in log-odds, rows of one for each `k`: `ability[i]` goes with `k[i % k.len()]`.
///
/// Relative error below 1e-14, for the least success rates as for others: `1 - (1 + e^z)^-k` is taken as
/// `-expm1(-k log1p(e^z))`, z = h - b.
///
/// # Errors
///
/// Without difficulties, or unless `ability` and `out` are whole rows.
pub fn item_response(ability: &[f64], difficulties: &[f64], k: &[f64], out: &mut [f64]) -> Result<()> {
    if difficulties.is_empty() {
        return Err(Error::Array("difficulties is empty: there must be a question".into()));
    }
    if out.len() != ability.len()
        || (k.is_empty() && !ability.is_empty())
        || !ability.len().is_multiple_of(k.len().max(1))
    {
        return Err(Error::Array(format!("ability has {} elements: must be rows of {}", ability.len(), k.len())));
    }
    // Odds are products: e^h e^-b. Beyond the last question the odds are none.
    let mut ease: Vec<f64> = difficulties.iter().map(|b| (-b).clamp(-FARTHEST.1, FARTHEST.1).exp()).collect();
    ease.resize(ease.len().next_multiple_of(LANES), 0.0);
    means(ability, &ease, difficulties.len() as f64, k, out);
    Ok(())
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn means(ability: &[f64], ease: &[f64], questions: f64, k: &[f64], out: &mut [f64]) {
    const FMA: bool = target_cfg_f!(any(target_feature = "fma", target_feature = "avx512f", target_feature = "neon"));
    for (i, (h, out)) in ability.iter().zip(out).enumerate() {
        let odds = simd::exp::<FMA>(h.clamp(-FARTHEST.0, FARTHEST.0));
        let k = k[i % k.len()];
        let mut found = [0.0; LANES];
        for ease in ease.chunks_exact(LANES) {
            for lane in 0..LANES {
                found[lane] -= simd::exp_m1::<FMA>(-k * simd::ln_1p::<FMA>(odds * ease[lane]));
            }
        }
        *out = found.iter().sum::<f64>() / questions;
    }
}

#[cfg(test)]
mod tests {
    use super::item_response;

    /// The definition, in the functions of the standard library.
    fn slowly(h: f64, difficulties: &[f64], k: f64) -> f64 {
        let one = |b: &f64| {
            let z = h - b;
            let softplus = z.max(0.0) + (-z.abs()).exp().ln_1p();
            -(-k * softplus).exp_m1()
        };
        difficulties.iter().map(one).sum::<f64>() / difficulties.len() as f64
    }

    #[test]
    fn is_the_definition_to_the_last_digits() {
        let difficulties: Vec<f64> = (0..37).map(|i| -9.0 + 0.61 * f64::from(i)).collect();
        let ks = [1.0, 2.0, 17.5, 1e3, 1e7];
        let ability: Vec<f64> = (0..40).flat_map(|i| ks.map(|_| -60.0 + 3.1 * f64::from(i))).collect();
        let mut out = vec![0.0; ability.len()];
        item_response(&ability, &difficulties, &ks, &mut out).unwrap();
        for (i, (&h, &found)) in ability.iter().zip(&out).enumerate() {
            let wanted = slowly(h, &difficulties, ks[i % ks.len()]);
            assert!((found - wanted).abs() <= 1e-14 * wanted, "h {h}, k {}: {found} {wanted}", ks[i % ks.len()]);
        }
    }

    #[test]
    fn ends_are_none_and_all() {
        let mut out = [f64::NAN; 4];
        let h = [-300.0, -1e9, 300.0, 1e9];
        item_response(&h, &[-1e3, 0.0, 1e3], &[1.0, 1e6], &mut out).unwrap();
        // Of three questions one has infinite ease, and one none.
        for (found, wanted) in out.iter().zip([1.0, 1.0, 2.0, 2.0]) {
            assert!((found - wanted / 3.0).abs() < 1e-15, "{found}");
        }
    }

    #[test]
    fn shapes_are_checked() {
        let mut out = [0.0; 3];
        assert!(item_response(&[0.0; 3], &[], &[1.0], &mut out).is_err());
        assert!(item_response(&[0.0; 3], &[0.0], &[1.0, 2.0], &mut out).is_err());
        assert!(item_response(&[0.0; 3], &[0.0], &[], &mut out).is_err());
        assert!(item_response(&[], &[0.0], &[], &mut []).is_ok());
    }
}
