//! An API server that has only answers: lists as Kubernetes 1.33 writes them (`tests/fixtures/kube`),
//! and watches whose events the test sends.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{Netns, command, deadline};
use nix::sys::socket::shutdown;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// Where it listens, in the namespace of another node.
pub(crate) const ADDRESS: &str = "10.0.0.2:6443";
/// What it wants to be shown.
pub(crate) const TOKEN: &str = "a-token-of-this-test";

const PODS: &str = include_str!("../../fixtures/kube/pods.json");
const SERVICES: &str = include_str!("../../fixtures/kube/services.json");
const NODES: &str = include_str!("../../fixtures/kube/nodes.json");
const KINDS: [(&str, &str); 3] = [("pods", PODS), ("services", SERVICES), ("nodes", NODES)];

#[derive(Default)]
struct State {
    /// Kinds that the account may not list.
    forbidden: Vec<&'static str>,
    /// Open watches by kind.
    watches: HashMap<String, TcpStream>,
    /// All connections, to end them.
    streams: Vec<TcpStream>,
    /// Requests without the token, and those that it has no answer for.
    strange: Vec<String>,
}

/// Ends when it is dropped.
pub(crate) struct Server {
    state: Arc<Mutex<State>>,
    listener: TcpListener,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// One that refuses to list `forbidden`, with `tls` on a connection that is encrypted.
    pub(crate) fn start(
        ns: &Netns,
        forbidden: &[&'static str],
        tls: Option<Arc<ServerConfig>>,
    ) -> Result<Self> {
        let listener = ns.run(|| TcpListener::bind(ADDRESS))??;
        let state = Arc::new(Mutex::new(State {
            forbidden: forbidden.to_vec(),
            ..State::default()
        }));
        let (accepting, shared) = (listener.try_clone()?, state.clone());
        thread::spawn(move || {
            for stream in accepting.incoming() {
                let Ok(stream) = stream else { return };
                let (shared, tls) = (shared.clone(), tls.clone());
                // a client that goes away is no error
                thread::spawn(move || drop(accept(stream, tls, &shared)));
            }
        });
        Ok(Self { state, listener })
    }

    /// Waits until this kind is watched: its list was taken.
    pub(crate) fn wait_watched(&self, kind: &str) -> Result<()> {
        let what = format!("a watch of {kind}");
        deadline::wait_for(&what, Duration::from_secs(30), || {
            Ok(lock(&self.state).watches.contains_key(kind).then_some(()))
        })
    }

    /// Sends an event: `ADDED`, `MODIFIED`, `DELETED` with an object.
    pub(crate) fn send(&self, kind: &str, event: &str, object: &Value) -> Result<()> {
        let mut state = lock(&self.state);
        let stream = state.watches.get_mut(kind).context("not watched")?;
        chunk(stream, &json!({"type": event, "object": object}))
    }

    /// Everything that was asked for was something that it knows, with the token.
    pub(crate) fn was_asked_properly(&self) -> Result<()> {
        let strange = &lock(&self.state).strange;
        ensure!(strange.is_empty(), "{strange:?}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let listener = self.listener.as_raw_fd();
        // it may have ended already
        let _ended = shutdown(listener, nix::sys::socket::Shutdown::Both);
        for stream in &lock(&self.state).streams {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

/// An object of a list with its kind, as a watch sends it.
pub(crate) fn object(kind: &str, name: &str) -> Result<Value> {
    let (_, text) = KINDS.iter().find(|(k, _)| *k == kind).context("no kind")?;
    let list: Value = serde_json::from_str(text)?;
    let items = list["items"].as_array().context("no items")?;
    let found = items.iter().find(|i| i["metadata"]["name"] == name);
    let mut object = found.context("no such object")?.clone();
    let of_list = list["kind"].as_str().context("no kind")?;
    object["kind"] = of_list.trim_end_matches("List").into();
    object["apiVersion"] = "v1".into();
    Ok(object)
}

fn chunk(stream: &mut TcpStream, event: &Value) -> Result<()> {
    let line = format!("{event}\n");
    write!(stream, "{:x}\r\n{line}\r\n", line.len())?;
    Ok(stream.flush()?)
}

fn accept(
    mut stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    state: &Mutex<State>,
) -> Result<()> {
    let plain = stream.try_clone()?;
    lock(state).streams.push(plain.try_clone()?);
    match tls {
        None => serve(&mut stream, Some(&plain), state),
        Some(tls) => {
            let connection = ServerConnection::new(tls)?;
            serve(&mut StreamOwned::new(connection, stream), None, state)
        }
    }
}

/// A certificate for [`ADDRESS`] that is its own authority, and what a server needs of it.
pub(crate) fn certificate(dir: &Path) -> Result<(String, Arc<ServerConfig>)> {
    let path = |name: &str| dir.join(name).display().to_string();
    let (key, cert) = (path("tls.key"), path("ca.crt"));
    let name = format!("subjectAltName=IP:{}", ADDRESS.trim_end_matches(":6443"));
    let made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=kube-apiserver",
        "-addext",
        &name,
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-keyout",
        &key,
        "-out",
        &cert,
    ];
    command::run(&made, "")?;
    let chain = CertificateDer::pem_file_iter(&cert)?.collect::<Result<_, _>>()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(&key)?)?;
    Ok((cert, Arc::new(config)))
}

/// Up to the end of a line, without it; `None` at the end of the connection.
fn line(stream: &mut impl Read) -> Result<Option<String>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 {
        if byte == *b"\n" {
            let text = String::from_utf8(line)?;
            return Ok(Some(text.trim_end().to_owned()));
        }
        line.extend(byte);
    }
    Ok(None)
}

/// Answers the requests of one connection. `plain` is what events of a watch are written to.
fn serve(
    stream: &mut (impl Read + Write),
    plain: Option<&TcpStream>,
    state: &Mutex<State>,
) -> Result<()> {
    while let Some(request) = line(stream)? {
        let mut shown = false;
        while let Some(header) = line(stream)?.filter(|header| !header.is_empty()) {
            shown |= header.eq_ignore_ascii_case(&format!("authorization: Bearer {TOKEN}"));
        }
        let url = request.split(' ').nth(1).unwrap_or_default();
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let kind = path.strip_prefix("/api/v1/").unwrap_or_default();
        let known = KINDS.iter().find(|(k, _)| *k == kind);
        let Some((kind, list)) = known.filter(|_| shown && request.starts_with("GET ")) else {
            lock(state).strange.push(request);
            return Ok(());
        };
        if lock(state).forbidden.contains(kind) {
            answer(stream, "403 Forbidden", &forbidden(kind))?;
        } else if query.split('&').any(|word| word.starts_with("watch=")) {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            )?;
            stream.flush()?;
            if let Some(plain) = plain {
                let to = plain.try_clone()?;
                lock(state).watches.insert((*kind).to_owned(), to);
            }
        } else {
            answer(stream, "200 OK", list)?;
        }
    }
    Ok(())
}

fn answer(stream: &mut impl Write, status: &str, body: &str) -> Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    Ok(stream.flush()?)
}

fn forbidden(kind: &str) -> String {
    let why = format!(
        "{kind} is forbidden: User \"system:serviceaccount:tracer:default\" cannot list resource \
         \"{kind}\" in API group \"\" at the cluster scope"
    );
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": why, "reason": "Forbidden", "details": {"kind": kind}, "code": 403,
    })
    .to_string()
}
