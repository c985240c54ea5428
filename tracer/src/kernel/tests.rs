//! On the running kernel, and what the machine allows as text.

use std::path::{Path, PathBuf};

use rstest::rstest;

use super::{
    KernelError, KernelFacts,
    features::{Bpf, Capabilities, Capability, Features, Lockdown, StartError},
    fixtures::btf,
};

#[rstest]
#[case("5.10", true, false, false)]
#[case("6.1", true, false, true)]
#[case("6.12", true, true, true)]
#[case("6.18", true, true, true)]
#[case("7.2", true, true, true)]
fn bpf_of_each_kernel(
    #[case] kernel: &str,
    #[case] ringbuf: bool,
    #[case] tcx: bool,
    #[case] drop_reasons: bool,
) {
    assert_eq!(
        Bpf::from_btf(btf(kernel)),
        Bpf {
            ringbuf,
            tcx,
            drop_reasons
        }
    );
}

#[test]
fn capabilities_are_read() {
    let caps = Capabilities::parse("Name:\tx\nCapPrm:\tff\nCapEff:\t000001fffeffffff\n").unwrap();
    assert!(
        Capability::ALL
            .into_iter()
            .filter(|c| *c != Capability::Syslog)
            .all(|c| caps.has(c))
    );
    assert_eq!(caps.missing(), []);
    assert_eq!(Capabilities(0).missing(), Capability::REQUIRED);
    // CAP_SYS_ADMIN includes the finer ones
    let admin = Capabilities(1 << 21 | 1 << 12);
    assert_eq!(admin.missing(), []);
    assert!(!admin.has(Capability::Bpf) && admin.allows(Capability::Bpf));
    assert_eq!(
        Capabilities(1 << 39 | 1 << 38).missing(),
        [Capability::NetAdmin]
    );
    assert_eq!(Capabilities::parse("CapPrm:\tff\n"), None);
    assert_eq!(Capabilities::parse("CapEff:\tmany\n"), None);
}

#[rstest]
#[case("[none] integrity confidentiality\n", Lockdown::None)]
#[case("none [integrity] confidentiality\n", Lockdown::Integrity)]
#[case("none integrity [confidentiality]\n", Lockdown::Confidentiality)]
#[case("", Lockdown::None)]
fn lockdown_modes(#[case] text: &str, #[case] mode: Lockdown) {
    assert_eq!(Lockdown::parse(text), mode);
}

fn able() -> Features {
    Features {
        release: "6.12.1".into(),
        btf_path: Some(PathBuf::from("/sys/kernel/btf/vmlinux")),
        capabilities: Capabilities(u64::MAX),
        bpf: Bpf {
            ringbuf: true,
            tcx: true,
            drop_reasons: true,
        },
        ..Features::default()
    }
}

#[test]
fn what_is_missing_is_said() {
    assert_eq!(able().check(), Ok(()));

    let error = Features {
        capabilities: Capabilities(0),
        ..able()
    }
    .check()
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "not permitted to trace: CAP_BPF and CAP_PERFMON and CAP_NET_ADMIN missing; run it with \
         sudo, or in a container add BPF, PERFMON, NET_ADMIN to securityContext.capabilities"
    );
    let error = Features {
        lockdown: Lockdown::Confidentiality,
        ..able()
    }
    .check()
    .unwrap_err();
    assert_eq!(error, StartError::LockedDown);
    let error = Features {
        btf_path: None,
        ..able()
    }
    .check()
    .unwrap_err();
    assert!(matches!(error, StartError::NoBtf { .. }));
    assert!(error.to_string().contains("CONFIG_DEBUG_INFO_BTF"));
    let error = Features {
        bpf: Bpf::default(),
        ..able()
    }
    .check()
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "this kernel (6.12.1) is too old: it has no BPF ring buffer (5.8 or later is needed)"
    );
}

#[test]
fn a_missing_blob_is_named() {
    let error = KernelFacts::load(Some(Path::new("/nonexistent/btf"))).unwrap_err();
    assert!(matches!(error, KernelError::Read { .. }), "{error}");
    assert!(error.to_string().contains("/nonexistent/btf"), "{error}");
}

#[test]
fn a_damaged_blob_is_named() {
    let error = KernelFacts::load(Some(Path::new("/proc/self/status"))).unwrap_err();
    assert_eq!(error.to_string(), "/proc/self/status is damaged");
}

#[test]
fn the_running_kernel_answers() {
    // a kernel without type information cannot be traced, which is what `load` has to say then
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    match KernelFacts::load(None) {
        Ok(facts) => {
            assert_eq!(facts.features.release, release.trim());
            assert!(facts.btf.len() > 10_000);
            assert_eq!(facts.names.symbols.is_empty(), facts.no_symbols.is_some());
            assert_eq!(
                facts.names.reasons.names.is_empty(),
                !facts.features.bpf.drop_reasons
            );
        }
        Err(error) => {
            assert!(!Path::new("/sys/kernel/btf/vmlinux").exists(), "{error}");
            assert!(error.to_string().contains(release.trim()));
        }
    }
}
