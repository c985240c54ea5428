//! What this machine allows, as data.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use super::btf::Btf;

/// Where the kernel offers its type information.
pub const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// A capability that tracer uses (`linux/capability.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Attaches to devices.
    NetAdmin = 12,
    /// Enters other network namespaces; stands for `Bpf` and `Perfmon` too.
    SysAdmin = 21,
    /// Sees the addresses in `/proc/kallsyms`.
    Syslog = 34,
    /// Reads kernel memory from BPF programs.
    Perfmon = 38,
    /// Loads BPF programs.
    Bpf = 39,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Bpf,
        Self::Perfmon,
        Self::NetAdmin,
        Self::SysAdmin,
        Self::Syslog,
    ];
    /// Those without which nothing can be traced.
    pub const REQUIRED: [Self; 3] = [Self::Bpf, Self::Perfmon, Self::NetAdmin];

    /// The name as in `capabilities(7)`.
    pub fn name(self) -> &'static str {
        match self {
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::Syslog => "CAP_SYSLOG",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The effective capabilities of this process (`CapEff`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// From the text of `/proc/self/status`.
    pub fn parse(status: &str) -> Option<Self> {
        let hex = status.lines().find_map(|l| l.strip_prefix("CapEff:"))?;
        u64::from_str_radix(hex.trim(), 16).ok().map(Self)
    }

    /// This very capability is effective.
    pub fn has(self, capability: Capability) -> bool {
        self.0 >> (capability as u32) & 1 != 0
    }

    /// What the capability is for is allowed: `CAP_SYS_ADMIN` includes `CAP_BPF` and
    /// `CAP_PERFMON` (`bpf_capable()`, `perfmon_capable()`).
    pub fn allows(self, capability: Capability) -> bool {
        let included = matches!(capability, Capability::Bpf | Capability::Perfmon);
        self.has(capability) || included && self.has(Capability::SysAdmin)
    }

    /// Required capabilities that are missing.
    pub fn missing(self) -> Vec<Capability> {
        Capability::REQUIRED
            .into_iter()
            .filter(|c| !self.allows(*c))
            .collect()
    }
}

/// `/sys/kernel/security/lockdown`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lockdown {
    /// Not locked down, or the kernel has no lockdown.
    #[default]
    None,
    /// Changing the running kernel is refused; tracing works.
    Integrity,
    /// BPF helpers that read kernel memory are refused too.
    Confidentiality,
}

impl Lockdown {
    /// From the file's text, where brackets mark the mode in force.
    pub fn parse(text: &str) -> Self {
        if text.contains("[confidentiality]") {
            Self::Confidentiality
        } else if text.contains("[integrity]") {
            Self::Integrity
        } else {
            Self::None
        }
    }
}

/// What the kernel's BPF can do, as its type information says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bpf {
    /// Ring buffer map (5.8).
    pub ringbuf: bool,
    /// tcx attachment with an order (6.6); otherwise clsact is used.
    pub tcx: bool,
    /// Drop reasons (5.17).
    pub drop_reasons: bool,
}

impl Bpf {
    /// From the type information.
    pub fn from_btf(btf: &Btf) -> Self {
        let has = |name, value| btf.enum_value_named(name, value).is_some();
        Self {
            ringbuf: has("bpf_map_type", "BPF_MAP_TYPE_RINGBUF"),
            tcx: has("bpf_attach_type", "BPF_TCX_INGRESS"),
            drop_reasons: btf.enum_values("skb_drop_reason").next().is_some(),
        }
    }
}

/// What this machine allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Kernel release, as `uname -r`.
    pub release: String,
    /// The type information, when there is some.
    pub btf_path: Option<PathBuf>,
    /// Effective user.
    pub euid: u32,
    /// Effective capabilities.
    pub capabilities: Capabilities,
    /// Lockdown mode.
    pub lockdown: Lockdown,
    /// `kernel.kptr_restrict`: 0 addresses are shown, 1 with `CAP_SYSLOG`, 2 never.
    pub kptr_restrict: Option<u32>,
    /// `kernel.unprivileged_bpf_disabled`.
    pub unprivileged_bpf_disabled: Option<u32>,
    /// What BPF can do; all false until the type information is read.
    pub bpf: Bpf,
}

/// Why nothing can be traced here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// No type information.
    #[error(
        "this kernel ({release}) offers no type information at {}: tracer needs one that is built \
         with CONFIG_DEBUG_INFO_BTF=y (or give the file with --btf)",
        path.display()
    )]
    NoBtf {
        /// Kernel release.
        release: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Not allowed.
    #[error(
        "not permitted to trace: {} missing; run it with sudo, or in a container add {} to \
         securityContext.capabilities",
        names(missing, " and ", ""),
        names(missing, ", ", "CAP_")
    )]
    NotPermitted {
        /// Missing capabilities.
        missing: Vec<Capability>,
    },
    /// Programs may not read kernel memory, and so no packet.
    #[error(
        "this kernel is locked down for confidentiality, which lets no BPF program read packets; \
         boot without lockdown=confidentiality"
    )]
    LockedDown,
    /// No ring buffer.
    #[error(
        "this kernel ({release}) is too old: it has no BPF ring buffer (5.8 or later is needed)"
    )]
    TooOld {
        /// Kernel release.
        release: String,
    },
}

/// Capabilities in words; Kubernetes leaves out the prefix `CAP_`.
fn names(capabilities: &[Capability], separator: &str, without: &str) -> String {
    let names: Vec<&str> = capabilities
        .iter()
        .map(|c| c.name().strip_prefix(without).unwrap_or(c.name()))
        .collect();
    names.join(separator)
}

impl Features {
    /// Asks the machine. `bpf` is filled in when the type information is parsed.
    pub fn read(btf_path: Option<&Path>) -> Self {
        let path = btf_path.unwrap_or(Path::new(BTF_PATH));
        let status = text("/proc/self/status").unwrap_or_default();
        Self {
            release: release().unwrap_or_else(|_e| "unknown release".into()),
            btf_path: path.exists().then(|| path.to_path_buf()),
            euid: nix::unistd::geteuid().as_raw(),
            capabilities: Capabilities::parse(&status).unwrap_or_default(),
            lockdown: text("/sys/kernel/security/lockdown")
                .map_or(Lockdown::None, |t| Lockdown::parse(&t)),
            kptr_restrict: number("/proc/sys/kernel/kptr_restrict"),
            unprivileged_bpf_disabled: number("/proc/sys/kernel/unprivileged_bpf_disabled"),
            bpf: Bpf::default(),
        }
    }

    /// Whether tracing can start at all: type information, capabilities, ring buffer.
    pub fn check(&self) -> Result<(), StartError> {
        self.check_permitted()?;
        if self.btf_path.is_none() {
            return Err(StartError::NoBtf {
                release: self.release.clone(),
                path: PathBuf::from(BTF_PATH),
            });
        }
        if !self.bpf.ringbuf {
            return Err(StartError::TooOld {
                release: self.release.clone(),
            });
        }
        Ok(())
    }

    /// Whether the capabilities and the lockdown mode allow tracing.
    pub fn check_permitted(&self) -> Result<(), StartError> {
        let missing = self.capabilities.missing();
        if !missing.is_empty() {
            return Err(StartError::NotPermitted { missing });
        }
        if self.lockdown == Lockdown::Confidentiality {
            return Err(StartError::LockedDown);
        }
        Ok(())
    }
}

fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn number(path: &str) -> Option<u32> {
    text(path)?.trim().parse().ok()
}

/// Kernel release, as `uname -r`.
pub fn release() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/osrelease")?
        .trim()
        .to_owned())
}
