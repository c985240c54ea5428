//! `tracer doctor`: what this kernel and these privileges allow, and what to do about each gap.

use std::io::Write as _;

use anyhow::Result;
use serde::Serialize;

use super::{
    ERROR, OK,
    args::{Format, Options},
    output::Output,
};
use crate::{
    kernel::{
        KernelError, KernelFacts,
        features::{BTF_PATH, Capability, Features, Lockdown},
        tracepoints::Tracepoint,
    },
    names::{Access, Sources},
    probe::memory,
    view::{
        json,
        text::{self, Feature},
    },
};

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    kernel: String,
    features: Vec<Line>,
    memory: Vec<Memory>,
    exit_code: u8,
}

/// A table of the kernel side.
#[derive(Serialize)]
struct Memory {
    holds: &'static str,
    entries: u32,
    bytes: u64,
}

#[derive(Serialize)]
struct Line {
    what: String,
    ok: bool,
    remedy: Option<String>,
}

/// Exits 1 when tracing cannot start here.
pub(super) fn run(options: &Options, mut out: Output) -> Result<u8> {
    let features = Features::read(options.btf.as_deref());
    let facts = KernelFacts::load(options.btf.as_deref());
    let able = facts.as_ref().is_ok_and(|f| f.features.check().is_ok());
    let code = if able { OK } else { ERROR };
    let mut list = list(&features, facts.as_ref());
    list.extend(of_names(&options.names()));
    if out.format == Format::Json {
        let line = |f: Feature| Line {
            what: f.what,
            ok: f.ok,
            remedy: Some(f.remedy).filter(|r| !f.ok && !r.is_empty()),
        };
        let report = Report {
            schema: "tracer.doctor/1",
            kernel: features.release,
            features: list.into_iter().map(line).collect(),
            memory: memory::tables(options.flows)
                .into_iter()
                .map(|t| Memory {
                    holds: t.holds,
                    entries: t.entries,
                    bytes: t.bytes,
                })
                .collect(),
            exit_code: code,
        };
        json::write_line(&mut out.stdout, &report)?;
    } else {
        let text = text::features(out.style, &list);
        out.print(&format!("Linux {}\n{text}", features.release))?;
        if options.verbose > 0 {
            out.print(&kernel_memory(options.flows))?;
        }
    }
    out.stdout.flush()?;
    Ok(code)
}

/// What names of pods need. Tracing works without.
fn of_names(sources: &Sources) -> [Feature; 2] {
    let access = Access::new(sources);
    let logs = sources.pod_logs.display();
    let (pods, why) = match access.pod_logs {
        Ok(n) => (true, format!("{n} there now")),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => (
            false,
            "not there: no kubelet here, or not mounted".to_owned(),
        ),
        Err(e) => (false, e.to_string()),
    };
    let hint = "in a container mount the host's and say where with --pod-logs; without it pods \
                are shown by their uid";
    [
        feature(
            "processes of others: which pod a network namespace is of",
            access.processes.is_ok(),
            access.processes.err().map_or_else(String::new, |why| {
                format!(
                    "{why}; use hostPID: true, or mount the host's /proc and say where with --proc"
                )
            }),
        ),
        feature(format!("names of pods at {logs} ({why})"), pods, hint),
    ]
}

/// What the tables take while tracer runs, whatever there is to trace.
fn kernel_memory(flows: Option<u32>) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let tables = memory::tables(flows);
    let all = tables.iter().map(|t| t.bytes).sum();
    let head = format!(
        "\nMemory in the kernel: {:.1} MiB (--flows changes it)",
        mib(all)
    );
    let rows = tables.into_iter().map(|t| {
        let (mib, holds, entries) = (mib(t.bytes), t.holds, t.entries);
        format!("{mib:>8.1} MiB  {holds}: {entries}")
    });
    std::iter::once(head)
        .chain(rows)
        .map(|line| line + "\n")
        .collect()
}

fn feature(what: impl Into<String>, ok: bool, remedy: impl Into<String>) -> Feature {
    Feature {
        what: what.into(),
        ok,
        remedy: remedy.into(),
    }
}

fn list(features: &Features, facts: Result<&KernelFacts, &KernelError>) -> Vec<Feature> {
    let mut list = vec![feature(
        format!("type information (BTF) at {BTF_PATH}: where fields are"),
        features.btf_path.is_some(),
        "use a kernel built with CONFIG_DEBUG_INFO_BTF=y, or give the file with --btf",
    )];
    for c in Capability::ALL {
        let what = format!("{c}: {}", purpose(c));
        list.push(feature(
            what,
            features.capabilities.allows(c),
            "run tracer with sudo, or add it to the container's securityContext.capabilities",
        ));
    }
    list.push(feature(
        "no lockdown for confidentiality: packets' headers can be read by every hook",
        features.lockdown != Lockdown::Confidentiality,
        "boot without lockdown=confidentiality",
    ));
    match facts {
        Ok(facts) => list.extend(of_kernel(facts)),
        Err(e) => {
            let cause = format!("{:#}", anyhow::Error::msg(e.to_string()));
            list.push(feature(
                "this kernel's types, tracepoints and names",
                false,
                cause,
            ));
        }
    }
    list
}

fn purpose(c: Capability) -> &'static str {
    match c {
        Capability::Bpf => "load programs",
        Capability::Perfmon => "read packets in programs",
        Capability::NetAdmin => "attach to devices",
        Capability::SysAdmin => "look into the pods' namespaces",
        Capability::Syslog => "name the kernel functions that drop packets",
    }
}

fn of_kernel(facts: &KernelFacts) -> Vec<Feature> {
    let bpf = facts.features.bpf;
    let mut list = vec![
        feature(
            "BPF ring buffer (Linux 5.8)",
            bpf.ringbuf,
            "use Linux 5.8 or later",
        ),
        feature(
            "tcx (Linux 6.6): ordered attachment to devices",
            bpf.tcx,
            "nothing to do: clsact is used instead",
        ),
        feature(
            "drop reasons (Linux 5.17)",
            bpf.drop_reasons,
            "use Linux 5.17 or later; until then drops are told by kernel function alone",
        ),
        feature(
            "names of kernel functions",
            facts.no_symbols.is_none(),
            "set kernel.kptr_restrict to 0 or 1 and grant CAP_SYSLOG",
        ),
    ];
    for t in Tracepoint::ALL {
        let what = format!("tracepoint {}", t.name());
        let remedy = "this kernel does not have it; what it would show is not seen";
        list.push(feature(what, facts.tracepoints.has(t), remedy));
    }
    list
}
