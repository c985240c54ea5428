use rstest::rstest;
use tracer_abi::offset::{ABSENT, Off, PATHS};

use super::{has_conntrack, resolve, resolve_path};
use crate::kernel::{
    btf::{Btf, LookupError},
    fixtures::{KERNELS, btf},
};

#[rstest]
fn every_kernel_has_all_that_is_read(#[values(0, 1, 2, 3, 4)] kernel: usize) {
    let btf = btf(KERNELS[kernel]);
    let offsets = resolve(btf).unwrap();
    for (path, offset) in PATHS.iter().zip(offsets) {
        assert!(path.starts_with('?') || offset != ABSENT, "{path}");
    }
    assert_eq!(offsets[Off::KfreeArgs as usize], [2, 3, 4, 4, 4][kernel]);
    assert!(has_conntrack(&offsets));
    assert_eq!(offsets[Off::CtStatus as usize], 128);
    assert_eq!(offsets[Off::SkbSk as usize], 24);
    assert_eq!(
        offsets[Off::NetInum as usize],
        [136, 144, 136, 176, 280][kernel]
    );
}

#[test]
fn the_notation_is_understood() {
    let btf = btf("6.12");
    assert_eq!(resolve_path(btf, "?sk_buff.no_such"), Ok(ABSENT));
    assert_eq!(resolve_path(btf, "?no_such.no_such"), Ok(ABSENT));
    assert_eq!(resolve_path(btf, "?sk_buff.len"), Ok(112));
    assert_eq!(
        resolve_path(btf, "?sk_buff.pkt_type"),
        Err(LookupError::Bitfield)
    );
    assert_eq!(resolve_path(btf, "args:no_such"), Ok(0));
    assert_eq!(resolve_path(btf, "sizeof:iphdr"), Ok(20));
    assert_eq!(resolve_path(btf, "?sizeof:no_such"), Ok(ABSENT));
    assert_eq!(
        resolve_path(btf, "sk_buff.no_such"),
        Err(LookupError::NoMember)
    );
}

#[test]
fn everything_missing_is_named_at_once() {
    let error = resolve(&Btf::default()).unwrap_err();
    let members = PATHS
        .iter()
        .filter(|p| !p.starts_with("args:") && !p.starts_with('?'))
        .count();
    assert_eq!(error.missing.len(), members);
    let text = error.to_string();
    assert!(
        text.starts_with("this kernel's BTF lacks what tracer reads: sk_buff.dev (no such type), ")
    );
    assert!(text.contains("nsproxy.net_ns (no such type)"));
}

#[test]
fn connection_tracking_is_read_whole_or_not_at_all() {
    let whole = resolve(btf("6.18")).unwrap();
    for (member, value) in [
        (Off::CtDst, ABSENT),
        (Off::CtDst, 22),
        (Off::CtTuplehashSize, 60),
        (Off::CtTuplehashSize, 1000),
        (Off::CtDstPort, 39),
        (Off::SkbNfct, ABSENT),
    ] {
        let mut offsets = whole;
        offsets[member as usize] = value;
        assert!(!has_conntrack(&offsets), "{member:?} {value}");
    }
}
