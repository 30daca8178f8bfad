//! How many threads long work uses, and how it reports progress and is stopped.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};

/// What long work shares with whoever waits for it: how much is done, and whether to stop.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    cancelled: AtomicBool,
}

impl Progress {
    /// Adds to the work done, and says whether to go on.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after [`Progress::cancel`].
    pub fn advance(&self, amount: u64) -> Result<()> {
        self.done.fetch_add(amount, Ordering::Relaxed);
        if self.cancelled.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// The work done so far, in the unit of the routine that does it.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Asks the work to stop at its next step.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

/// Runs `work` on `threads` threads, or on all of the machine's when `None`.
///
/// Pools are kept for the next call. Results of this crate don't depend on the number of threads.
///
/// # Errors
/// [`Error::Array`] when the operating system refuses the threads.
pub fn on_threads<R: Send>(threads: Option<NonZeroUsize>, work: impl FnOnce() -> R + Send) -> Result<R> {
    static POOLS: Mutex<BTreeMap<usize, Arc<ThreadPool>>> = Mutex::new(BTreeMap::new());
    let Some(threads) = threads else {
        return Ok(work());
    };
    let pool = {
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&threads.get()) {
            Arc::clone(pool)
        } else {
            let pool = ThreadPoolBuilder::new().num_threads(threads.get()).build().map_err(|e| {
                Error::Array(format!("threads = {threads}: the system refused them ({e}); ask for fewer"))
            })?;
            let pool = Arc::new(pool);
            pools.insert(threads.get(), Arc::clone(&pool));
            pool
        }
    };
    Ok(pool.install(work))
}
