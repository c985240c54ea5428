//! Where the machine gives less: capabilities, files, modes. What is missing is named, with the
//! remedy, and the rest goes on. And what tracer gives up itself.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::traffic::Udp;
use harness::{Lab, Tracer, expect, inject, tracer};
use nix::errno::Errno;
use serde_json::{Value, json};

const END: Duration = Duration::from_secs(30);
const CHECK: [&str; 6] = ["check", "-o", "json", "--for", "1h", "udp port 7"];

/// A capability that is missing, alone or with `CAP_SYS_ADMIN`, which includes it.
struct Missing {
    capability: &'static str,
    dropped: &'static str,
    /// Whether tracing goes on.
    traces: bool,
}

const MISSING: [Missing; 6] = [
    Missing {
        capability: "CAP_BPF",
        dropped: "-bpf,-sys_admin",
        traces: false,
    },
    Missing {
        capability: "CAP_PERFMON",
        dropped: "-perfmon,-sys_admin",
        traces: false,
    },
    Missing {
        capability: "CAP_NET_ADMIN",
        dropped: "-net_admin",
        traces: false,
    },
    Missing {
        capability: "CAP_SYS_ADMIN",
        dropped: "-sys_admin",
        traces: true,
    },
    Missing {
        capability: "CAP_SYSLOG",
        dropped: "-syslog",
        traces: true,
    },
    // the older, larger one stands for it
    Missing {
        capability: "",
        dropped: "-bpf,-perfmon",
        traces: true,
    },
];

#[test]
fn each_capability_that_is_missing_is_named() -> Result<()> {
    for missing in &MISSING {
        let (name, what) = (missing.capability, missing.dropped);
        let lab = Lab::raise("router", None)?;
        let doctor = without(&lab, what, &["doctor", "-o", "json"])?.wait(END)?;
        let report = doctor.json()?;
        let gap = gap(&report, if name.is_empty() { "CAP_" } else { name });
        ensure!(gap.is_some() != name.is_empty(), "{what}: {report:#}");
        if let Some(remedy) = gap {
            ensure!(
                remedy.contains("sudo") && remedy.contains("capabilities"),
                "{remedy}"
            );
        }
        let check = without(&lab, what, &CHECK)?;
        if !missing.traces {
            let ended = check.wait(END)?.expect_code(1)?;
            ensure!(
                ended.stderr.lines().count() == 1 && ended.stderr.contains(name),
                "{what}:\n{}",
                ended.stderr
            );
            ensure!(doctor.code()? == 1, "{what}: {report}");
            continue;
        }
        check.wait_ready(tracer::READY_LIMIT)?;
        traces(&lab, check).with_context(|| format!("without {what}"))?;
        ensure!(doctor.code()? == 0, "{what}: {report}");
    }
    Ok(())
}

/// What containers get: 64 KiB of locked memory. Before Linux 5.11 tables count as such, and it takes a
/// capability to raise the limit.
#[test]
fn the_capability_for_locked_memory_is_named_where_it_is_needed() -> Result<()> {
    const LIMITED: &str = "exec prlimit --memlock=65536 setpriv --bounding-set=-sys_resource \
                           --inh-caps=-sys_resource \"$0\" \"$@\"";
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    let version = (
        numbers.next().context("no version")??,
        numbers.next().context("no version")??,
    );
    let lab = Lab::raise("router", None)?;
    let check = shell(&lab, LIMITED, &CHECK)?;
    if version >= (5, 11) {
        check.wait_ready(tracer::READY_LIMIT)?;
        return traces(&lab, check);
    }
    let ended = check.wait(END)?.expect_code(1)?;
    for word in ["64 KiB", "CAP_SYS_RESOURCE"] {
        ensure!(ended.stderr.contains(word), "{}", ended.stderr);
    }
    // with the capability it raises the limit
    let raised = LIMITED.replace("-sys_resource", "+sys_resource");
    let check = shell(&lab, &raised, &CHECK)?;
    check.wait_ready(tracer::READY_LIMIT)?;
    traces(&lab, check)
}

/// As in a container: `/sys` cannot be written, there is no tracefs, processes are others' in
/// another pid namespace.
#[test]
fn a_container_with_read_only_sys_is_enough() -> Result<()> {
    const CONTAINER: &str = r#"
        for at in tracing debug fs/bpf; do
            while umount -l "/sys/kernel/$at" "/sys/$at" 2>/dev/null; do :; done
        done
        mount -o remount,ro,bind /sys || exit 98
        touch /sys/kernel/x 2>/dev/null && exit 97
        exec unshare -p -f --mount-proc --kill-child "$0" "$@""#;
    let lab = Lab::raise("router", None)?;
    let doctor = shell(&lab, CONTAINER, &["doctor"])?
        .wait(END)?
        .expect_code(0)?;
    println!("{}", doctor.stdout);
    let check = shell(
        &lab,
        CONTAINER,
        &["check", "-o", "json", "--for", "5s", "udp port 7"],
    )?;
    check.wait_ready(tracer::READY_LIMIT)?;
    let report = sent(&lab, |()| check.wait(END))?;
    counted(&report)
}

/// Type information from a file, where the kernel offers none.
#[test]
fn type_information_from_a_file_is_as_good() -> Result<()> {
    let dir = Dir::new("btf")?;
    let file = dir.0.join("vmlinux.btf").display().to_string();
    fs::copy("/sys/kernel/btf/vmlinux", &file)?;
    let hidden = "mount -t tmpfs none /sys/kernel/btf && exec \"$0\" \"$@\"";
    let lab = Lab::raise("router", None)?;
    let doctor = shell(&lab, hidden, &["doctor", "-o", "json"])?
        .wait(END)?
        .expect_code(1)?;
    let remedy = gap(&doctor.json()?, "BTF").context("it is not named")?;
    ensure!(remedy.contains("--btf"), "{remedy}");
    let args: Vec<&str> = ["--btf", &file].into_iter().chain(CHECK).collect();
    let check = shell(&lab, hidden, &args)?;
    check.wait_ready(tracer::READY_LIMIT)?;
    traces(&lab, check)?;
    // half of it is no type information
    let bytes = fs::read(&file)?;
    fs::write(&file, bytes.get(..bytes.len() / 2).unwrap_or_default())?;
    let ended = shell(&lab, hidden, &args)?.wait(END)?.expect_code(1)?;
    ensure!(
        ended.stderr.lines().count() == 1 && ended.stderr.contains(&file),
        "{}",
        ended.stderr
    );
    Ok(())
}

/// What the file of a locked-down kernel says.
#[test]
fn lockdown_is_named() -> Result<()> {
    const LOCKED: &str = r#"
        mount -t tmpfs none /sys/kernel/security || exit 98
        echo "none integrity [confidentiality]" >/sys/kernel/security/lockdown
        exec "$0" "$@""#;
    let lab = Lab::raise("router", None)?;
    let report = shell(&lab, LOCKED, &["doctor", "-o", "json"])?
        .wait(END)?
        .json()?;
    let remedy = gap(&report, "lockdown").context("it is not named")?;
    ensure!(remedy.contains("lockdown=confidentiality"), "{remedy}");
    ensure!(report["exit_code"] == 1, "{report}");
    let ended = shell(&lab, LOCKED, &CHECK)?.wait(END)?.expect_code(1)?;
    ensure!(
        ended.stderr.lines().count() == 1 && ended.stderr.contains("lockdown"),
        "{}",
        ended.stderr
    );
    Ok(())
}

/// Once everything is attached, `check` and `watch` are nobody's, and so is `record` into one file.
#[test]
fn what_is_not_needed_is_given_up() -> Result<()> {
    let dir = Dir::new("given-up")?;
    let file = dir.0.join("a.pcapng").display().to_string();
    let record = ["record", "-o", "json", "-w", &file, "udp port 7"];
    for args in [CHECK.as_slice(), record.as_slice()] {
        let lab = Lab::raise("router", None)?;
        let tracer = Tracer::start(lab.node(), args)?;
        is_nobody(&tracer).with_context(|| args.join(" "))?;
        traces(&lab, tracer).with_context(|| args.join(" "))?;
    }
    // what root began is root's, and whole
    let meta = fs::metadata(&file)?;
    ensure!((meta.uid(), meta.mode() & 0o777) == (0, 0o600), "{meta:?}");
    let read = [
        tracer::binary()?.display().to_string(),
        "read".to_owned(),
        file,
    ];
    let read: Vec<&str> = read.iter().map(String::as_str).collect();
    let text = harness::command::run(&read, "")?;
    ensure!(text.contains("10.2.0.2"), "{text}");
    Ok(())
}

/// Requires another user, few capabilities, and that no thread may open what is root's.
fn is_nobody(tracer: &Tracer) -> Result<()> {
    // CAP_NET_ADMIN 12, CAP_SYS_PTRACE 19, CAP_SYS_ADMIN 21, CAP_PERFMON 38, CAP_BPF 39
    let kept: u64 = [12, 19, 21, 38, 39].iter().map(|bit| 1 << bit).sum();
    // the user, and then the capabilities: a slow machine shows what is between these calls
    harness::deadline::wait_for("another user with few capabilities", END, || {
        let status = fs::read_to_string(format!("/proc/{}/status", tracer.pid()))?;
        let mut few = status.contains("Uid:\t65534\t65534\t65534");
        for set in ["CapPrm:", "CapEff:"] {
            let line = status.lines().find_map(|line| line.strip_prefix(set));
            let value = u64::from_str_radix(line.context("no such line")?.trim(), 16)?;
            few &= value & !kept == 0 && value != 0;
        }
        Ok(few.then_some(()))
    })?;
    for task in fs::read_dir(format!("/proc/{}/task", tracer.pid()))? {
        let thread: u32 = task?.file_name().to_string_lossy().parse()?;
        let refused = inject::open(thread, "/etc/shadow")?;
        ensure!(
            refused == Err(Errno::EACCES),
            "thread {thread}: {refused:?}"
        );
        // what everybody may read can be read: the call itself works
        let allowed = inject::open(thread, "/etc/passwd")?;
        ensure!(allowed == Ok(()), "thread {thread}: {allowed:?}");
    }
    Ok(())
}

/// Restores a setting of the kernel when dropped.
struct Setting {
    path: &'static str,
    before: String,
}

impl Setting {
    fn write(path: &'static str, value: &str) -> Result<Self> {
        let before = fs::read_to_string(path).with_context(|| path.to_owned())?;
        fs::write(path, value).with_context(|| path.to_owned())?;
        Ok(Self { path, before })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        drop(fs::write(self.path, self.before.trim()));
    }
}

/// No perf event is opened, so that it does not matter who may: the strictest that kernels have.
#[test]
fn perf_events_are_forbidden() -> Result<()> {
    const PATH: &str = "/proc/sys/kernel/perf_event_paranoid";
    let _set = Setting::write(PATH, "4")?;
    let lab = Lab::raise("router", None)?;
    for dropped in ["-sys_admin", "-syslog"] {
        let check = without(&lab, dropped, &CHECK)?;
        check.wait_ready(tracer::READY_LIMIT)?;
        ensure!(fs::read_to_string(PATH)?.trim() == "4", "another value");
        traces(&lab, check).with_context(|| format!("without {dropped}"))?;
    }
    Ok(())
}

/// A device and a pod that come later are followed all the same.
#[test]
fn nobody_follows_what_comes_later() -> Result<()> {
    let lab = Lab::raise("router", None)?;
    let node = lab.node();
    let tracer = Tracer::start(node, &["check", "-o", "json", "--for", "1h"])?;
    let pod = format!("{}-pod", lab.network().prefix());
    let batch = format!(
        "link add lxc type veth peer name eth0 netns {pod}\nlink set lxc up\n\
         addr add 169.254.1.1/32 dev lxc scope link\nroute add 10.8.0.2 dev lxc scope link\n"
    );
    harness::command::run(&["ip", "netns", "add", &pod], "")?;
    node.exec_with_input(&["ip", "-batch", "-"], &batch)?;
    let batch = "link set lo up\nlink set eth0 up\naddr add 10.8.0.2/32 dev eth0\n\
                 route add 169.254.1.1 dev eth0 scope link\nroute add default via 169.254.1.1 dev eth0\n";
    harness::command::run(&["ip", "-n", &pod, "-batch", "-"], batch)?;
    std::thread::sleep(harness::deadline::scaled(Duration::from_secs(2)));
    // no socket there: the drop happens in the pod's namespace, which must have been entered
    let refused = Udp::to("10.8.0.2:9")
        .count(3)
        .wait(Duration::from_millis(300))
        .send(node)?;
    ensure!(refused.lost(), "{refused}");
    let report = tracer.interrupt(END)?.json()?;
    let flow = expect::flow(&report, &json!({"dst": "10.8.0.2", "dport": 9}))?;
    expect::path(flow, &[expect::hop("lxc", "out")])?;
    expect::dropped(flow, "NO_SOCKET").map(drop)
}

/// Requires three datagrams of the flow, and ends it by SIGINT.
fn traces(lab: &Lab, check: Tracer) -> Result<()> {
    let report = sent(lab, |()| check.interrupt(END))?;
    counted(&report)
}

fn sent(lab: &Lab, end: impl FnOnce(()) -> Result<tracer::Ended>) -> Result<Value> {
    let udp = Udp::to("10.2.0.2:7").wait(Duration::from_secs(1));
    let sent = udp.send(lab.ns("a")?)?;
    ensure!(sent.delivered(), "{sent}");
    end(())?.json()
}

fn counted(report: &Value) -> Result<()> {
    expect::no_loss(report)?;
    let flow = expect::flow(report, &json!({"dst": "10.2.0.2", "packets": 3}))?;
    let three = json!({"packets": 3});
    expect::path(
        flow,
        &[
            expect::hop_with("in", "in", three.clone()),
            expect::hop_with("out", "out", three),
        ],
    )
}

/// The remedy of what doctor misses.
fn gap(report: &Value, name: &str) -> Option<String> {
    let features = report["features"].as_array()?;
    let missing = features.iter().find(|feature| {
        feature["ok"] == false
            && feature["what"]
                .as_str()
                .is_some_and(|what| what.contains(name))
    })?;
    missing["remedy"].as_str().map(str::to_owned)
}

/// tracer as root without some capabilities.
fn without(lab: &Lab, dropped: &str, args: &[&str]) -> Result<Tracer> {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", dropped, "--inh-caps", dropped, "--"]);
    command.arg(tracer::binary()?).args(args);
    Tracer::spawn_command(lab.node(), command)
}

/// Runs a script with tracer as `$0` and `args` as its arguments, in a mount namespace of its own.
fn shell(lab: &Lab, script: &str, args: &[&str]) -> Result<Tracer> {
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .arg(tracer::binary()?)
        .args(args);
    Tracer::spawn_command(lab.node(), command)
}

/// A directory of its own; removed when dropped.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Result<Self> {
        let name = format!("tracer-degraded-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
