//! Gauss and Legendre's rule.

/// Nodes and weights on [0, 1], exact for polynomials up to degree `2 x count - 1`.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn legendre(count: usize) -> Vec<(f64, f64)> {
    let n = count as f64;
    (0..count)
        .map(|i| {
            let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..100 {
                let (mut before, mut here) = (1.0, x);
                for j in 2..=count {
                    let j = j as f64;
                    (before, here) = (here, ((2.0 * j - 1.0) * x * here - (j - 1.0) * before) / j);
                }
                slope = n * (x * here - before) / (x * x - 1.0);
                let step = here / slope;
                x -= step;
                if step.abs() < 1e-15 {
                    break;
                }
            }
            (0.5 + 0.5 * x, 1.0 / ((1.0 - x * x) * slope * slope))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::legendre;

    #[test]
    fn powers_are_integrated_exactly() {
        for count in [1, 2, 7, 32, 100] {
            let nodes = legendre(count);
            for power in [0, 1, count, 2 * count - 1] {
                #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_precision_loss)]
                let (sum, exact) =
                    (nodes.iter().map(|(x, w)| w * x.powi(power as i32)).sum::<f64>(), 1.0 / (power as f64 + 1.0));
                assert!((sum - exact).abs() < 1e-13, "{count} {power} {sum}");
            }
        }
    }
}
