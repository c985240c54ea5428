//! Captures of the labs in `tests/fixtures/captures`, made by the end-to-end test `captures`.

use std::{ops::ControlFlow, path::PathBuf};

use rstest::rstest;

use super::{FileFacts, Replayed, SessionEnd, replay};
use crate::capture::{Ending, ReadError};

fn fixture(name: &str) -> Vec<u8> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/captures");
    std::fs::read(dir.join(name).with_extension("pcapng")).unwrap()
}

fn read(bytes: &[u8]) -> Result<(SessionEnd, FileFacts), ReadError> {
    replay(bytes, &mut |_: Replayed<'_>| ControlFlow::Continue(()))
}

/// Files of earlier tracers stay readable. When this fails because a type has a new field, give the
/// field `#[serde(default)]`, or raise the version and add a step in `capture/version.rs`.
#[rstest]
#[case("native-tunnel", "tunnel-in-native-mode")]
#[case("aws-eni", "duplicate-default")]
#[case("overlapping-vpc", "overlapping-address")]
#[case("ipv6-prefix", "onlink-prefix-mismatch")]
#[case("encap-loss", "encap-mtu")]
fn a_capture_of_each_scenario_says_what_the_node_said(#[case] name: &str, #[case] finding: &str) {
    let (end, facts) = read(&fixture(name)).unwrap();
    assert_eq!((&facts.ending, facts.unreadable), (&Ending::Whole, 0));
    assert_eq!(facts.end.unwrap().packets, facts.packets);
    assert!(!end.snapshot.flows.is_empty());
    let found = end.findings.iter().any(|f| f.id == finding);
    assert!(found, "{:?}", end.findings);
}

/// Bytes at both ends of a file where each cut is tried; every 97th elsewhere in the first and last
/// 64 KiB, or with `TRACER_EVERY_CUT=1` each.
const CLOSE: usize = 512;
const FAR: usize = 64 << 10;

#[test]
fn a_real_capture_cut_anywhere_reads_up_to_the_cut() {
    let whole = fixture("native-tunnel");
    let every = std::env::var_os("TRACER_EVERY_CUT").is_some();
    let end = whole.len();
    let wanted = |at: usize| {
        let from_end = at.min(end - at);
        from_end < CLOSE || (from_end < FAR && (every || at.is_multiple_of(97)))
    };
    let mut last = 0;
    let mut cuts = 0;
    for at in (0..end).filter(|at| wanted(*at)) {
        cuts += 1;
        match read(&whole[..at]) {
            Ok((_, facts)) => {
                assert_eq!(facts.unreadable, 0, "cut at {at}");
                assert!(facts.packets >= last, "cut at {at}");
                last = facts.packets;
                match facts.ending {
                    Ending::Cut(said) => assert_eq!(said, at as u64),
                    Ending::Unfinished => {}
                    // the last line was there; what is cut are the statistics
                    Ending::Whole => assert!(facts.end.is_some(), "cut at {at}"),
                    Ending::Damaged(..) => panic!("cut at {at}: {:?}", facts.ending),
                }
            }
            // within the first blocks
            Err(ReadError::NotPcapng | ReadError::NoHeader) => assert_eq!(last, 0),
            Err(e) => panic!("cut at {at}: {e}"),
        }
    }
    assert!(cuts > 1_000);
}

mod flipped {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn bytes_of_a_real_capture_give_a_message(
            flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 1..64),
        ) {
            let mut bytes = fixture("ipv6-prefix");
            for (at, byte) in flips {
                let at = at.index(bytes.len());
                bytes[at] ^= byte;
            }
            let _said = read(&bytes);
        }
    }
}
