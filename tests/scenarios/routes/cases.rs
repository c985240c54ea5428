//! All cases, for the runs that repeat them under other conditions.

use anyhow::Result;
use harness::confusion::Case;

use crate::{
    forwarding, l2, local_output, multipath, neighbour, optional, policy, results, source,
};

/// Every case of every file.
pub(crate) fn all() -> Result<Vec<Case>> {
    let mut cases = vec![
        local_output::sockets(),
        forwarding::plain(),
        forwarding::changed(),
        forwarding::moved(),
        policy::from(),
        policy::to(),
        policy::iif(),
        policy::walk(),
        policy::suppress(),
        policy::forwarded_mark(),
        policy::sockets(),
        policy::ambiguous(),
        results::forwarded(),
        results::local(),
        results::delivered(),
        results::too_big(),
        multipath::ecmp(),
        multipath::local_ecmp(),
        multipath::group(),
        multipath::object(),
        multipath::equal_defaults(),
        source::strict()?,
        source::loose()?,
        source::loose_nowhere()?,
        source::martian()?,
        source::preferred(),
        neighbour::failed(),
        neighbour::late(),
        l2::switched(),
        l2::gateway(),
        l2::macvlan(),
    ];
    cases.extend(optional::all()?);
    Ok(cases)
}
