//! All cases, for the runs that repeat them under other conditions.

use anyhow::Result;
use harness::confusion::Case;

use crate::{
    batch, forwarding, l2, local_output, multicast, multipath, neighbour, optional, policy, ports,
    results, ring, several, source, translated,
};

/// Forwarding, and what the node sends.
pub(crate) fn ways() -> Vec<Case> {
    vec![
        local_output::sockets(),
        forwarding::plain(),
        forwarding::changed(),
        forwarding::moved(),
        multicast::forwarded(),
    ]
}

/// Several next hops, and packets in lists.
pub(crate) fn members() -> Result<Vec<Case>> {
    let mut cases = vec![
        multipath::ecmp(),
        multipath::local_ecmp(),
        multipath::group(),
        multipath::object(),
        multipath::equal_defaults(),
    ];
    cases.extend(batch::all()?);
    Ok(cases)
}

/// Policy routing.
pub(crate) fn rules() -> Vec<Case> {
    vec![
        policy::from(),
        policy::to(),
        policy::iif(),
        policy::walk(),
        policy::suppress(),
        policy::forwarded_mark(),
        policy::sockets(),
        policy::ambiguous(),
        ports::by_port(),
    ]
}

/// What ends here, and what is refused.
pub(crate) fn ends() -> Result<Vec<Case>> {
    Ok(vec![
        results::forwarded(),
        results::local(),
        results::delivered(),
        results::delivered_by_rule(0),
        results::delivered_by_rule(1),
        results::too_big(),
        several::heard(0),
        several::heard(1),
        source::strict()?,
        source::loose()?,
        source::loose_nowhere()?,
        source::martian()?,
        source::preferred(),
    ])
}

/// Translation, fragments, neighbours, and what is below IP.
pub(crate) fn below() -> Result<Vec<Case>> {
    let mut cases = vec![
        ring::paged(),
        translated::services(),
        translated::plain_fragments(),
        translated::translated_fragments(),
        translated::errors(),
        neighbour::failed(),
        neighbour::late(),
        l2::switched(),
        l2::gateway(),
        l2::macvlan(),
    ];
    cases.extend(optional::all()?);
    Ok(cases)
}
