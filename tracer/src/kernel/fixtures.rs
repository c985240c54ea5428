//! Type information of five kernels, for tests.

use std::sync::OnceLock;

use super::btf::Btf;

/// Versions of the blobs in `tests/fixtures/btf`.
pub(crate) const KERNELS: [&str; 5] = ["5.10", "6.1", "6.12", "6.18", "7.2"];

struct Fixture {
    compressed: &'static [u8],
    blob: OnceLock<Vec<u8>>,
    btf: OnceLock<Btf>,
}

macro_rules! fixture {
    ($file:literal) => {
        Fixture {
            compressed: include_bytes!(concat!("../../../tests/fixtures/btf/", $file)),
            blob: OnceLock::new(),
            btf: OnceLock::new(),
        }
    };
}

static FIXTURES: [Fixture; 5] = [
    fixture!("debian-5.10-cloud-amd64.btf.zst"),
    fixture!("debian-6.1-cloud-amd64.btf.zst"),
    fixture!("debian-6.12-cloud-amd64.btf.zst"),
    fixture!("firecracker-6.18-amd64.btf.zst"),
    fixture!("debian-7.2-cloud-amd64.btf.zst"),
];

fn fixture(kernel: &str) -> &'static Fixture {
    let n = KERNELS
        .iter()
        .position(|k| *k == kernel)
        .expect("one of KERNELS");
    &FIXTURES[n]
}

/// The raw blob of one of [`KERNELS`].
pub(crate) fn blob(kernel: &str) -> &'static [u8] {
    let fixture = fixture(kernel);
    fixture
        .blob
        .get_or_init(|| zstd::decode_all(fixture.compressed).expect("zstd fixture"))
}

/// The parsed blob of one of [`KERNELS`].
pub(crate) fn btf(kernel: &str) -> &'static Btf {
    fixture(kernel)
        .btf
        .get_or_init(|| Btf::parse(blob(kernel)).expect("BTF fixture"))
}
