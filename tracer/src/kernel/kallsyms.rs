//! Names of kernel functions from `/proc/kallsyms`.

use std::{io, sync::Arc};

use crate::inventory::Symbols;

/// Where the kernel lists its symbols.
pub const PATH: &str = "/proc/kallsyms";

/// Why no function can be named.
#[derive(Debug, thiserror::Error)]
pub enum NoSymbols {
    /// The kernel shows zeros in place of addresses.
    #[error(
        "{PATH} shows no addresses (kernel.kptr_restrict, or no CAP_SYSLOG): drops are named \
         without the kernel function"
    )]
    Hidden,
    /// The kernel lists no function.
    #[error("{PATH} lists no function: drops are named without the kernel function")]
    Empty,
    /// The list cannot be read.
    #[error("cannot read {PATH}: drops are named without the kernel function")]
    Read(#[from] io::Error),
}

/// Reads the running kernel's symbols.
pub fn read() -> Result<Symbols, NoSymbols> {
    parse(&std::fs::read(PATH)?)
}

/// Text symbols in the format of `/proc/kallsyms`; lines that make no sense are left out.
pub fn parse(text: &[u8]) -> Result<Symbols, NoSymbols> {
    let mut hidden = false;
    let symbols = text
        .split(|b| *b == b'\n')
        .filter_map(parse_line)
        .filter(|(address, _)| {
            hidden |= *address == 0;
            *address != 0
        })
        .map(|(address, name)| (address, Arc::from(name)));
    let symbols = Symbols::new(symbols);
    match (symbols.is_empty(), hidden) {
        (false, _) => Ok(symbols),
        (true, true) => Err(NoSymbols::Hidden),
        (true, false) => Err(NoSymbols::Empty),
    }
}

/// Address and name of a function: `ffffffff81000000 T name[\t[module]]`.
fn parse_line(line: &[u8]) -> Option<(u64, &str)> {
    let space = line.iter().position(|b| *b == b' ')?;
    let (address, rest) = line.split_at_checked(space)?;
    let [b' ', b't' | b'T' | b'w' | b'W', b' ', name @ ..] = rest else {
        return None;
    };
    let name = name.split(|b| *b == b'\t').next()?;
    // compiler suffixes are no part of the name; cut here, each name is allocated once
    let name = match name.iter().position(|b| *b == b'.') {
        Some(n) if n > 0 => name.get(..n)?,
        _ => name,
    };
    if name.is_empty() {
        return None;
    }
    Some((parse_hex(address)?, str::from_utf8(name).ok()?))
}

fn parse_hex(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0u64, |n, b| {
        Some(n << 4 | u64::from(char::from(*b).to_digit(16)?))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::{NoSymbols, parse};

    const TEXT: &str = "\
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000100 t ip_forward
ffffffff81000200 T ip_error.isra.0
ffffffff81000300 D jiffies
ffffffff81000400 r __func__.1
ffffffff81000500 W weak_one
ffffffff81000600 w weak_two
ffffffffc0000000 t vxlan_xmit\t[vxlan]
ffffffffc0000100 t nft_do_chain.constprop.0\t[nf_tables]
no line at all
ffffffffc0000200 T
xyz T name
";

    #[test]
    fn functions_are_named() {
        let symbols = parse(TEXT.as_bytes()).unwrap();
        let name = |address| symbols.name(address).map(ToString::to_string);
        assert_eq!(name(0xffff_ffff_8100_0142).as_deref(), Some("ip_forward"));
        assert_eq!(name(0xffff_ffff_8100_0200).as_deref(), Some("ip_error"));
        // data symbols do not end a function
        assert_eq!(name(0xffff_ffff_8100_0410).as_deref(), Some("ip_error"));
        assert_eq!(name(0xffff_ffff_8100_0500).as_deref(), Some("weak_one"));
        assert_eq!(name(0xffff_ffff_8100_0601).as_deref(), Some("weak_two"));
        assert_eq!(name(0xffff_ffff_c000_0001).as_deref(), Some("vxlan_xmit"));
        assert_eq!(name(0xffff_ffff_c000_0fff).as_deref(), Some("nft_do_chain"));
        assert_eq!(name(0xffff_ffff_8000_0000), None);
    }

    #[test]
    fn zeros_are_no_addresses() {
        let text = "0000000000000000 T _text\n0000000000000000 t ip_forward\n";
        assert!(matches!(parse(text.as_bytes()), Err(NoSymbols::Hidden)));
        assert!(matches!(parse(b""), Err(NoSymbols::Empty)));
        assert!(matches!(
            parse(b"ffffffff81000300 D jiffies\n"),
            Err(NoSymbols::Empty)
        ));
        let reason = parse(text.as_bytes()).unwrap_err().to_string();
        assert!(reason.contains("kptr_restrict"), "{reason}");
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            drop(parse(&bytes));
        }

        #[test]
        fn every_line_counts(addresses in proptest::collection::vec(1u64.., 1..40)) {
            let lines = addresses.iter().map(|a| format!("{a:016x} t f{a:x}\n"));
            let symbols = parse(lines.collect::<String>().as_bytes()).unwrap();
            for address in addresses {
                let name = symbols.name(address).map(ToString::to_string);
                let expected = format!("f{address:x}");
                prop_assert_eq!(name, Some(expected));
            }
        }
    }
}
