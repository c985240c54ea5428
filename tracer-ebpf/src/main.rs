//! The BPF programs. On the host this is an empty program, so that the whole workspace checks and
//! lints with one command.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
// The target has atomic addition but no compare-and-swap, so that core's AtomicU64 lacks
// fetch_add; the build of this crate for BPF needs unstable features anyway (build-std).
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics))]
#![cfg_attr(
    target_arch = "bpf",
    expect(clippy::inline_always, reason = "programs are verified as one piece")
)]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        clippy::needless_borrows_for_generic_args,
        reason = "by value, keys and values would be copied onto the 512 bytes of stack"
    )
)]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        clippy::needless_pass_by_value,
        reason = "the program macros call the functions with their context by value"
    )
)]
#![cfg_attr(target_arch = "bpf", expect(internal_features, reason = "see above"))]

#[cfg(target_arch = "bpf")]
mod bpf;

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The helpers that read kernel memory are for GPL-compatible programs only.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(target_arch = "bpf"))]
fn main() {}
