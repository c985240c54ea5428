//! Which namespaces a session looks at.

use std::path::Path;

use super::{Found, Namespaces, current};
use crate::net::NetError;

/// Which namespaces to read (`--netns`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NetnsSelection {
    /// The one that tracer runs in, and the pods behind it.
    #[default]
    HomeAndPods,
    /// Only the one that tracer runs in (`self`).
    Home,
    /// These, by name, process id or inode; the first is the home.
    Named(Vec<String>),
    /// All that can be found; home is the one that tracer runs in.
    All,
}

impl NetnsSelection {
    /// From the values of `--netns`. `all` outdoes the others.
    pub fn from_args(args: &[String]) -> Self {
        match args {
            [] => Self::HomeAndPods,
            [only] if only == "self" => Self::Home,
            _ if args.iter().any(|a| a == "all") => Self::All,
            _ => Self::Named(args.to_vec()),
        }
    }

    /// Makes the first named namespace the one of the calling thread, and of every thread that it
    /// starts from now on: devices are attached by their number there. Returns what to read then:
    /// a single name stands for that node with the pods behind it. `proc` is the procfs in which
    /// processes are looked up.
    pub fn enter_home(self, proc: &Path) -> Result<Self, NetError> {
        let Self::Named(mut names) = self else {
            return Ok(self);
        };
        let roots = Self::Named(names.clone()).roots(&Namespaces::find(proc)?, proc)?;
        if let Some(home) = roots.first() {
            super::enter(home)?;
        }
        if roots.len() == 1 {
            return Ok(Self::HomeAndPods);
        }
        if let Some(first) = names.first_mut() {
            *first = "self".into();
        }
        Ok(Self::Named(names))
    }

    /// The namespaces that are asked for, home first and each once. Pods are not among them.
    pub(in crate::net) fn roots(
        &self,
        all: &Namespaces,
        proc: &Path,
    ) -> Result<Vec<Found>, NetError> {
        let home = || -> Result<Found, NetError> {
            let home = current()?;
            let unknown = || NetError::UnknownNetns(home.to_string());
            all.get(home).cloned().ok_or_else(unknown)
        };
        let mut roots: Vec<Found> = match self {
            Self::HomeAndPods | Self::Home => vec![home()?],
            Self::All => std::iter::once(home()?)
                .chain(all.iter().cloned())
                .collect(),
            Self::Named(names) => {
                let mut roots = Vec::new();
                for name in names {
                    roots.push(match name.as_str() {
                        "self" => home()?,
                        name => by_name(all, name, proc)?,
                    });
                }
                roots
            }
        };
        let mut seen = std::collections::BTreeSet::new();
        roots.retain(|r| seen.insert(r.id));
        Ok(roots)
    }
}

/// The namespace with this name, process id or inode; `proc` is the procfs of the processes.
pub fn find(name: &str, proc: &Path) -> Result<Found, NetError> {
    by_name(&Namespaces::find(proc)?, name, proc)
}

/// By name, process id or inode, in this order: a namespace may be called `1234`.
fn by_name(all: &Namespaces, name: &str, proc: &Path) -> Result<Found, NetError> {
    let number: Option<u32> = name.parse().ok();
    let of_process = |pid: u32| {
        let id = super::inode(&proc.join(format!("{pid}/ns/net"))).ok()?;
        all.get(id)
    };
    all.named(name)
        .or_else(|| number.and_then(of_process))
        .or_else(|| number.and_then(|n| all.get(crate::event::NetnsId(n))))
        .cloned()
        .ok_or_else(|| NetError::UnknownNetns(name.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(args: &[&str]) -> NetnsSelection {
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        NetnsSelection::from_args(&args)
    }

    #[test]
    fn arguments_choose() {
        assert_eq!(selection(&[]), NetnsSelection::HomeAndPods);
        assert_eq!(selection(&["self"]), NetnsSelection::Home);
        assert_eq!(selection(&["a", "all"]), NetnsSelection::All);
        let named = NetnsSelection::Named(vec!["self".into(), "7".into()]);
        assert_eq!(selection(&["self", "7"]), named);
    }

    #[test]
    fn the_own_namespace_is_found_by_each_of_its_names() {
        let proc = Path::new("/proc");
        let all = Namespaces::find(proc).unwrap();
        let home = current().unwrap();
        for name in ["self", &std::process::id().to_string(), &home.0.to_string()] {
            let roots = selection(&[name, name]).roots(&all, proc).unwrap();
            let ids: Vec<_> = roots.iter().map(|r| r.id).collect();
            assert_eq!(ids, [home], "{name}");
        }
    }

    #[test]
    fn an_unknown_name_is_refused() {
        let proc = Path::new("/proc");
        let all = Namespaces::find(proc).unwrap();
        for name in ["", "no-such-namespace", "../netns", "4294967295"] {
            let error = by_name(&all, name, proc).unwrap_err().to_string();
            assert!(error.contains("no network namespace"), "{name}: {error}");
        }
    }
}
