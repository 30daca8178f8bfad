//! Counter-based random numbers: the n-th draw of a stream is a function of seed, stream and n alone.
//!
//! Work that gives every item its own stream (a bootstrap replicate, a problem, a restart) draws the same numbers in any
//! order and on any number of threads.

/// A stream of Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
///
/// The seed is the key; the counter holds the stream in its upper half and the number of the block in its lower half, so
/// that 2^64 streams of 2^65 draws each never meet.
#[derive(Debug, Clone)]
pub struct Philox {
    seed: u64,
    stream: u64,
    block: u64,
    /// The second draw of the current block, until it is used.
    spare: Option<u64>,
}

impl Philox {
    /// The stream's first draw comes next.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        Self { seed, stream, block: 0, spare: None }
    }

    /// 64 uniform bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let [a, b] = halves(self.block);
        let [c, d] = halves(self.stream);
        let [a, b, c, d] = philox4x32([a, b, c, d], halves(self.seed));
        self.block = self.block.wrapping_add(1);
        self.spare = Some(u64::from(c) | u64::from(d) << 32);
        u64::from(a) | u64::from(b) << 32
    }

    /// A uniform number in the open interval (0, 1), so that its logarithm is finite: one of 2^52 midpoints.
    #[inline]
    #[allow(clippy::cast_precision_loss)]
    pub fn uniform(&mut self) -> f64 {
        ((self.next_u64() >> 12) as f64 + 0.5) * (1.0 / 4_503_599_627_370_496.0)
    }

    /// A uniform integer below `n`, without bias (Lemire 2019, "Fast random integer generation in an interval").
    ///
    /// # Panics
    /// When `n` is 0.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "no integer lies below 0");
        loop {
            let product = u128::from(self.next_u64()) * u128::from(n);
            #[allow(clippy::cast_possible_truncation)]
            let low = product as u64;
            // Of the 2^64 inputs, 2^64 mod n are turned away, so that every result keeps equally many.
            if low >= n || low >= n.wrapping_neg() % n {
                #[allow(clippy::cast_possible_truncation)]
                return (product >> 64) as u64;
            }
        }
    }
}

/// The low and the high 32 bits.
#[inline]
#[allow(clippy::cast_possible_truncation)]
fn halves(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

/// Ten rounds of Philox on one counter.
#[inline]
fn philox4x32([mut x0, mut x1, mut x2, mut x3]: [u32; 4], [mut k0, mut k1]: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let [lo0, hi0] = halves(u64::from(x0) * 0xd251_1f53);
        let [lo1, hi1] = halves(u64::from(x2) * 0xcd9e_8d57);
        (x0, x1, x2, x3) = (hi1 ^ x1 ^ k0, lo1, hi0 ^ x3 ^ k1, lo0);
        k0 = k0.wrapping_add(0x9e37_79b9);
        k1 = k1.wrapping_add(0xbb67_ae85);
    }
    [x0, x1, x2, x3]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors that Random123 publishes for philox4x32 with 10 rounds (`kat_vectors`).
    #[test]
    fn known_answers() {
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox4x32([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let more_pi = [0xa409_3822, 0x299f_31d0];
        assert_eq!(philox4x32(pi, more_pi), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn draws_are_the_blocks_in_order() {
        let mut rng = Philox::new(0, 0);
        assert_eq!(rng.next_u64(), 0xe169_c58d_6627_e8d5);
        assert_eq!(rng.next_u64(), 0x9b00_dbd8_bc57_ac4c);
        let [a, b, c, d] = philox4x32([1, 0, 0, 0], [0; 2]);
        assert_eq!(rng.next_u64(), u64::from(b) << 32 | u64::from(a));
        assert_eq!(rng.next_u64(), u64::from(d) << 32 | u64::from(c));
    }

    #[test]
    fn seeds_and_streams_differ_and_repeat() {
        let first = |seed, stream| Philox::new(seed, stream).next_u64();
        assert_ne!(first(1, 0), first(0, 1));
        assert_ne!(first(0, 0), first(0, 1 << 32));
        assert_ne!(first(0, 0), first(1 << 32, 0));
        assert_eq!(first(7, 9), first(7, 9));
    }

    #[test]
    fn uniform_stays_inside_and_has_the_right_moments() {
        let mut rng = Philox::new(3, 5);
        let n = 200_000;
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..n {
            let u = rng.uniform();
            assert!(u > 0.0 && u < 1.0);
            sum += u;
            squares += u * u;
        }
        // Six standard errors.
        assert!((sum / f64::from(n) - 0.5).abs() < 6.0 * 0.289 / 447.0);
        assert!((squares / f64::from(n) - 1.0 / 3.0).abs() < 6.0 * 0.299 / 447.0);
    }

    #[test]
    fn below_is_even_over_its_range() {
        for n in [1_u64, 2, 3, 7, 10] {
            let mut rng = Philox::new(11, n);
            let draws = 70_000;
            let mut counts = vec![0_u32; usize::try_from(n).unwrap()];
            for _ in 0..draws {
                counts[usize::try_from(rng.below(n)).unwrap()] += 1;
            }
            #[allow(clippy::cast_precision_loss)]
            let mean = f64::from(draws) / n as f64;
            for count in counts {
                assert!((f64::from(count) - mean).abs() <= 6.0 * mean.sqrt());
            }
        }
        // Just above half of 2^64, half of all draws must be rejected; without that, small results come twice as often.
        let n = (1 << 63) + 1;
        let mut rng = Philox::new(1, 1);
        let low = (0..10_000).filter(|_| rng.below(n) < n / 2).count();
        assert!((4700..5300).contains(&low), "{low}");
    }

    #[test]
    #[should_panic(expected = "no integer lies below 0")]
    fn below_zero_panics() {
        Philox::new(0, 0).below(0);
    }
}
