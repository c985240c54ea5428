//! The archive that a kernel unpacks as its first file tree: cpio, format "newc".
//!
//! Format: `Documentation/driver-api/early-userspace/buffer-format.rst` of the kernel.

use std::fmt::Write as _;

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;

/// An archive that grows. Directories come before what is in them.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    pub(super) fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY, &[]);
    }

    pub(super) fn file(&mut self, path: &str, content: &[u8]) {
        self.entry(path, EXECUTABLE, content);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let links = 1;
        let fields = [
            self.entries,
            mode,
            0, // owner
            0, // group
            links,
            0, // time
            content.len() as u32,
            0, // device of the file
            0,
            0, // device that the file is
            0,
            path.len() as u32 + 1,
            0, // checksum, only of another format
        ];
        let mut header = String::from("070701");
        for field in fields {
            // writing to a String cannot fail
            let _ = write!(header, "{field:08x}");
        }
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        let length = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn names_and_contents_start_at_multiples_of_four() {
        let mut archive = Archive::default();
        archive.directory("m");
        archive.file("m/a", b"12345");
        let bytes = archive.finish();

        assert_eq!(bytes.len() % 4, 0);
        let file = 112;
        assert_eq!(&bytes[file..file + 6], b"070701");
        // 110 bytes of header and the name with its zero make 114, padded to 116
        assert_eq!(&bytes[file + 110..file + 116], b"m/a\0\0\0");
        assert_eq!(&bytes[file + 116..file + 124], b"12345\0\0\0");
    }

    #[test]
    fn cpio_would_read_the_sizes() {
        let mut archive = Archive::default();
        archive.file("init", b"#!");
        let bytes = archive.finish();
        let field = |number: usize| {
            let at = 6 + 8 * number;
            u32::from_str_radix(std::str::from_utf8(&bytes[at..at + 8]).unwrap(), 16).unwrap()
        };
        assert_eq!(field(1), 0o100_755);
        assert_eq!(field(6), 2);
        assert_eq!(field(11), 5);
    }
}
