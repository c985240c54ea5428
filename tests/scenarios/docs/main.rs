//! The documentation is true: every command of README and `docs` is executed and prints what it is
//! said to print, and each lab is answered as the table in `docs/checks.md` has it.

mod blocks;
mod labs;
mod page;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Labs wait for timeouts most of the time, so several fit on one CPU.
const AT_ONCE: usize = 5;

/// Does `work` for each of `items`, a few at a time, and returns what went wrong.
fn all<T: Sync>(items: &[T], work: impl Fn(&T) -> anyhow::Result<()> + Sync) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut failures = Vec::new();
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = work(item) {
                failures.push(format!("{error:#}"));
            }
        }
        failures
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .flat_map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    })
}
