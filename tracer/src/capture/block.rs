//! Blocks of pcapng (draft-ietf-opsawg-pcapng), as far as tracer writes and reads them. Little
//! endian.
//!
//! An own writer, because each packet passes it: it appends to one buffer and allocates nothing.
//! The crates that write pcapng build a list of options for each packet.

/// Section header.
pub(super) const SECTION: u32 = 0x0a0d_0d0a;
/// Interface description.
pub(super) const INTERFACE: u32 = 1;
/// Interface statistics.
pub(super) const STATISTICS: u32 = 5;
/// Enhanced packet.
pub(super) const PACKET: u32 = 6;
/// Lines of JSON. The most significant bit says local use: other readers skip the block without a
/// word, where they show a custom block (0xbad) as a packet.
pub(super) const LINES: u32 = 0x8054_5243;

/// Byte-order magic of a section header.
pub(super) const MAGIC: u32 = 0x1a2b_3c4d;
/// Largest block that is read. Larger than any that is written, and small enough to be read into
/// memory.
pub const BLOCK_MAX: u32 = 64 << 20;
/// Type, length and length again.
pub(super) const FRAME: u32 = 12;

/// `opt_comment`.
pub(super) const OPT_COMMENT: u16 = 1;
/// `shb_os`.
pub(super) const SHB_OS: u16 = 3;
/// `shb_userappl`.
pub(super) const SHB_USERAPPL: u16 = 4;
/// `if_name`.
pub(super) const IF_NAME: u16 = 2;
/// `if_description`.
pub(super) const IF_DESCRIPTION: u16 = 3;
/// `if_tsresol`.
pub(super) const IF_TSRESOL: u16 = 9;
/// `if_filter`.
pub(super) const IF_OS: u16 = 12;
/// `epb_flags`.
pub(super) const EPB_FLAGS: u16 = 2;
/// `epb_packetid`.
pub(super) const EPB_PACKETID: u16 = 5;
/// `epb_verdict`.
pub(super) const EPB_VERDICT: u16 = 7;
/// `isb_ifrecv`.
pub(super) const ISB_IFRECV: u16 = 4;
/// `isb_ifdrop`.
pub(super) const ISB_IFDROP: u16 = 5;
/// Local use: of an interface, namespace inode, ifindex (`u32` each) and [`super::What`] (`u32`);
/// of a packet, wire segments, in-device and payload bytes of a segment (`u32` each).
pub(super) const OPT_PLACE: u16 = 0x8001;
/// Local use: of a dropped packet, reason and function, with a blank between.
pub(super) const OPT_DROP: u16 = 0x8002;

/// Appends blocks to a buffer.
pub(super) struct Put<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Put<'a> {
    /// Begins a block.
    pub(super) fn begin(out: &'a mut Vec<u8>, kind: u32) -> Self {
        let start = out.len();
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        Self { out, start }
    }

    pub(super) fn u16(&mut self, n: u16) {
        self.out.extend_from_slice(&n.to_le_bytes());
    }

    pub(super) fn u32(&mut self, n: u32) {
        self.out.extend_from_slice(&n.to_le_bytes());
    }

    pub(super) fn u64(&mut self, n: u64) {
        self.out.extend_from_slice(&n.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Up to the next multiple of four bytes.
    pub(super) fn pad(&mut self, with: u8) {
        let n = (self.out.len() - self.start).next_multiple_of(4);
        self.out.resize(self.start + n, with);
    }

    /// An option; longer values are cut, which only comments are.
    pub(super) fn option(&mut self, code: u16, value: &[u8]) {
        let value = &value[..value.len().min(usize::from(u16::MAX))];
        self.u16(code);
        self.u16(value.len() as u16);
        self.bytes(value);
        self.pad(0);
    }

    /// Ends a block with options.
    pub(super) fn end_options(mut self) {
        self.u32(0);
        self.end();
    }

    /// Ends a block.
    pub(super) fn end(self) {
        let len = (self.out.len() - self.start + 4) as u32;
        self.out.extend_from_slice(&len.to_le_bytes());
        self.out[self.start + 4..self.start + 8].copy_from_slice(&len.to_le_bytes());
    }
}
