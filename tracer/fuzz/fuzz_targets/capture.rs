//! Any bytes as a capture: read, replayed, compared with themselves.
#![no_main]

use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use tracer::{decode, pipeline};

fuzz_target!(|data: &[u8]| {
    let mut each = |told: pipeline::Replayed<'_>| {
        if let pipeline::Replayed::Packet(p) = told {
            let _headers = decode::frame(p.bytes);
        }
        ControlFlow::Continue(())
    };
    let _said = pipeline::replay(data, &mut each);
});
