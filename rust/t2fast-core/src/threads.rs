//! How many threads long work uses, and how it reports progress and is stopped.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

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
/// A process that was forked from one that had worked already inherits pools whose threads exist only in its parent, and
/// would wait for them forever: so pools belong to a process. Whatever may use several threads must run in here.
///
/// # Errors
/// [`Error::Array`] when the operating system refuses the threads.
pub fn on_threads<R: Send>(threads: Option<NonZeroUsize>, work: impl FnOnce() -> R + Send) -> Result<R> {
    /// The process whose threads rayon's global pool, which cannot be replaced, belongs to.
    static FIRST: OnceLock<u32> = OnceLock::new();
    static POOLS: Mutex<BTreeMap<(u32, usize), Arc<ThreadPool>>> = Mutex::new(BTreeMap::new());

    let process = std::process::id();
    let count = match threads {
        Some(count) => count.get(),
        None if *FIRST.get_or_init(|| process) == process => return Ok(work()),
        // Rayon's own word for all of the machine's.
        None => 0,
    };
    let known = POOLS.lock().unwrap_or_else(PoisonError::into_inner).get(&(process, count)).cloned();
    let pool = if let Some(pool) = known {
        pool
    } else {
        // Built without the lock: a process forked meanwhile would inherit it closed.
        let pool = ThreadPoolBuilder::new()
            .num_threads(count)
            .build()
            .map_err(|e| Error::Array(format!("threads = {count}: the system refused them ({e}); ask for fewer")))?;
        let pool = Arc::new(pool);
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        // A parent's pools are of no use here; dropping them would wait for threads that do not exist.
        pools.insert((process, count), Arc::clone(&pool));
        pool
    };
    Ok(pool.install(work))
}
