//! The thread that asks.

use std::{
    collections::HashSet,
    future, io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::{
    Api, Client, Config,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use tokio::time::{interval, timeout};

use super::{Directory, Shared, objects::Store};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest wait for what the kubeconfig names: a plugin that fetches a token, for example.
const CONFIGURE: Duration = Duration::from_secs(15);
/// It is looked so often whether there is something to tell.
const TICK: Duration = Duration::from_millis(250);
/// Changes are told together: a large cluster changes all the time.
const PAUSE: Duration = Duration::from_secs(5);

/// Starts the thread.
pub(super) fn spawn(shared: Shared) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let work = move || {
        if let Err(e) = runtime.block_on(run(&shared)) {
            shared.lock().errors.push(e);
        }
    };
    thread::Builder::new()
        .name("kube".into())
        .spawn(work)
        .map(drop)
}

async fn run(shared: &Shared) -> Result<(), String> {
    let config = timeout(CONFIGURE, Config::infer());
    let mut config = match config.await {
        Ok(Ok(config)) => config,
        Ok(Err(e)) => {
            return Err(format!(
                "there is no kubeconfig and no account of a pod: {e}"
            ));
        }
        Err(_) => {
            return Err(format!(
                "the kubeconfig gave no access within {CONFIGURE:?}"
            ));
        }
    };
    config.connect_timeout = Some(CONNECT);
    let server = config.cluster_url.to_string();
    let client = Client::try_from(config).map_err(|e| format!("{server}: {e}"))?;
    follow(shared, &client, &server).await;
    Ok(())
}

enum Told {
    Pod(Box<Event<Pod>>),
    Service(Box<Event<Service>>),
    Node(Box<Event<Node>>),
}

/// What the server has answered so far.
#[derive(Default)]
struct Answers {
    pods: Store,
    services: Store,
    nodes: Store,
    /// Something is different since it was told.
    changed: bool,
    told: Option<Instant>,
    /// Kinds that were asked for in vain; each is said once.
    failed: HashSet<&'static str>,
}

impl Answers {
    fn take(&mut self, told: Told) {
        self.changed |= match told {
            Told::Pod(e) => self.pods.take(*e),
            Told::Service(e) => self.services.take(*e),
            Told::Node(e) => self.nodes.take(*e),
        };
    }

    fn stores(&self) -> [&Store; 3] {
        [&self.pods, &self.services, &self.nodes]
    }

    /// First answers are told at once.
    fn is_due(&self) -> bool {
        let complete = self.stores().iter().filter(|s| s.is_complete()).count();
        // a kind that is refused is not waited for
        let all = complete + self.failed.len() >= self.stores().len();
        let rested = self.told.is_none_or(|at| at.elapsed() >= PAUSE);
        self.changed && (rested || !all)
    }

    fn directory(&self) -> Directory {
        let mut directory = Directory::default();
        for store in self.stores() {
            store.add_to(&mut directory);
        }
        directory
    }
}

async fn follow(shared: &Shared, client: &Client, server: &str) {
    let config = watcher::Config::default;
    // a list that fails is asked for again, the pauses grow to half a minute
    let pods = watcher(Api::all(client.clone()), config()).default_backoff();
    let services = watcher(Api::all(client.clone()), config()).default_backoff();
    let nodes = watcher(Api::all(client.clone()), config()).default_backoff();
    let mut all = stream::select_all([
        pods.map(|e| ("pods", e.map(|e| Told::Pod(e.into()))))
            .boxed(),
        services
            .map(|e| ("services", e.map(|e| Told::Service(e.into()))))
            .boxed(),
        nodes
            .map(|e| ("nodes", e.map(|e| Told::Node(e.into()))))
            .boxed(),
    ]);
    let mut answers = Answers::default();
    let mut ticks = interval(TICK);
    loop {
        tokio::select! {
            told = all.next() => match told {
                Some((_, Ok(told))) => answers.take(told),
                Some((what, Err(e))) => {
                    if answers.failed.insert(what) {
                        let why = causes(&e);
                        shared.lock().errors.push(format!("{server}: {what}: {why}"));
                    }
                }
                // watches do not end by themselves
                None => future::pending::<()>().await,
            },
            _ = ticks.tick() => {
                let mut found = shared.lock();
                if found.stop {
                    return;
                }
                if answers.is_due() {
                    answers.changed = false;
                    answers.told = Some(Instant::now());
                    found.directory = Some(Arc::new(answers.directory()));
                }
            }
        }
    }
}

/// An error with what led to it; its own text often leaves that out.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
