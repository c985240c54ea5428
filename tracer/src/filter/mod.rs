//! The filter language: pcap-filter as people type it, with primitives for what tracer knows of a
//! flow.
//!
//! ```text
//! text ─ parse ─▶ Filter ─ lower ─▶ FilterProg (kernel: a superset)
//!                    └──── matches ─▶ Verdict  (user space: exact)
//! ```
//!
//! `docs/filter.md` describes the language.

mod ast;
mod clause;
mod error;
mod head;
mod hint;
mod lower;
mod matches;
mod parse;
mod primitive;
#[cfg(test)]
mod tests;
mod value;

use std::{fmt, str::FromStr};

pub use ast::{Atom, Expr, Family, Layer, NetnsRef, Side};
pub use error::FilterError;
pub use lower::Lowered;
pub use lower::PodAddresses;
pub use matches::{FlowFacts, PodFacts, Verdict};

use crate::{event::NetnsId, inventory::Inventory};

/// A filter. Its text parses back to the same filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    expr: Option<Expr>,
}

/// Whether a filter can start with this word: an address, a keyword, a parenthesis, a negation.
/// Tells `--tunnel udp port 53` from `--tunnel vx0`.
pub fn can_start_with(word: &str) -> bool {
    let address = word.split('/').next().unwrap_or(word);
    word.contains(char::is_whitespace)
        || word.starts_with(['(', '!'])
        || hint::is_keyword(word)
        || address.parse::<std::net::IpAddr>().is_ok()
}

impl Filter {
    /// Parses the text of a filter; blanks alone accept everything.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        Ok(Self {
            expr: parse::parse(text)?,
        })
    }

    /// The filter that accepts everything.
    pub fn all() -> Self {
        Self::default()
    }

    /// Accepts everything.
    pub fn is_all(&self) -> bool {
        self.expr.is_none()
    }

    /// Only headers can tell what it asks for, so that of a flow that is neither encapsulated nor
    /// translated its addresses answer it.
    pub fn asks_headers_only(&self) -> bool {
        self.expr.as_ref().is_none_or(Expr::asks_headers_only)
    }

    /// It asks for devices, namespaces, marks, tables and drops alone: flows that take the same way
    /// get the same answer.
    pub fn asks_way_only(&self) -> bool {
        self.expr.as_ref().is_some_and(Expr::asks_way_only)
    }

    /// The expression; `None` accepts everything.
    pub fn expr(&self) -> Option<&Expr> {
        self.expr.as_ref()
    }

    /// Replaces the processes in `netns PID` by the namespaces that they are in. Only the running
    /// machine knows them: where `netns_of` does not, the primitive stays unknown.
    pub fn resolve_pids(&mut self, mut netns_of: impl FnMut(u32) -> Option<NetnsId>) {
        let Some(e) = &mut self.expr else { return };
        e.for_each_atom(&mut |atom| {
            if let Atom::Netns(n @ NetnsRef::Pid(_)) = atom
                && let NetnsRef::Pid(pid) = *n
                && let Some(id) = netns_of(pid)
            {
                *n = NetnsRef::Inode(id);
            }
        });
    }

    /// The part that runs in the kernel, and what is left to test here.
    pub fn lower(&self) -> Lowered {
        lower::lower(self.expr.as_ref(), &|_| None)
    }

    /// The same, with pods as the addresses that they have now. Lower again when they change.
    pub fn lower_with(&self, pods: &PodAddresses<'_>) -> Lowered {
        lower::lower(self.expr.as_ref(), pods)
    }

    /// Asks for pods by name.
    pub fn names_pods(&self) -> bool {
        self.expr.as_ref().is_some_and(Expr::names_pods)
    }

    /// Tests a flow, as it is named and reversed: the caller shows it in the direction that
    /// matches.
    ///
    /// What is not known neither matches nor fails: a flow is shown only when it is known to match.
    pub fn matches_flow(&self, facts: &FlowFacts<'_>, inventory: &Inventory) -> Verdict {
        match &self.expr {
            Some(e) => matches::verdict(e, facts, inventory),
            None => Verdict::Both,
        }
    }

    /// Tests one packet in the direction in which it went, as tcpdump does.
    pub fn accepts_packet(&self, facts: &FlowFacts<'_>, inventory: &Inventory) -> bool {
        match &self.expr {
            Some(e) => matches::forward(e, facts, inventory),
            None => true,
        }
    }
}

impl fmt::Display for Filter {
    /// The canonical text, empty when everything is accepted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.expr {
            Some(e) => f.pad(&e.to_string()),
            None => f.pad(""),
        }
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}
