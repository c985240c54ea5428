//! Whole blocks of any content, behind a good beginning: what reads the contents is reached by each
//! input. An input is a sequence of blocks: one byte for the type (0 lines), two for the length, and
//! the body.
#![no_main]

use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use tracer::{decode, pipeline};

const SECTION: u32 = 0x0a0d_0d0a;
const LINES: u32 = 0x8054_5243;
const HEADER: &str = r#"{"header":{"schema":"tracer.capture/1","tracer":"0.1.0","started":1000000000,"wall_offset_ns":1700000000000000000,"filter":"","snaplen":128,"limits":[],"intent":{"mode":"unknown","source":"notknown","pod_cidrs":[],"node_cidrs":[],"nodes":[],"cni":null,"sources":[]},"answers_visible":true,"part":0}}"#;

fuzz_target!(|data: &[u8]| {
    let mut file = Vec::with_capacity(data.len() * 2 + 512);
    let mut magic = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
    magic.extend([1, 0, 0, 0]);
    magic.extend(u64::MAX.to_le_bytes());
    put(&mut file, SECTION, &magic);
    put(&mut file, LINES, HEADER.as_bytes());
    let mut rest = data;
    while let [kind, a, b, behind @ ..] = rest {
        let len = usize::from(u16::from_le_bytes([*a, *b])).min(behind.len());
        let (body, behind) = behind.split_at(len);
        let kind = if *kind == 0 { LINES } else { u32::from(*kind) };
        put(&mut file, kind, body);
        rest = behind;
    }
    let mut each = |told: pipeline::Replayed<'_>| {
        if let pipeline::Replayed::Packet(p) = told {
            let _headers = decode::frame(p.bytes);
        }
        ControlFlow::Continue(())
    };
    let (_end, facts) = pipeline::replay(file.as_slice(), &mut each).expect("its beginning is good");
    assert!(!matches!(facts.ending, tracer::capture::Ending::Cut(_)), "nothing is cut");
});

fn put(file: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let padded = body.len().next_multiple_of(4);
    let len = (padded as u32 + 12).to_le_bytes();
    file.extend(kind.to_le_bytes());
    file.extend(len);
    file.extend(body);
    let fill = if kind == LINES { b'\n' } else { 0 };
    file.resize(file.len() + padded - body.len(), fill);
    file.extend(len);
}
