//! `kubectl tracer` against a `kubectl` that notes what it is asked for. There is no cluster here.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{command, deadline, tracer};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::manifests::PLUGIN;
use super::{Dir, file};

const LIMIT: Duration = Duration::from_secs(30);

/// Does what kubectl does, as far as the plugin can see. What tracer prints is some bytes that are no
/// text; with the file `long` it goes on until the pod is deleted.
const KUBECTL: &str = r#"#!/bin/sh
echo "$*" >>"$FAKE/calls"
while :; do
    case $1 in
        --context | --kubeconfig | --namespace) shift 2 ;;
        *) break ;;
    esac
done
case $1 in
    create) cat >"$FAKE/pod.yaml" ;;
    wait) [ ! -e "$FAKE/unready" ] ;;
    attach)
        read -r line
        echo "$line" >"$FAKE/begun"
        printf 'a\000b\377\n'
        if [ -e "$FAKE/long" ]; then
            while [ ! -e "$FAKE/deleted" ]; do sleep 0.1; done
            echo the end
        fi
        ;;
    get) [ ! -e "$FAKE/ended" ] || cat "$FAKE/ended" ;;
    delete) : >"$FAKE/deleted" ;;
esac
"#;

/// What [`KUBECTL`] prints as tracer's output.
const PRINTED: &[u8] = b"a\0b\xff\n";

struct Fake(Dir);

impl Fake {
    fn new(name: &str) -> Result<Self> {
        let fake = Self(Dir::new(&format!("kubectl-{name}"))?);
        let program = fake.0.path("kubectl")?;
        fs::write(&program, KUBECTL)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        fake.set("ended", "0")?;
        Ok(fake)
    }

    fn set(&self, name: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.0.path(name)?, text)?)
    }

    fn text(&self, name: &str) -> Result<String> {
        let path = self.0.path(name)?;
        fs::read_to_string(&path).context(path)
    }

    fn start(&self, args: &[&str]) -> Result<Child> {
        let path = std::env::var("PATH").unwrap_or_default();
        let dir = self.0.path("")?;
        // a job in the background of a shell inherits that SIGINT is ignored, and no shell can trap it
        // then
        let mut command = Command::new("env");
        command
            .args(["--default-signal=INT", &file(PLUGIN)?])
            .args(args)
            .env("FAKE", &dir)
            .env("PATH", format!("{dir}:{path}"))
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().context("the plugin does not start")
    }

    fn run(&self, args: &[&str]) -> Result<Ended> {
        ended(self.start(args)?)
    }

    /// The commands that were asked for, without their options.
    fn verbs(&self) -> Vec<String> {
        let calls = self.text("calls").unwrap_or_default();
        let known = ["create", "wait", "attach", "get", "delete"];
        calls
            .lines()
            .filter_map(|line| line.split(' ').find(|word| known.contains(word)))
            .map(str::to_owned)
            .collect()
    }
}

struct Ended {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: String,
}

fn ended(mut child: Child) -> Result<Ended> {
    let status = deadline::wait_for("the end of the plugin", LIMIT, || Ok(child.try_wait()?));
    // without its pipes, which what it started may hold open
    let status = status.inspect_err(|_| drop(child.kill()))?;
    let (mut stdout, mut stderr) = (Vec::new(), String::new());
    child
        .stdout
        .take()
        .context("stdout")?
        .read_to_end(&mut stdout)?;
    child
        .stderr
        .take()
        .context("stderr")?
        .read_to_string(&mut stderr)?;
    Ok(Ended {
        status,
        stdout,
        stderr,
    })
}

#[test]
fn its_shell_is_sound() -> Result<()> {
    let plugin = file(PLUGIN)?;
    command::run(&["shellcheck", "--shell=sh", &plugin], "")?;
    command::run(&["sh", "-n", &plugin], "")?;
    Ok(())
}

#[test]
fn a_verdict_arrives_with_its_exit_status() -> Result<()> {
    let fake = Fake::new("check")?;
    fake.set("ended", "3")?;
    let options = [
        "n1",
        "--namespace",
        "ns",
        "--context",
        "c",
        "--image",
        "r/t:1",
        "-t",
        "60",
    ];
    let args = [&options[..], &["check", "net 10.0.0.0/8", "--for", "10s"]].concat();
    let end = fake.run(&args)?;
    ensure!(end.status.code() == Some(3), "{}", end.stderr);
    ensure!(end.stdout == PRINTED, "{:?}", end.stdout);
    ensure!(
        fake.verbs() == ["create", "wait", "attach", "get", "delete"],
        "{:?}",
        fake.verbs()
    );
    // it begins only when somebody listens
    ensure!(fake.text("begun")? == "go\n", "{}", fake.text("begun")?);
    let pod = fake.text("pod.yaml")?;
    for part in [
        "args: [\"check\", \"net 10.0.0.0/8\", \"--for\", \"10s\"]",
        "nodeName: \"n1\"",
        "image: \"r/t:1\"",
        "activeDeadlineSeconds: 60",
    ] {
        ensure!(pod.contains(part), "no {part} in {pod}");
    }
    let calls = fake.text("calls")?;
    let all = calls
        .lines()
        .all(|line| line.contains("--context c --namespace ns "));
    ensure!(all, "{calls}");
    Ok(())
}

#[test]
fn a_capture_is_copied_back() -> Result<()> {
    for args in [
        &["record", "-w", "now.pcapng", "--for", "1s"][..],
        &["record", "-wnow.pcapng"],
        &["record", "--write=now.pcapng", "host", "10.1.2.3"],
    ] {
        let fake = Fake::new("record")?;
        let end = fake.run(&[&["n1"], args].concat())?;
        ensure!(
            end.status.success() && end.stdout.is_empty(),
            "{}",
            end.stderr
        );
        let capture = fake.0.path("now.pcapng")?;
        ensure!(fs::read(&capture)? == PRINTED, "{args:?}");
        let mode = fs::metadata(&capture)?.permissions().mode() & 0o777;
        ensure!(mode == 0o600, "{mode:o}");
        let pod = fake.text("pod.yaml")?;
        ensure!(!pod.contains("now.pcapng"), "{pod}");
    }
    let fake = Fake::new("rotate")?;
    let end = fake.run(&["n1", "record", "-w", "x", "-C", "1"])?;
    ensure!(end.status.code() == Some(2), "{}", end.stderr);
    ensure!(fake.verbs().is_empty(), "{:?}", fake.verbs());
    Ok(())
}

#[test]
fn a_signal_ends_the_trace_in_order() -> Result<()> {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let fake = Fake::new("signal")?;
        fake.set("long", "")?;
        let child = fake.start(&["n1", "record", "-w", "now.pcapng"])?;
        deadline::wait_for("the trace", LIMIT, || Ok(fake.text("begun").ok()))?;
        kill(Pid::from_raw(i32::try_from(child.id())?), signal)?;
        let end = ended(child)?;
        ensure!(
            end.status.code() == Some(code),
            "{} {}",
            end.status,
            end.stderr
        );
        ensure!(
            fake.verbs().iter().filter(|v| *v == "delete").count() == 1,
            "{:?}",
            fake.verbs()
        );
        // what tracer says when it is told to end arrives yet
        let capture = fs::read(fake.0.path("now.pcapng")?)?;
        ensure!(capture == [PRINTED, b"the end\n"].concat(), "{capture:?}");
    }
    Ok(())
}

#[test]
fn nothing_is_left_when_the_pod_does_not_start() -> Result<()> {
    let fake = Fake::new("unready")?;
    fake.set("unready", "")?;
    let end = fake.run(&["n1", "check"])?;
    ensure!(end.status.code() == Some(1), "{}", end.stderr);
    ensure!(end.stderr.contains("did not start on n1"), "{}", end.stderr);
    ensure!(
        fake.verbs().last().is_some_and(|v| v == "delete"),
        "{:?}",
        fake.verbs()
    );
    Ok(())
}

#[test]
fn wrong_arguments_are_told_before_anything_is_made() -> Result<()> {
    for (args, said) in [
        (&[][..], "on which node?"),
        (&["n1", "--image"], "needs a value"),
        (&["n1", "-t", "soon", "check"], "a number of seconds"),
        (&["n1;reboot", "check"], "no name of a node"),
        (&["--nosuch", "n1"], "unknown option --nosuch"),
    ] {
        let fake = Fake::new("usage")?;
        let end = fake.run(args)?;
        ensure!(end.status.code() == Some(2), "{args:?}: {}", end.stderr);
        ensure!(end.stderr.contains(said), "{args:?}: {}", end.stderr);
        ensure!(fake.verbs().is_empty(), "{:?}", fake.verbs());
    }
    Ok(())
}

/// `TRACER_WAIT_STDIN`: output that nobody listens to would be lost.
#[test]
fn tracer_waits_for_a_line() -> Result<()> {
    let mut child = Command::new(tracer::binary()?)
        .args(["completions", "bash"])
        .env("TRACER_WAIT_STDIN", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdout = child.stdout.take().context("stdout")?;
    let reader = thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    // it is asleep, not slow: its state is that of a reader
    let stat = format!("/proc/{}/wchan", child.id());
    deadline::wait_for("that it reads", LIMIT, || {
        let at = fs::read_to_string(&stat)?;
        Ok(at.contains("pipe").then_some(()))
    })?;
    ensure!(!reader.is_finished(), "it did not wait");
    let mut stdin = child.stdin.take().context("stdin")?;
    stdin.write_all(b"go\n")?;
    let text = reader
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    ensure!(text.contains("complete -F"), "{text}");
    ensure!(child.wait()?.success(), "it failed");
    Ok(())
}
