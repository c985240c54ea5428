//! One run of one virtual machine: the file server, qemu, and what the guest says.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::{prctl, signal::Signal},
    unistd::{Pid, Uid, getppid},
};

use super::{initramfs, interrupt, kernel::Kernel};
use crate::{setup, sh};

const MEMORY: &str = "3072M";
const CPUS: &str = "2";

/// From the start of qemu to the start of the job. It takes 5 to 10 s on an idle machine.
const BOOT: Duration = Duration::from_mins(3);
const TICK: Duration = Duration::from_millis(200);
/// A machine that used no CPU for so long stands still: the emulator lost a timer. One that only waits
/// looks after its clocks.
const STILL: Duration = Duration::from_mins(1);

/// How a run ended.
pub(super) enum End {
    /// The job's exit status.
    Exit(i32),
    /// The job did not end in time.
    TooLong,
    /// The machine failed: the last lines of its console.
    Failed(String),
}

/// Boots `kernel`, runs the shell script `job` in it and hands on each line that the job writes,
/// with its line end.
pub(super) fn run(
    kernel: &Kernel,
    job: &str,
    limit: Duration,
    line: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<End> {
    let dir = RunDir::create()?;
    fs::write(dir.file("initramfs"), initramfs::build(kernel, job)?)
        .context("writing the initramfs")?;
    let _server = file_server(&dir)?;
    let mut qemu = qemu(kernel, &dir)?;
    let lines = lines(qemu.0.stdout.take().context("stdout is piped")?);

    let start = Instant::now();
    let mut ready = false;
    let (mut used, mut since) = (0, start);
    loop {
        match lines.recv_timeout(TICK) {
            Ok(text) => line(&text?)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        interrupt::check()?;
        if !ready && start.elapsed() > BOOT.min(limit) {
            ready = dir.console().lines().any(|line| line == READY);
            if !ready {
                return Ok(End::Failed(dir.last_words()));
            }
        }
        let now = ticks(qemu.0.id());
        if now != used {
            (used, since) = (now, Instant::now());
        }
        if since.elapsed() > STILL {
            return Ok(End::Failed("it stood still".to_owned()));
        }
        if start.elapsed() > limit {
            return Ok(End::TooLong);
        }
    }
    qemu.0.wait().context("waiting for qemu")?;
    Ok(match exit_status(&dir.console()) {
        Some(status) => End::Exit(status),
        None => End::Failed(dir.last_words()),
    })
}

/// CPU time that a process used, in ticks (`utime` and `stime` of `proc_pid_stat(5)`); 0 when it is gone.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // the name may hold anything, also brackets
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let times = rest.split_whitespace().skip(11).take(2);
    times.filter_map(|time| time.parse::<u64>().ok()).sum()
}

const READY: &str = "GUEST-READY";

/// Reads the job's exit status from the console, where kernel messages may stand around it.
fn exit_status(console: &str) -> Option<i32> {
    console
        .lines()
        .find_map(|line| line.strip_prefix("GUEST-EXIT=")?.parse().ok())
}

/// The end of a console: without the trace below an oops, which tells nothing about its cause here.
fn last_words(console: &str) -> String {
    let trace = |line: &&str| {
        let message = line.split_once("] ").map_or(*line, |(_, message)| message);
        let words = [
            "RIP:", "RSP:", "RAX:", "RDX:", "RBP:", "R10:", "R13:", "Code:",
        ];
        message.starts_with(' ') || words.iter().any(|word| message.starts_with(word))
    };
    let lines: Vec<&str> = console
        .lines()
        .filter(|line| !line.is_empty() && !trace(line))
        .collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// The directory of one run. It is removed when dropped; what a killed run leaves is removed by the
/// next one.
struct RunDir(PathBuf);

impl RunDir {
    const PREFIX: &str = "tracer-vm-";

    fn create() -> Result<Self> {
        let base = std::env::temp_dir();
        for entry in fs::read_dir(&base).with_context(|| format!("reading {}", base.display()))? {
            let entry = entry?;
            let name = entry.file_name();
            let owner = name
                .to_str()
                .and_then(|name| name.strip_prefix(Self::PREFIX));
            let owner = owner.and_then(|name| name.split('-').next());
            let owner: Option<i32> = owner.and_then(|pid| pid.parse().ok());
            if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
                // another user's is not ours to remove
                drop(fs::remove_dir_all(entry.path()));
            }
        }
        let next = Self::next();
        let dir = base.join(format!("{}{}-{next}", Self::PREFIX, process::id()));
        fs::create_dir(&dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(Self(dir))
    }

    /// Several machines run at once.
    fn next() -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn text(&self, name: &str) -> String {
        // not there: nothing was said
        let bytes = fs::read(self.file(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\r', "")
    }

    fn console(&self) -> String {
        self.text("console")
    }

    fn last_words(&self) -> String {
        let text = ["virtiofsd", "qemu", "console"]
            .map(|name| self.text(name))
            .concat();
        last_words(&text)
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        // nothing more can be done about it, and the next run tries again
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A child that dies with its owner.
struct Process(Child);

impl Process {
    /// Starts it in a process group of its own: ^C comes to this program only, which then ends its
    /// children.
    fn start(command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null()).process_group(0);
        let parent = Pid::this();
        // SAFETY: prctl and getppid are async-signal-safe and touch no memory of the parent.
        unsafe {
            command.pre_exec(move || {
                prctl::set_pdeathsig(Signal::SIGKILL)?;
                // the parent may have died before that
                if getppid() == parent {
                    Ok(())
                } else {
                    Err(std::io::ErrorKind::BrokenPipe.into())
                }
            });
        }
        let child = command.spawn();
        let child = child.with_context(|| format!("cannot start `{}`", sh::line(command)))?;
        Ok(Self(child))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // it fails when the process has ended, which is the aim
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts virtiofsd, which serves this machine's file tree, and waits until it listens.
fn file_server(dir: &RunDir) -> Result<Process> {
    let program = setup::virtiofsd()
        .context("there is no virtiofsd: install the package qemu-system-common or virtiofsd")?;
    let socket = dir.file("socket");
    let help = sh::output(sh::command(&program)?.arg("--help"))?;
    let root = Uid::effective().is_root();
    let mut command = Command::new(&program);
    command.arg(format!("--socket-path={}", socket.display()));
    if help.contains("--shared-dir") {
        // the one in Rust; without root it serves what its user may read
        let sandbox = if root { "chroot" } else { "none" };
        command.args(["--shared-dir=/", "--cache=always"]);
        command.arg(format!("--sandbox={sandbox}"));
    } else {
        // the one that comes with qemu up to 7.2
        ensure!(root, "{} needs root", program.display());
        command.args(["-o", "source=/", "-o", "sandbox=chroot"]);
        command.args(["-o", "cache=always", "--thread-pool-size=2"]);
    }
    let log = fs::File::create(dir.file("virtiofsd")).context("creating a log")?;
    command.stdout(log.try_clone()?).stderr(log);
    let mut server = Process::start(&mut command)?;

    let start = Instant::now();
    while !socket.exists() {
        if let Some(status) = server.0.try_wait()? {
            bail!(
                "`{}` ended: {status}\n{}",
                sh::line(&command),
                dir.text("virtiofsd")
            );
        }
        ensure!(
            start.elapsed() < BOOT,
            "{} does not listen",
            program.display()
        );
        interrupt::check()?;
        thread::sleep(Duration::from_millis(20));
    }
    Ok(server)
}

fn qemu(kernel: &Kernel, dir: &RunDir) -> Result<Process> {
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-nodefaults", "-no-user-config", "-display", "none"]);
    command.args(["-no-reboot", "-machine", "pc"]);
    // Emulated, because KVM inside a virtual machine is missing or broken too often. qemu 7.2 crashes
    // the guest at random without these two flags: cmpxchg16b leaves garbage in the flags register,
    // and with a thread for each CPU one may run old code that the kernel has just patched.
    command.args(["-accel", "tcg,thread=single", "-cpu", "max,-cx16"]);
    command.args(["-smp", CPUS, "-m", MEMORY]);
    // virtiofsd writes to the guest's memory
    command.arg("-object");
    command.arg(format!(
        "memory-backend-memfd,id=memory,size={MEMORY},share=on"
    ));
    command.args(["-numa", "node,memdev=memory"]);
    command.arg("-chardev");
    command.arg(format!(
        "socket,id=root,path={}",
        dir.file("socket").display()
    ));
    command.args(["-device", "vhost-user-fs-pci,chardev=root,tag=root"]);
    // the first port is the kernel's console, the second one has what the job writes
    command.arg("-serial");
    command.arg(format!("file:{}", dir.file("console").display()));
    command.args(["-chardev", "stdio,id=output,signal=off"]);
    command.args(["-serial", "chardev:output"]);
    command.arg("-kernel").arg(kernel.image());
    command.arg("-initrd").arg(dir.file("initramfs"));
    command.args(["-append", "console=ttyS0 quiet panic=-1"]);
    let log = fs::File::create(dir.file("qemu")).context("creating a log")?;
    Process::start(command.stdout(Stdio::piped()).stderr(log))
}

/// Reads lines, line ends included, until the other side closes.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<std::io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        loop {
            let mut line = Vec::new();
            let read = pipe.read_until(b'\n', &mut line);
            let more = matches!(read, Ok(1..));
            if let Ok(0) = read {
                return;
            }
            // a receiver that is gone has its reason to be
            if sender.send(read.map(|_| line)).is_err() || !more {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_is_found_among_kernel_messages() {
        let console = "GUEST-READY\n[ 3.1] veth: up\n\nGUEST-EXIT=7\n[ 9.3] reboot: Power down\n";
        assert_eq!(exit_status(console), Some(7));
        assert_eq!(exit_status("GUEST-READY\n[ 1.0] Kernel panic"), None);
        assert_eq!(exit_status("GUEST-EXIT=\n"), None);
    }

    #[test]
    fn a_process_that_works_uses_ticks() {
        let own = process::id();
        let before = ticks(own);
        let start = Instant::now();
        while ticks(own) == before {
            assert!(start.elapsed() < Duration::from_secs(20));
        }
        assert_eq!(ticks(0), 0);
    }

    #[test]
    fn lines_keep_their_ends_and_the_last_may_lack_one() {
        let text: &[u8] = b"one\r\n\ntwo";
        let lines: Vec<Vec<u8>> = lines(text).iter().map(|line| line.unwrap()).collect();
        assert_eq!(
            lines,
            [b"one\r\n".to_vec(), b"\n".to_vec(), b"two".to_vec()]
        );
    }

    #[test]
    fn a_run_directory_goes_and_takes_that_of_a_dead_run_along() {
        // above the largest pid of Linux
        let dead = std::env::temp_dir().join("tracer-vm-999999999-0");
        fs::create_dir_all(&dead).unwrap();
        let dir = RunDir::create().unwrap();
        let path = dir.0.clone();
        assert!(path.exists() && !dead.exists());
        drop(dir);
        assert!(!path.exists());
    }
}
