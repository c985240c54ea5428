//! Any bytes as records of the kernel side, as packets and as frames.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tracer::{
    decode::{self, Decoder},
    inventory::Names,
    model::{Model, ModelConfig},
};

fuzz_target!(|data: &[u8]| {
    let decoder = Decoder::new(Arc::new(Names::default()));
    let mut model = Model::new(ModelConfig::default());
    // records of different lengths out of one input: two bytes say how long the next one is
    let mut rest = data;
    while let [low, high, more @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])) % (more.len() + 1);
        let (record, next) = more.split_at(length);
        if let Ok(Some(event)) = decoder.decode(record) {
            model.apply(&event);
        }
        let _packet = decoder.packet(record);
        let _headers = decode::frame(record);
        rest = next;
    }
    let _picture = model.snapshot();
});
