//! A client that reads metrics, and Prometheus' own reader.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use harness::{Lab, command, deadline};

use super::{LIMIT, LISTEN};

/// The samples of a scrape: name and labels as they stand there, and the number.
pub(crate) type Samples = BTreeMap<String, f64>;

/// A connection from host `a`.
pub(crate) fn connect(lab: &Lab) -> Result<TcpStream> {
    let stream = lab.ns("a")?.run(|| TcpStream::connect(LISTEN))??;
    stream.set_read_timeout(Some(deadline::scaled(LIMIT)))?;
    Ok(stream)
}

/// Asks once; head and body of the answer.
pub(crate) fn ask(lab: &Lab, request: &str) -> Result<(String, String)> {
    let mut stream = connect(lab)?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
    Ok((head.to_owned(), body.to_owned()))
}

/// The text of `/metrics`.
pub(crate) fn text(lab: &Lab) -> Result<String> {
    let (head, body) = ask(lab, "GET /metrics HTTP/1.1\r\nHost: n1\r\n\r\n")?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
    ensure!(head.contains("text/plain; version=0.0.4"), "{head}");
    Ok(body)
}

pub(crate) fn samples(text: &str) -> Result<Samples> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, number) = line.rsplit_once(' ').context(line.to_owned())?;
            Ok((name.to_owned(), number.parse()?))
        })
        .collect()
}

pub(crate) fn scrape(lab: &Lab) -> Result<Samples> {
    samples(&text(lab)?)
}

/// Waits for the first picture.
pub(crate) fn wait(lab: &Lab) -> Result<()> {
    deadline::wait_for("a scrape", LIMIT, || Ok(scrape(lab).ok().map(drop)))
}

/// The sum of the samples of a metric of counts whose labels contain all of `words`.
pub(crate) fn sum(samples: &Samples, metric: &str, words: &[&str]) -> u64 {
    let of_metric = |name: &str| {
        name.strip_prefix(metric)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
    };
    let wanted = samples
        .iter()
        .filter(|(name, _)| of_metric(name) && words.iter().all(|word| name.contains(word)));
    wanted.map(|(_, number)| *number as u64).sum()
}

/// Where `promtool` is: `cargo xtask setup` puts it into the toolchain's directory.
fn promtool() -> Result<PathBuf> {
    if command::installed("promtool") {
        return Ok("promtool".into());
    }
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join("target/toolchain/bin/promtool");
    ensure!(
        path.is_file(),
        "there is no promtool: run `cargo xtask setup`"
    );
    Ok(path)
}

/// Prometheus reads the text, and its linter has nothing to say about names and help texts.
pub(crate) fn accepted_by_prometheus(text: &str) -> Result<()> {
    let program = promtool()?;
    let argv = [program.to_str().context("no UTF-8")?, "check", "metrics"];
    let output = command::output(&argv, text)?;
    let said = [output.stdout, output.stderr].concat();
    if output.status.success() && said.is_empty() {
        return Ok(());
    }
    bail!("{}\n{text}", String::from_utf8_lossy(&said))
}

#[test]
fn promtool_finds_mistakes() {
    assert!(accepted_by_prometheus("a{b=\"c\"} x\n").is_err());
    let counter = "# HELP a_x b\n# TYPE a_x counter\na_x 1\n";
    assert!(accepted_by_prometheus(counter).is_err());
    let good = counter.replace("a_x", "a_x_total");
    assert!(accepted_by_prometheus(&good).is_ok());
}

/// From one scrape to the next.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);
