//! Small dense matrices on the stack: the fits have at most [`MAX`] parameters.

// Indices name rows and columns, as subscripts do in the formulas.
#![allow(clippy::needless_range_loop)]

/// The most parameters that any fit has.
pub const MAX: usize = 10;
/// A parameter vector; only the first entries count.
pub type Vector = [f64; MAX];
/// A square matrix; only the leading block counts.
pub type Matrix = [[f64; MAX]; MAX];

/// The lower Cholesky factor of the leading n x n block, or `None` unless that is positive definite.
#[must_use]
pub fn cholesky<const M: usize>(a: &[[f64; M]; M], n: usize) -> Option<[[f64; M]; M]> {
    let mut l = [[0.0; M]; M];
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|m| l[i][m] * l[j][m]).sum();
            let rest = a[i][j] - dot;
            if i == j {
                // Rounding leaves a few parts in 1e16 of the diagonal: less than that is no curvature at all.
                if rest.is_nan() || rest <= 1e-15 * a[i][i].abs() {
                    return None;
                }
                l[i][i] = rest.sqrt();
            } else {
                l[i][j] = rest / l[j][j];
            }
        }
    }
    Some(l)
}

/// Solves `L L' x = b`.
#[must_use]
pub fn solve<const M: usize>(l: &[[f64; M]; M], b: &[f64; M], n: usize) -> [f64; M] {
    let mut x = *b;
    for i in 0..n {
        let dot: f64 = (0..i).map(|m| l[i][m] * x[m]).sum();
        x[i] = (x[i] - dot) / l[i][i];
    }
    for i in (0..n).rev() {
        let dot: f64 = (i + 1..n).map(|m| l[m][i] * x[m]).sum();
        x[i] = (x[i] - dot) / l[i][i];
    }
    x
}

/// The inverse of a positive definite leading block, or `None` where it is not.
#[must_use]
pub fn inverse(a: &Matrix, n: usize) -> Option<Matrix> {
    // Scaling to a unit diagonal first: logarithms of coefficients and exponents differ by orders of magnitude.
    let mut scale = [0.0; MAX];
    for i in 0..n {
        if a[i][i].is_nan() || a[i][i] <= 0.0 {
            return None;
        }
        scale[i] = 1.0 / a[i][i].sqrt();
    }
    let mut scaled = [[0.0; MAX]; MAX];
    for i in 0..n {
        for j in 0..n {
            scaled[i][j] = a[i][j] * scale[i] * scale[j];
        }
    }
    let l = cholesky(&scaled, n)?;
    let mut out = [[0.0; MAX]; MAX];
    for j in 0..n {
        let mut unit = [0.0; MAX];
        unit[j] = 1.0;
        let column = solve(&l, &unit, n);
        for i in 0..n {
            out[i][j] = column[i] * scale[i] * scale[j];
        }
    }
    Some(out)
}

/// The largest over the smallest eigenvalue of a symmetric block scaled to a unit diagonal; infinite unless it is
/// positive definite. Jacobi rotations.
#[must_use]
pub fn condition(a: &Matrix, n: usize) -> f64 {
    let mut s = [[0.0; MAX]; MAX];
    for i in 0..n {
        for j in 0..n {
            s[i][j] = a[i][j] / (a[i][i] * a[j][j]).sqrt();
        }
    }
    if s.iter().take(n).any(|row| row.iter().take(n).any(|v| !v.is_finite())) {
        return f64::INFINITY;
    }
    for _ in 0..50 {
        let mut off = 0.0;
        for p in 0..n {
            for q in p + 1..n {
                off += s[p][q] * s[p][q];
                if s[p][q] == 0.0 {
                    continue;
                }
                let tau = (s[q][q] - s[p][p]) / (2.0 * s[p][q]);
                let t = tau.signum() / (tau.abs() + (1.0 + tau * tau).sqrt());
                let c = 1.0 / (1.0 + t * t).sqrt();
                let sine = t * c;
                for m in 0..n {
                    (s[m][p], s[m][q]) = (c * s[m][p] - sine * s[m][q], sine * s[m][p] + c * s[m][q]);
                }
                for m in 0..n {
                    (s[p][m], s[q][m]) = (c * s[p][m] - sine * s[q][m], sine * s[p][m] + c * s[q][m]);
                }
            }
        }
        if off < 1e-28 {
            break;
        }
    }
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for (i, row) in s.iter().enumerate().take(n) {
        low = low.min(row[i]);
        high = high.max(row[i]);
    }
    if low > 0.0 { high / low } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_and_condition_of_a_known_matrix() {
        let mut a = [[0.0; MAX]; MAX];
        // The 4 x 4 Hilbert matrix: its inverse is known in integers.
        for (i, row) in a.iter_mut().enumerate().take(4) {
            for (j, value) in row.iter_mut().enumerate().take(4) {
                *value = 1.0 / f64::from(u8::try_from(i + j + 1).unwrap());
            }
        }
        let inverse = inverse(&a, 4).unwrap();
        for (got, want) in inverse[3].iter().zip([-140.0, 1680.0, -4200.0, 2800.0]) {
            assert!((got - want).abs() < 1e-8 * want.abs());
        }
        // Scaled to a unit diagonal; reference from 50-digit arithmetic in tests/oracles is not needed: det > 0.
        assert!(condition(&a, 4) > 1e3 && condition(&a, 4) < 2e4);
        a[3][3] = 0.0;
        assert!(cholesky(&a, 4).is_none() && condition(&a, 4).is_infinite());
    }
}
