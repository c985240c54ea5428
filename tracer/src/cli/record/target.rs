//! Where a recording goes: a file, one of a rotation, or standard output.

use std::{
    fs::{File, OpenOptions, Permissions},
    io::{self, IsTerminal as _, Write},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

/// Packets are nobody else's business.
const OWNER_ONLY: u32 = 0o600;

/// An open output.
#[derive(Debug)]
pub(super) enum Target {
    File(File),
    Stdout(io::Stdout),
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Stdout(stdout) => stdout.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Stdout(stdout) => stdout.flush(),
        }
    }
}

/// The files of a recording, in the order in which they are written.
#[derive(Debug)]
pub(super) struct Files {
    path: PathBuf,
    rotates: bool,
    /// Files that are kept; beyond, the first is overwritten.
    keep: Option<u64>,
    next: u64,
}

impl Files {
    pub(super) fn new(path: &Path, rotates: bool, keep: Option<u64>) -> Result<Self> {
        let files = Self {
            path: path.to_owned(),
            rotates,
            keep,
            next: 0,
        };
        if files.is_stdout() && rotates {
            bail!("-C needs a file: standard output cannot be divided");
        }
        if files.is_stdout() && io::stdout().is_terminal() {
            bail!("a capture is not for a terminal: give -w FILE, or a pipe");
        }
        Ok(files)
    }

    pub(super) fn is_stdout(&self) -> bool {
        self.path.as_os_str() == "-"
    }

    /// What it is called in messages.
    pub(super) fn name(&self) -> String {
        if self.is_stdout() {
            return "standard output".to_owned();
        }
        self.path_of(self.next.saturating_sub(1))
            .display()
            .to_string()
    }

    /// `FILE`, `FILE1`, `FILE2`, …; with a number of files to keep `FILE00`, `FILE01`, …, as
    /// tcpdump names them.
    fn path_of(&self, n: u64) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        match self.keep {
            Some(keep) => {
                let width = (keep - 1).to_string().len();
                name.push(format!("{:0width$}", n % keep));
            }
            None if self.rotates && n > 0 => name.push(n.to_string()),
            None => {}
        }
        name.into()
    }

    /// Opens the next one.
    pub(super) fn open_next(&mut self) -> Result<Target> {
        if self.is_stdout() {
            return Ok(Target::Stdout(io::stdout()));
        }
        let path = self.path_of(self.next);
        self.next += 1;
        let open = || -> io::Result<File> {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(OWNER_ONLY)
                .open(&path)?;
            // one that was there before keeps its mode otherwise; devices and pipes have their own
            if file.metadata()?.is_file() {
                file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
            }
            Ok(file)
        };
        open()
            .map(Target::File)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(rotates: bool, keep: Option<u64>, n: u64) -> Vec<String> {
        let files = Files::new(Path::new("a.pcapng"), rotates, keep).unwrap();
        (0..n)
            .map(|i| files.path_of(i).display().to_string())
            .collect()
    }

    #[test]
    fn files_are_named_as_tcpdump_names_them() {
        assert_eq!(names(false, None, 1), ["a.pcapng"]);
        assert_eq!(names(true, None, 3), ["a.pcapng", "a.pcapng1", "a.pcapng2"]);
        assert_eq!(
            names(true, Some(2), 3),
            ["a.pcapng0", "a.pcapng1", "a.pcapng0"]
        );
        assert_eq!(names(true, Some(11), 2), ["a.pcapng00", "a.pcapng01"]);
    }

    #[test]
    fn standard_output_is_not_divided() {
        assert!(Files::new(Path::new("-"), true, None).is_err());
    }
}
