//! A small HTTP server. Whatever clients do, it holds few connections, each for a short time and with
//! little memory, and ends at once when it is told to.

use std::{
    convert::Infallible,
    net::TcpListener,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    sync::{Semaphore, oneshot},
    time::{sleep, timeout},
};

use crate::view::metrics;

/// Connections at once; further ones are closed.
const CONNECTIONS: usize = 32;
/// Until a request has arrived: one that comes byte by byte does not keep a place.
const REQUEST: Duration = Duration::from_secs(2);
/// From the first byte to the last one of an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Bytes of a request at most.
const BUFFER: usize = 16 * 1024;
/// After an error of `accept`, when descriptors are used up.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes the text of a scrape; `None` when there is none yet.
type Page = Arc<dyn Fn() -> Option<Vec<u8>> + Send + Sync>;

/// A running server.
pub(super) struct Server {
    quit: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Server {
    pub(super) fn start(
        listener: TcpListener,
        page: impl Fn() -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Result<Self> {
        listener
            .set_nonblocking(true)
            .context("cannot use the socket")?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the event loop")?;
        let listener = {
            let _here = runtime.enter();
            tokio::net::TcpListener::from_std(listener).context("cannot use the socket")?
        };
        let (quit, asked) = oneshot::channel();
        let page: Page = Arc::new(page);
        let thread = thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        _ = asked => {}
                        () = serve(listener, page) => {}
                    }
                });
            })
            .context("cannot start a thread for the server")?;
        Ok(Self { quit, thread })
    }

    /// Ends it, and all connections.
    pub(super) fn stop(self) {
        // it has ended when nobody listens
        let _ended = self.quit.send(());
        if self.thread.join().is_err() {
            tracing::error!("the server ended unexpectedly; this is a bug in tracer");
        }
    }
}

async fn serve(listener: tokio::net::TcpListener, page: Page) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(e) => {
                tracing::debug!("accept: {e}");
                sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let page = Arc::clone(&page);
        tokio::spawn(async move {
            if timeout(ANSWER, connection(stream, page)).await.is_err() {
                tracing::debug!("a connection took too long");
            }
            drop(place);
        });
    }
}

/// One request and its answer.
async fn connection(stream: TcpStream, page: Page) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&request, &*page);
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(e) = served {
        tracing::debug!("a connection: {e}");
    }
}

fn answer<B>(request: &Request<B>, page: &dyn Fn() -> Option<Vec<u8>>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        refused.headers_mut().insert(ALLOW, allowed);
        return refused;
    }
    match request.uri().path() {
        "/" => plain(StatusCode::OK, "tracer: metrics are at /metrics\n"),
        "/metrics" => match page() {
            Some(text) => {
                let mut metrics = plain(StatusCode::OK, text);
                let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
                metrics.headers_mut().insert(CONTENT_TYPE, kind);
                metrics
            }
            None => starting(),
        },
        "/healthz" => match page() {
            Some(_) => plain(StatusCode::OK, "ok\n"),
            None => starting(),
        },
        _ => plain(StatusCode::NOT_FOUND, "not found\n"),
    }
}

fn starting() -> Response<Full<Bytes>> {
    plain(StatusCode::SERVICE_UNAVAILABLE, "not ready yet\n")
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("GET", "/metrics", 200)]
    #[case("HEAD", "/metrics?x=y", 200)]
    #[case("GET", "/healthz", 200)]
    #[case("GET", "/", 200)]
    #[case("GET", "/metrics/", 404)]
    #[case("POST", "/metrics", 405)]
    #[case("DELETE", "/", 405)]
    fn answers(#[case] method: &str, #[case] path: &str, #[case] status: u16) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(())
            .unwrap();
        assert_eq!(answer(&request, &|| Some(Vec::new())).status(), status);
        if path.starts_with("/metrics?") || path == "/healthz" {
            assert_eq!(answer(&request, &|| None).status(), 503);
        }
    }
}
