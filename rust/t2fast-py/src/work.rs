//! Long work that reports progress to Python and stops on Ctrl-C.

use std::num::NonZeroUsize;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;
use t2fast_core::threads::{Progress, on_threads};

use crate::errors::Error;

/// How often the waiting thread looks for Ctrl-C and reports progress.
const POLL: Duration = Duration::from_millis(50);

/// Runs work that needs no watching without the interpreter, on all threads.
///
/// Every call of the core that may use several threads goes through here or one of the two below: they know of forks.
pub fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> t2fast_core::Result<T> + Send) -> PyResult<T> {
    Ok(py.detach(|| on_threads(None, work)).map_err(Error::from)?.map_err(Error::from)?)
}

/// Runs work that is over before anybody could wait for it: without the interpreter, and without a thread to watch it.
pub fn run_brief<T: Send>(
    py: Python<'_>,
    threads: Option<NonZeroUsize>,
    work: impl FnOnce(&Progress) -> t2fast_core::Result<T> + Send,
) -> PyResult<T> {
    let progress = Progress::default();
    let result = py.detach(|| on_threads(threads, || work(&progress)));
    Ok(result.map_err(Error::from)?.map_err(Error::from)?)
}

/// Runs `work` without the interpreter on `threads` threads, calling `report(done)` now and then.
///
/// Work that ends within one poll costs one thread start; a signal or an exception from `report` cancels the work, waits
/// for it to stop, and is raised.
pub fn run<T: Send>(
    py: Python<'_>,
    threads: Option<NonZeroUsize>,
    report: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(&Progress) -> t2fast_core::Result<T> + Send,
) -> PyResult<T> {
    let progress = Progress::default();
    let (sender, mut receiver) = channel();
    let report = report.map(|report| report.clone().unbind());
    thread::scope(|scope| {
        let progress = &progress;
        scope.spawn(move || {
            // The receiver outlives this thread: it waits below until something arrives.
            let _ = sender.send(on_threads(threads, || work(progress)).and_then(|result| result));
        });
        let mut failure = None;
        loop {
            // A unique borrow may cross to the released section; a shared one may not.
            let waiting = &mut receiver;
            let received = py.detach(move || waiting.recv_timeout(POLL));
            match received {
                Ok(result) => {
                    return match failure {
                        Some(failure) => Err(failure),
                        None => result.map_err(|error| Error::from(error).into()),
                    };
                }
                Err(RecvTimeoutError::Timeout) if failure.is_none() => {
                    let outcome = py.check_signals().and_then(|()| match &report {
                        Some(report) => report.call1(py, (progress.done(),)).map(drop),
                        None => Ok(()),
                    });
                    if let Err(error) = outcome {
                        progress.cancel();
                        failure = Some(error);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::panic::resume_unwind(Box::new("the work panicked")),
            }
        }
    })
}
