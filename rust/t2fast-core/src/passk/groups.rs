//! Mean pass@k of many groups of problems at once, each with its variance.

use rayon::prelude::*;

use super::estimate::Estimator;
use super::histogram::{self, Histogram};
use super::interval;
use crate::error::{Error, Result};

/// What is known of one group at each k.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Mean pass@k, NaN where a problem has fewer than k samples.
    pub means: Vec<f64>,
    /// The variance of each mean, NaN where it is not defined.
    pub variances: Vec<f64>,
}

/// Means of groups with their variances: under new samples of the same problems when `same`, else under new problems.
/// Group i holds the problems from `ends[i - 1]` to `ends[i]`.
///
/// # Errors
/// [`Error::Array`] for impossible counts, and for ends that do not rise to the number of problems.
pub fn means(n: &[i64], c: &[i64], ends: &[usize], ks: &[u64], same: bool) -> Result<Vec<Group>> {
    histogram::check_lengths(n, c)?;
    for (i, (&n, &c)) in n.iter().zip(c).enumerate() {
        histogram::checked_pair(n, c, i)?;
    }
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let groups: Vec<(usize, usize)> = starts.zip(ends.iter().copied()).collect();
    if n.len() != c.len() || ends.last() != Some(&c.len()) || groups.iter().any(|(start, end)| start >= end) {
        return Err(Error::Array("ends must rise to the number of problems".to_owned()));
    }
    let one = |&(start, end): &(usize, usize)| {
        let counts = Histogram::from_counts(&n[start..end], &c[start..end])?;
        let means = counts.means(Estimator::PassAtK, ks)?;
        let variance = |(&k, mean): (&u64, &f64)| match mean.is_nan() {
            true => Ok(f64::NAN),
            false if same => interval::samples_variance(&counts, k),
            false => interval::problems_variance(&counts, Estimator::PassAtK, k),
        };
        let variances = ks.iter().zip(&means).map(variance).collect::<Result<_>>()?;
        Ok(Group { means, variances })
    };
    groups.par_iter().with_min_len(64).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_is_as_it_would_be_alone() {
        let (n, c) = ([10, 10, 10, 4, 4], [1, 5, 9, 0, 4]);
        let found = means(&n, &c, &[3, 5], &[1, 5], false).unwrap();
        let alone = Histogram::from_counts(&n[..3], &c[..3]).unwrap();
        for (i, k) in [1, 5].into_iter().enumerate() {
            assert_eq!(found[0].means[i].to_bits(), alone.mean_pass_at_k(k).to_bits());
            let variance = interval::problems_variance(&alone, Estimator::PassAtK, k).unwrap();
            assert_eq!(found[0].variances[i].to_bits(), variance.to_bits());
        }
        assert_eq!(found[1].means[0].to_bits(), 0.5_f64.to_bits());
        assert!(found[1].means[1].is_nan() && found[1].variances[1].is_nan());
        let same = means(&n, &c, &[3, 5], &[1], true).unwrap();
        assert_eq!(same[0].variances[0].to_bits(), interval::samples_variance(&alone, 1).unwrap().to_bits());
    }

    #[test]
    fn groups_that_leave_problems_out_are_refused() {
        assert!(means(&[4, 4], &[1, 2], &[1], &[1], false).is_err());
        assert!(means(&[4, 4], &[1, 2], &[1, 1, 2], &[1], false).is_err());
        assert!(means(&[4, 4], &[1, 5], &[2], &[1], false).is_err());
    }
}
