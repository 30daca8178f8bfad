//! A search for the best point allocates nothing that grows with the grid.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use t2fast_core::cost::Budget;
use t2fast_core::law::{AnyLaw, ChinchillaLaw, T2PassLaw};
use t2fast_core::plan::grid::{Axes, search};
use t2fast_core::threads::Progress;

/// The system's allocator, with a count of the bytes asked for.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn geometric(low: f64, high: f64, count: u32) -> Vec<f64> {
    (0..count).map(|i| low * (high / low).powf(f64::from(i) / f64::from(count - 1))).collect()
}

/// Bytes asked for by one search on one thread.
fn bytes(sizes: [u32; 3], budget: &Budget) -> usize {
    let base = ChinchillaLaw::new(0.0, 25817.6, 171_536.0, 0.528, 0.514).unwrap();
    let law = AnyLaw::T2Pass(T2PassLaw::new(base, [-3.39, 1.0, 0.5506, 3.243, 0.794]).unwrap());
    let (n, d) = (geometric(1e6, 1e11, sizes[0]), geometric(1e9, 1e13, sizes[1]));
    let k: Vec<f64> = (1..=sizes[2]).map(f64::from).collect();
    let axes = Axes { n_params: &n, n_tokens: &d, k: &k };
    let one = || {
        let before = BYTES.load(Ordering::Relaxed);
        search(&law, axes, budget, 1, &Progress::default()).unwrap();
        BYTES.load(Ordering::Relaxed) - before
    };
    // The counter is the process's: what the test harness allocates meanwhile, in its own thread, only adds to it.
    (0..5).map(|_| one()).min().unwrap()
}

#[test]
fn a_search_allocates_the_same_for_any_grid() {
    // One thread, so that no work is stolen: how it is split does not depend on timing then.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let pair = Budget { train: Some(1e21), inference: Some(1.4e11), ..Budget::default() };
    let total = Budget { total: Some(1e21), ..Budget::default() };
    for budget in [pair, total] {
        let (small, large) = pool.install(|| {
            bytes([40, 40, 20], &budget); // whatever is set up once
            (bytes([40, 40, 20], &budget), bytes([800, 800, 400], &budget))
        });
        assert_eq!(small, large);
        assert!(small < 10_000, "{small} bytes");
    }
}
