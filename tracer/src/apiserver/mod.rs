//! Names from an API server (`--kube`): pods of other nodes, nodes, services, and pods of this node
//! whose log directory cannot be read.
//!
//! A thread of its own lists and watches. Nothing waits for it: names appear when it has them, and
//! without an answer there are none.

mod directory;
#[cfg(feature = "kube")]
mod objects;
#[cfg(feature = "kube")]
mod watch;

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use directory::Directory;

/// Whether this build can ask an API server.
pub const AVAILABLE: bool = cfg!(feature = "kube");

/// What the thread has found out.
#[derive(Debug, Default)]
struct Found {
    /// Since it was last taken.
    directory: Option<Arc<Directory>>,
    /// What went wrong, each said once.
    errors: Vec<String>,
    /// Nobody wants more.
    stop: bool,
}

#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<Found>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running watch; ends when it is dropped.
#[derive(Debug, Default)]
pub struct Watch {
    shared: Shared,
}

impl Watch {
    /// Begins to ask the server of the kubeconfig (`KUBECONFIG`, `~/.kube/config`), otherwise that of
    /// the cluster that this process is a pod of. In the namespace of the calling thread.
    pub fn start() -> Self {
        let watch = Self::default();
        #[cfg(feature = "kube")]
        if let Err(e) = watch::spawn(watch.shared.clone()) {
            watch.shared.lock().errors.push(e.to_string());
        }
        watch
    }

    /// The names, when they changed since they were last taken.
    pub fn take(&self) -> Option<Arc<Directory>> {
        self.shared.lock().directory.take()
    }

    /// What went wrong since this was last asked; each cause is told once.
    pub fn errors(&self) -> Vec<String> {
        mem::take(&mut self.shared.lock().errors)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // it may wait for an answer: nobody waits for it
        self.shared.lock().stop = true;
    }
}
