//! Which drops are losses of a flow.
//!
//! Segments that arrive after their connection was closed are none. When an acknowledgement was lost
//! or late, the other side has sent its FIN again and the second acknowledgement finds no connection
//! any more: the kernel frees it and answers with a reset that nobody needs (RFC 9293 §3.10.7.1),
//! though the reasons are those of a refused connection.

use super::{Drop, draft::Draft, record::DropTotals};
use crate::event::Proto;

const FIN: u8 = 0x01;
const RST: u8 = 0x04;

/// Where the kernel frees a segment without a connection: reason, and function without compiler
/// suffix. `tcp_rcv_state_process()` in LISTEN refuses an acknowledgement as `TCP_FLAGS`, which
/// `tcp_v4_do_rcv()` frees; before 5.17 there is no reason.
const ENDS: &[(&str, &str)] = &[
    ("TCP_FLAGS", "tcp_v4_do_rcv"),
    ("TCP_FLAGS", "tcp_v6_do_rcv"),
    ("NOT_SPECIFIED", "tcp_v4_do_rcv"),
    ("NOT_SPECIFIED", "tcp_v6_do_rcv"),
    ("NO_SOCKET", "tcp_v4_rcv"),
    ("NO_SOCKET", "tcp_v6_rcv"),
];

/// Takes the drops that are no loss, because their direction had closed the connection, from
/// the direction.
pub(super) fn take_late(draft: &mut Draft) -> Vec<Drop> {
    let closed = draft.tuple.proto == Proto::TCP && draft.tcp_flags() & (FIN | RST) != 0;
    if !closed || draft.drops.is_empty() {
        return Vec::new();
    }
    let late = |d: &mut Drop| ENDS.contains(&(&*d.place.reason, &*d.place.symbol));
    draft.drops.extract_if(.., late).collect()
}

/// Losses in an order that does not depend on that of their reports.
pub(super) fn losses(drops: &[DropTotals]) -> Vec<&DropTotals> {
    let mut drops: Vec<&DropTotals> = drops.iter().filter(|d| d.sample.loss).collect();
    drops.sort_by_key(|d| {
        let total = d.lives.total();
        (
            total.first,
            d.sample.tuple,
            d.sample.place.clone(),
            d.encap_key(),
        )
    });
    drops
}
