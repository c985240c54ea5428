use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};
use rstest::rstest;

use super::{Btf, BtfError, LookupError};
use crate::kernel::fixtures::{KERNELS, blob, btf};

/// Rows of `tests/fixtures/btf/offsets.txt`: member and one expectation for each of [`KERNELS`].
fn table() -> Vec<(&'static str, Vec<&'static str>)> {
    let text = include_str!("../../../../tests/fixtures/btf/offsets.txt");
    let mut rows = text.lines().filter(|l| !l.starts_with('#')).map(|l| {
        let mut cells = l.split_whitespace();
        (cells.next().unwrap(), cells.collect::<Vec<_>>())
    });
    assert_eq!(rows.next().unwrap().1, KERNELS);
    rows.collect()
}

#[rstest]
fn offsets_are_those_of_pahole(#[values(0, 1, 2, 3, 4)] kernel: usize) {
    let btf = btf(KERNELS[kernel]);
    let rows = table();
    assert!(rows.len() >= 25);
    for (path, expected) in rows {
        let found = match btf.member_offset(path) {
            Ok(n) => n.to_string(),
            Err(LookupError::Bitfield) => "bitfield".into(),
            Err(error) => format!("{error}"),
        };
        assert_eq!(found, expected[kernel], "{path} on {}", KERNELS[kernel]);
    }
}

#[rstest]
#[case("5.10", 2)]
#[case("6.1", 3)]
#[case("6.12", 4)]
#[case("6.18", 4)]
#[case("7.2", 4)]
fn kfree_skb_has_gained_arguments(#[case] kernel: &str, #[case] args: u32) {
    assert_eq!(btf(kernel).tracepoint_args("kfree_skb"), Some(args));
    assert_eq!(btf(kernel).tracepoint_args("no_such_tracepoint"), None);
}

#[test]
fn what_does_not_exist_is_named_as_such() {
    let btf = btf("6.12");
    assert_eq!(
        btf.member_offset("no_such_struct.x"),
        Err(LookupError::NoType)
    );
    assert_eq!(
        btf.member_offset("sk_buff.no_such"),
        Err(LookupError::NoMember)
    );
    assert_eq!(btf.member_offset("sk_buff"), Err(LookupError::NoMember));
    assert_eq!(btf.member_offset("sk_buff."), Err(LookupError::NoMember));
    // a pointer is not followed
    assert_eq!(
        btf.member_offset("sk_buff.dev.ifindex"),
        Err(LookupError::NoMember)
    );
    assert_eq!(
        btf.member_offset("sk_buff.pkt_type"),
        Err(LookupError::Bitfield)
    );
    assert_eq!(btf.size_of("no_such_struct"), Err(LookupError::NoType));
    assert_eq!(btf.size_of("iphdr"), Ok(20));
    assert_eq!(btf.size_of("in6_addr"), Ok(16));
}

#[test]
fn no_blob_is_refused() {
    assert_eq!(Btf::parse(b"").unwrap_err(), BtfError::Magic);
    assert_eq!(
        Btf::parse(&[0x9f, 0xeb, 1, 0]).unwrap_err(),
        BtfError::Section
    );
    assert_eq!(
        Btf::parse(&[0xeb, 0x9f, 1, 0]).unwrap_err(),
        BtfError::Magic
    );
}

/// What every user of a blob asks, on one that may be damaged.
fn ask(btf: &Btf) {
    drop(crate::kernel::offsets::resolve(btf));
    for value in btf.enum_values("skb_drop_reason") {
        assert!(value.name.len() < 512);
    }
    let _args: Option<u32> = btf.tracepoint_args("kfree_skb");
}

#[test]
fn a_truncated_blob_is_refused() {
    let whole = blob("5.10");
    for n in 1..40 {
        let cut = &whole[..whole.len() * n / 40];
        assert!(Btf::parse(cut).is_err(), "cut at {}", cut.len());
    }
}

/// A blob with one struct of `members` anonymous members of its own type.
fn recursive(members: u32) -> Vec<u8> {
    let mut words = vec![0, members | 4 << 24, 8];
    for _ in 0..members {
        words.extend([0, 1, 0]);
    }
    blob_of(&mut words, b"\0bomb\0")
}

fn blob_of(words: &mut [u32], strings: &[u8]) -> Vec<u8> {
    words[0] = 1;
    let types: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let mut blob = vec![0x9f, 0xeb, 1, 0];
    for word in [
        24,
        0,
        types.len() as u32,
        types.len() as u32,
        strings.len() as u32,
    ] {
        blob.extend(word.to_le_bytes());
    }
    blob.extend(types);
    blob.extend(strings);
    blob
}

#[test]
fn a_recursion_bomb_ends() {
    let btf = Btf::parse(&recursive(1000)).unwrap();
    assert_eq!(btf.member_offset("bomb.x"), Err(LookupError::Damaged));
}

#[test]
fn a_typedef_loop_ends() {
    let btf = Btf::parse(&blob_of(&mut [0, 8 << 24, 1], b"\0bomb\0")).unwrap();
    assert_eq!(btf.member_offset("bomb.x"), Err(LookupError::NoMember));
    assert_eq!(btf.size_of("bomb"), Err(LookupError::NoType));
}

#[test]
fn a_module_goes_on_where_the_kernel_ends() {
    let kernel = btf("6.12");
    let first = u32::try_from(kernel.len()).unwrap() + 1;
    let strings = u32::try_from(kernel.strings.len()).unwrap();
    // struct lone { struct lone n; struct iphdr ip; }
    let (iphdr, _) = kernel.named("iphdr").next().unwrap();
    let words = [
        strings + 1,
        2 | 4 << 24,
        24,
        strings + 6,
        first,
        0,
        strings + 8,
        iphdr.0,
        64,
    ];
    let types: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let text = b"\0lone\0n\0ip\0";
    let mut module = vec![0x9f, 0xeb, 1, 0];
    for word in [
        24,
        0,
        types.len() as u32,
        types.len() as u32,
        text.len() as u32,
    ] {
        module.extend(word.to_le_bytes());
    }
    module.extend(types);
    module.extend(text);
    let both = kernel.with_module(&module).unwrap();
    assert_eq!(both.member_offset("lone.ip.daddr"), Ok(24));
    assert_eq!(
        both.member_offset("sk_buff.len"),
        kernel.member_offset("sk_buff.len")
    );
}

#[test]
fn flipped_bits_never_panic() {
    let mut bytes = blob("5.10").to_vec();
    // a fixed sequence, so that a failure can be seen again
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..12 {
        for _ in 0..50 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = 24 + state as usize % (bytes.len() - 24);
            bytes[at] ^= 1 << (state >> 61);
        }
        if let Ok(btf) = Btf::parse(&bytes) {
            ask(&btf);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn any_bytes_never_panic(
        mut words in proptest::collection::vec(any::<u32>(), 3..60),
        strings in proptest::collection::vec(any::<u8>(), 1..40),
    ) {
        for info in words.iter_mut().skip(1).step_by(3) {
            // few members, so that most types are complete
            *info &= 0x9f00_0003;
        }
        if let Ok(btf) = Btf::parse(&blob_of(&mut words, &strings)) {
            prop_assert!(btf.len() <= words.len() / 3);
            ask(&btf);
        }
    }
}
