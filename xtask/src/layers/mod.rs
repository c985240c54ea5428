//! `cargo xtask layers`: data flows one way, from the kernel to the views, and no module grows
//! without end.

mod source;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use source::Code;

use crate::sh;

/// Lines of a file without its tests.
const MAX_LINES: usize = 400;

/// A top-level module of tracer and the modules that it may name. `abi` is the library of
/// tracer-ebpf.
const LAYERS: &[(&str, &[&str])] = &[
    // the core: no root, no netlink, no BPF, no clock
    ("event", &["abi"]),
    ("inventory", &["event"]),
    ("filter", &["event", "inventory", "abi"]),
    ("decode", &["abi", "event", "inventory"]),
    ("model", &["event", "inventory"]),
    ("diagnose", &["event", "inventory", "model"]),
    ("compare", &["event", "inventory", "decode", "model"]),
    (
        "view",
        &[
            "event",
            "inventory",
            "filter",
            "model",
            "diagnose",
            "compare",
        ],
    ),
    // the edges: they ask the machine and produce core types
    ("kernel", &["abi", "inventory", "event"]),
    ("net", &["inventory", "event"]),
    ("names", &["inventory", "event"]),
    ("apiserver", &["inventory"]),
    ("probe", &["abi", "event", "filter", "kernel", "inventory"]),
    ("terminal", &["view"]),
    ("cluster", &["diagnose", "inventory"]),
    ("traffic", &["net"]),
    (
        "capture",
        &["event", "inventory", "model", "diagnose", "view"],
    ),
    // what joins them
    (
        "pipeline",
        &[
            "abi",
            "event",
            "inventory",
            "filter",
            "decode",
            "model",
            "diagnose",
            "view",
            "kernel",
            "net",
            "names",
            "apiserver",
            "probe",
            "capture",
            "cluster",
        ],
    ),
    (
        "cli",
        &[
            "abi",
            "event",
            "inventory",
            "filter",
            "decode",
            "model",
            "diagnose",
            "view",
            "kernel",
            "net",
            "names",
            "apiserver",
            "probe",
            "capture",
            "terminal",
            "cluster",
            "traffic",
            "pipeline",
            "compare",
        ],
    ),
];

const CORE: &[&str] = &[
    "event",
    "inventory",
    "filter",
    "decode",
    "model",
    "diagnose",
    "compare",
    "view",
];

/// Crates that ask the machine for something, which only the edges do.
const EDGE_CRATES: &[&str] = &[
    "aya",
    "nix",
    "rtnetlink",
    "netlink_packet_core",
    "netlink_packet_route",
    "netlink_sys",
];

/// A source file of tracer.
struct File {
    /// Below `tracer/src`.
    path: PathBuf,
    code: Code,
}

/// Something to be changed, at a place of the tree.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fault {
    path: PathBuf,
    line: usize,
    text: String,
}

/// Checks the sources of tracer, and the size of those that drive it.
pub(crate) fn check() -> Result<()> {
    let root = sh::root()?;
    let files = read(&root.join("tracer/src"))?;
    let mut faults = edge_faults(&files);
    for fault in &mut faults {
        fault.path = Path::new("tracer/src").join(&fault.path);
    }
    for dir in ["tracer/src", "xtask/src", "tests"] {
        let sized = read(&root.join(dir))?;
        faults.extend(size_faults(&sized).into_iter().map(|fault| Fault {
            path: Path::new(dir).join(fault.path),
            ..fault
        }));
    }
    if faults.is_empty() {
        println!("layers: {} files of tracer keep to the table", files.len());
        return Ok(());
    }
    faults.sort();
    for fault in &faults {
        println!("{fault}");
    }
    bail!(
        "{} faults; the table is in xtask/src/layers/mod.rs",
        faults.len()
    )
}

fn read(dir: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("reading {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&path)
                    .with_context(|| format!("reading {}", path.display()))?;
                let path = path.strip_prefix(dir)?.to_owned();
                files.push(File {
                    path,
                    code: Code::new(&source),
                });
            }
        }
    }
    Ok(files)
}

impl File {
    /// `tests.rs` and what is below a directory `tests`.
    fn is_test(&self) -> bool {
        self.path
            .iter()
            .any(|part| part == "tests" || part == "tests.rs")
    }

    /// Names of the modules down to this file's own; empty for the crate root.
    fn module(&self) -> Vec<String> {
        let plain = self.path.with_extension("");
        let mut names: Vec<String> = plain
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        if names.last().is_some_and(|name| name == "mod") {
            names.pop();
        }
        if names.len() == 1 && ["lib", "main"].contains(&names[0].as_str()) {
            names.clear();
        }
        names
    }

    fn fault(&self, line: usize, text: String) -> Fault {
        Fault {
            path: self.path.clone(),
            line,
            text,
        }
    }
}

fn edge_faults(files: &[File]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let modules: BTreeSet<String> = files
        .iter()
        .filter_map(|file| file.module().into_iter().next())
        .collect();
    for file in files.iter().filter(|file| !file.is_test()) {
        let module = file.module();
        let Some(top) = module.first() else { continue };
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| name == top) else {
            faults.push(file.fault(1, format!("module {top} is not in the table of layers")));
            continue;
        };
        for found in file.code.crate_paths(module.len()) {
            // a macro or a name that lib.rs re-exports is no module
            if found.name == *top || !modules.contains(&found.name) {
                continue;
            }
            if !allowed.contains(&found.name.as_str()) {
                faults.push(file.fault(found.line, format!("{top} must not use {}", found.name)));
            }
            edges.entry(top.clone()).or_default().insert(found.name);
        }
        for found in file.code.foreign_paths() {
            let name = found.name.as_str();
            let edge_crate = CORE.contains(&top.as_str()) && EDGE_CRATES.contains(&name);
            if edge_crate || (name == "tracer_abi" && !allowed.contains(&"abi")) {
                faults.push(file.fault(found.line, format!("{top} must not use crate {name}")));
            }
        }
    }
    if let Some(cycle) = cycle(&edges) {
        let text = format!("modules use each other: {}", cycle.join(" → "));
        faults.push(Fault {
            path: PathBuf::from("lib.rs"),
            line: 1,
            text,
        });
    }
    faults
}

fn size_faults(files: &[File]) -> Vec<Fault> {
    let long = |file: &&File| !file.is_test() && file.code.lines > MAX_LINES;
    let fault = |file: &File| {
        let text = format!(
            "{} lines without tests, more than {MAX_LINES}",
            file.code.lines
        );
        file.fault(1, text)
    };
    files.iter().filter(long).map(fault).collect()
}

/// A chain of modules each of which uses the next, that ends where it began.
fn cycle(edges: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    edges
        .keys()
        .find_map(|start| walk(edges, start, &mut Vec::new(), &mut done))
}

fn walk(
    edges: &BTreeMap<String, BTreeSet<String>>,
    at: &str,
    chain: &mut Vec<String>,
    done: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    if let Some(begin) = chain.iter().position(|name| name == at) {
        let mut cycle = chain[begin..].to_vec();
        cycle.push(at.to_owned());
        return Some(cycle);
    }
    if done.contains(at) {
        return None;
    }
    chain.push(at.to_owned());
    let found = edges
        .get(at)
        .into_iter()
        .flatten()
        .find_map(|to| walk(edges, to, chain, done));
    chain.pop();
    done.insert(at.to_owned());
    found
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.text)
    }
}
