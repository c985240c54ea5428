//! Facts about the running kernel: type information, symbols, drop reasons, what is allowed.
//!
//! Everything comes from the kernel that runs (BTF, `/proc`), nothing from its version.

pub mod btf;
pub mod clock;
pub mod drop_reason;
pub mod features;
pub mod kallsyms;
pub mod offsets;
pub mod privileges;
pub mod tracepoints;

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
};

use tracer_abi::offset::OFF_COUNT;

use crate::inventory::{DropReasons, Names, Symbols};
use btf::{Btf, BtfError};
use clock::Clock;
use features::{Bpf, Features, StartError};
use kallsyms::NoSymbols;
use offsets::OffsetsError;
use tracepoints::Tracepoints;

/// Why the kernel's facts could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The machine does not allow tracing.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The type information cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The type information makes no sense.
    #[error("{} is damaged", path.display())]
    Btf {
        /// The file.
        path: PathBuf,
        /// How.
        #[source]
        source: BtfError,
    },
    /// A member that is read is missing.
    #[error(transparent)]
    Offsets(#[from] OffsetsError),
}

/// Everything that is asked of the kernel before tracing starts.
#[derive(Debug)]
pub struct KernelFacts {
    /// Type information.
    pub btf: Btf,
    /// Value of the global `OFF`.
    pub offsets: [u32; OFF_COUNT],
    /// Which tracepoints there are.
    pub tracepoints: Tracepoints,
    /// Names of functions and drop reasons.
    pub names: Names,
    /// Why functions have no names, when they have none.
    pub no_symbols: Option<NoSymbols>,
    /// What the machine allows.
    pub features: Features,
    /// The clock's offset.
    pub clock: Clock,
}

impl KernelFacts {
    /// Asks the running kernel. `btf_path` replaces `/sys/kernel/btf/vmlinux`.
    ///
    /// Missing capabilities are no error here (`Features::check` says what is missing): reading
    /// facts needs none.
    pub fn load(btf_path: Option<&Path>) -> Result<Self, KernelError> {
        let mut features = Features::read(btf_path);
        // a file that was asked for is read, whether it is there or not: the error names it
        let given = btf_path.map(Path::to_path_buf);
        let Some(path) = given.or_else(|| features.btf_path.clone()) else {
            return Err(StartError::NoBtf {
                release: features.release,
                path: PathBuf::from(features::BTF_PATH),
            }
            .into());
        };
        let (symbols, btf) = thread::scope(|scope| {
            let symbols = scope.spawn(kallsyms::read);
            let btf = read_btf(&path);
            (symbols.join().unwrap_or(Err(NoSymbols::Empty)), btf)
        });
        let btf = btf?;
        let (symbols, no_symbols) = match symbols {
            Ok(symbols) => (symbols, None),
            Err(reason) => (Symbols::default(), Some(reason)),
        };
        features.bpf = Bpf::from_btf(&btf);
        Ok(Self {
            offsets: offsets::resolve(&btf)?,
            tracepoints: Tracepoints::from_btf(&btf),
            names: Names {
                symbols,
                reasons: drop_reasons(&btf, path.parent()),
            },
            no_symbols,
            features,
            clock: Clock::read(),
            btf,
        })
    }
}

fn read_btf(path: &Path) -> Result<Btf, KernelError> {
    let blob = fs::read(path).map_err(|source| KernelError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    Btf::parse(&blob).map_err(|source| KernelError::Btf {
        path: path.to_path_buf(),
        source,
    })
}

/// The kernel's drop reasons and those of the loaded modules in `directory`. A module that
/// cannot be read only leaves its reasons without names.
fn drop_reasons(btf: &Btf, directory: Option<&Path>) -> DropReasons {
    let mut reasons = drop_reason::from_btf(btf);
    for module in drop_reason::MODULES {
        let blob = directory.and_then(|d| fs::read(d.join(module)).ok());
        if let Some(Ok(module)) = blob.map(|b| btf.with_module(&b)) {
            drop_reason::add_subsystems(&mut reasons, &module);
        }
    }
    reasons
}
