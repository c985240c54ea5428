//! Any bytes as type information.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer::kernel::{btf::Btf, offsets};

fuzz_target!(|data: &[u8]| {
    let Ok(btf) = Btf::parse(data) else { return };
    let _offsets = offsets::resolve(&btf);
    let _size = btf.size_of("sk_buff");
    let _member = btf.member_offset("sk_buff.network_header");
    let _arguments = btf.tracepoint_args("kfree_skb");
    let _values = btf.enum_values("skb_drop_reason").count();
    // as a module on top of itself
    let _module = btf.with_module(data);
});
