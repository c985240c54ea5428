//! `w`: what is seen is written to a file while it is looked at.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use harness::tracer::{READY_LIMIT, binary};
use harness::{Lab, Tracer, deadline, tmux::Tmux};
use serde_json::Value;

use super::{LATER, SOON};

/// After a key, on a machine that others use.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A directory of its own; removed when dropped.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("tracer-{name}-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The view in a shell, in a directory.
fn open_in(lab: &Lab, dir: &Path, before: &str, args: &str) -> Result<Tmux> {
    let tracer = binary()?;
    let command = format!(
        "{before}cd {} && {} live {args}; echo status $?; cat",
        dir.display(),
        tracer.display()
    );
    let terminal = Tmux::start(lab.node(), (200, 40), &["sh", "-c", &command])?;
    terminal.wait_for("the first screen", READY_LIMIT, |s| s.contains("LIVE"))?;
    Ok(terminal)
}

/// The files of a directory, by name.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir)?.collect::<std::io::Result<Vec<_>>>()?;
    let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    Ok(paths)
}

/// What `tracer read` says about a file, which has to be whole.
fn read(lab: &Lab, file: &Path) -> Result<Value> {
    let file = file.to_str().context("the path is no text")?;
    let ended = Tracer::run(lab.node(), &["read", "-o", "json", file], LATER)?.expect_code(0)?;
    let report = ended.json()?;
    ensure!(
        report["file"]["complete"] == true && ended.stderr.is_empty(),
        "not whole: {}\n{}",
        report["file"],
        ended.stderr
    );
    Ok(report)
}

fn lost(report: &Value) -> usize {
    let flows = report["flows"].as_array().map_or(&[][..], Vec::as_slice);
    let lost = |f: &&Value| f["dst"] == "2001:db8:44:2::20" && f["outcome"] == "dropped";
    flows.iter().filter(lost).count()
}

#[test]
fn what_is_recorded_shows_the_flow() -> Result<()> {
    let lab = Lab::raise("ipv6-prefix", Some("nodefault"))?;
    let dir = Dir::new("recording")?;
    let terminal = open_in(&lab, &dir.0, "", "--mode native")?;
    let begun = Instant::now();
    terminal.send_keys(&["w"])?;
    terminal.wait_for("that it starts", SOON, |s| s.contains("REC "))?;
    let said = begun.elapsed();
    terminal.wait_for("the file's name", READY_LIMIT, |s| {
        s.contains("REC tracer-") && s.contains(".pcapng")
    })?;
    println!("said after {said:?}, recorded after {:?}", begun.elapsed());
    ensure!(said < deadline::scaled(AT_ONCE), "said after {said:?}");
    lab.traffic(1)?;
    terminal.wait_for("the lost flow", SOON, |s| s.contains("DROPPED"))?;
    terminal.send_keys(&["w"])?;
    let screen = terminal.wait_for("the end of it", SOON, |s| s.contains("recorded: tracer-"))?;
    ensure!(!screen.contains("REC tracer"), "{screen}");
    let [file] = &files(&dir.0)?[..] else {
        bail!("not one file: {:?}", files(&dir.0)?)
    };
    ensure!(screen.contains(file.file_name().and_then(|n| n.to_str()).unwrap_or("?")));
    let mode = file.metadata()?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "others can read it: {mode:o}");
    let report = read(&lab, file)?;
    ensure!(lost(&report) > 0, "{report}");
    ensure!(report["intent"]["mode"] == "native", "{}", report["intent"]);

    // a filter of the view narrows the next one, and leaving the view ends it in order
    terminal.send_text("/tcp")?;
    terminal.send_keys(&["Enter", "w"])?;
    terminal.wait_for("the second file", READY_LIMIT, |s| {
        s.contains("REC tracer-")
    })?;
    lab.traffic(1)?;
    terminal.send_keys(&["q"])?;
    terminal.wait_for("the end", LATER, |s| s.contains("status 0"))?;
    let all = files(&dir.0)?;
    let [_, second] = &all[..] else {
        bail!("not two files: {all:?}")
    };
    let report = read(&lab, second)?;
    // lookups that failed made no packet, and are not filtered
    let flows = report["flows"].as_array().context("no flows")?;
    let mut flows = flows.iter().filter(|f| f["packets"] != 0).peekable();
    ensure!(
        flows.peek().is_some() && flows.all(|f| f["proto"] == "tcp"),
        "{report}"
    );
    Ok(())
}

#[test]
fn a_full_disk_is_told_and_the_view_goes_on() -> Result<()> {
    let lab = Lab::raise("ipv6-prefix", Some("nodefault"))?;
    let dir = Dir::new("full")?;
    let mount = format!("mount -t tmpfs -o size=64k none {} && ", dir.0.display());
    // the mount is seen by this shell alone
    let tracer = binary()?;
    let command = format!(
        "{mount}cd {} && exec {} live",
        dir.0.display(),
        tracer.display()
    );
    let terminal = Tmux::start(
        lab.node(),
        (200, 40),
        &["unshare", "-m", "sh", "-c", &command],
    )?;
    terminal.wait_for("the first screen", READY_LIMIT, |s| s.contains("LIVE"))?;
    terminal.send_keys(&["w"])?;
    let said = |s: &str| s.contains("not recorded: cannot ") && s.contains("No space left");
    let screen = deadline::wait_for("the full disk", LATER, || {
        lab.traffic(1)?;
        let screen = terminal.screen()?;
        Ok(said(&screen).then_some(screen))
    })?;
    ensure!(!screen.contains("REC "), "{screen}");
    // a key takes the message away, and the view lives
    terminal.send_keys(&["2"])?;
    terminal.wait_for("the findings", SOON, |s| s.contains("SEVERITY"))?;
    Ok(())
}
