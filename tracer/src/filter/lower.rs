//! Lowers a filter to what the kernel can test: negations pushed to the primitives, then an "or"
//! of "and"s. The result accepts a superset, never less: a test that cannot be expressed is left
//! out, and named in [`Lowered::rest`].

use std::net::IpAddr;

use tracer_abi::filter::{Clause, FilterProg, MAX_CLAUSES, TEST_FAMILY};

use super::{
    ast::{Atom, Expr, Family, Layer, Side},
    clause::{Conj, Field, Slots, Test},
    matches::pod_fits,
};
use crate::{event::Proto, inventory::Prefix};

/// "and"s that are looked at before giving up.
const MAX_CONJS: usize = 512;

/// The part of a filter that runs in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lowered {
    /// For the kernel.
    pub prog: FilterProg,
    /// The kernel accepts exactly the packets that match, themselves or reversed.
    pub exact: bool,
    /// Primitives that are tested (also) in user space.
    pub rest: Vec<String>,
    /// Something that the user should know: the filter is too long for the kernel, or nothing can
    /// match it.
    pub note: Option<String>,
}

/// A formula over tests, without negations. No member in `And` is true, none in `Or` is false.
enum Formula {
    Test(Test),
    And(Vec<Self>),
    Or(Vec<Self>),
}

impl Formula {
    const TRUE: Self = Self::And(Vec::new());
    const FALSE: Self = Self::Or(Vec::new());

    fn not(self) -> Self {
        match self {
            Self::Test(t) => Self::Test(t.not()),
            Self::And(v) => Self::Or(v.into_iter().map(Self::not).collect()),
            Self::Or(v) => Self::And(v.into_iter().map(Self::not).collect()),
        }
    }
}

/// More than [`MAX_CONJS`].
struct TooMany;

/// Primitives that user space must test.
#[derive(Default)]
struct Rest(Vec<String>);

impl Rest {
    fn add(&mut self, text: String) {
        if !self.0.contains(&text) {
            self.0.push(text);
        }
    }
}

/// The addresses of the pods that fit a predicate on namespace and name; `None` when there may be
/// some whose addresses are not known.
pub type PodAddresses<'a> = dyn Fn(&dyn Fn(&str, &str) -> bool) -> Option<Vec<IpAddr>> + 'a;

pub(super) fn lower(expr: Option<&Expr>, pods: &PodAddresses<'_>) -> Lowered {
    let everything = Lowered {
        prog: FilterProg::default(),
        exact: true,
        rest: vec![],
        note: None,
    };
    let Some(expr) = expr else {
        return everything;
    };
    let mut lowering = Lowering {
        rest: Rest::default(),
        atoms: vec![],
        pods,
    };
    let Ok(slots) = lowering.clauses(expr) else {
        return too_long(expr);
    };
    let rest = lowering.rest.0;
    let exact = rest.is_empty();
    if slots.iter().any(Slots::is_true) {
        return Lowered {
            exact,
            rest,
            ..everything
        };
    }
    if slots.len() > MAX_CLAUSES {
        return too_long(expr);
    }
    if slots.is_empty() {
        return Lowered {
            prog: nothing(),
            exact: true,
            rest: vec![],
            note: Some("no packet can match this filter".to_owned()),
        };
    }
    let mut prog = FilterProg {
        len: slots.len() as u32,
        ..FilterProg::default()
    };
    for (clause, slots) in prog.clauses.iter_mut().zip(&slots) {
        *clause = slots.clause();
    }
    Lowered {
        prog,
        exact,
        rest,
        note: None,
    }
}

fn too_long(expr: &Expr) -> Lowered {
    Lowered {
        prog: FilterProg::default(),
        exact: false,
        rest: vec![expr.to_string()],
        note: Some(format!(
            "the filter has more than {MAX_CLAUSES} alternatives: it is tested in user space only"
        )),
    }
}

/// A program that accepts no packet: there is no IP version 255.
fn nothing() -> FilterProg {
    let mut prog = FilterProg {
        len: 1,
        ..FilterProg::default()
    };
    prog.clauses[0] = Clause {
        test: TEST_FAMILY,
        family: 255,
        ..Clause::default()
    };
    prog
}

/// One lowering: what is left over, and the text of the primitives by number.
struct Lowering<'a> {
    rest: Rest,
    atoms: Vec<String>,
    pods: &'a PodAddresses<'a>,
}

impl Lowering<'_> {
    /// All clauses, without those that others make superfluous.
    fn clauses(&mut self, expr: &Expr) -> Result<Vec<Slots>, TooMany> {
        let mut kept: Vec<Slots> = vec![];
        let layers: &[Layer] = if any_layer(expr) {
            &[Layer::Inner, Layer::Outer]
        } else {
            &[Layer::Inner]
        };
        for view in layers {
            let formula = self.formula(expr, *view, false);
            for conj in dnf(&formula)? {
                let Some((slots, lost)) = Slots::new(&conj) else {
                    continue;
                };
                for atom in lost {
                    self.rest
                        .add(self.atoms.get(atom).cloned().unwrap_or_default());
                }
                if kept.iter().any(|k| k.covers(&slots)) {
                    continue;
                }
                kept.retain(|k| !slots.covers(k));
                kept.push(slots);
            }
        }
        Ok(kept)
    }

    /// `e` seen from `view`, which is never [`Layer::Any`].
    fn formula(&mut self, e: &Expr, view: Layer, negated: bool) -> Formula {
        let (list, and) = match e {
            Expr::Atom(a) => return self.literal(a, view, negated),
            Expr::Not(e) => return self.formula(e, view, !negated),
            Expr::And(v) => (v, !negated),
            Expr::Or(v) => (v, negated),
        };
        let list = list
            .iter()
            .map(|e| self.formula(e, view, negated))
            .collect();
        if and {
            Formula::And(list)
        } else {
            Formula::Or(list)
        }
    }

    /// Any of the addresses of the pods.
    fn pod(&mut self, side: Side, pattern: (&str, &str)) -> Formula {
        let Some(addresses) = (self.pods)(&|ns, name| pod_fits(pattern, (ns, name))) else {
            return Formula::TRUE;
        };
        let hosts = addresses.into_iter().map(|address| {
            let len = if address.is_ipv6() { 128 } else { 32 };
            let host = Atom::Net {
                layer: Layer::Inner,
                side,
                net: Prefix::new(address, len),
            };
            let atom = self.atoms.len();
            self.atoms.push(host.to_string());
            tests(&host, Layer::Inner, atom)
        });
        Formula::Or(hosts.collect())
    }

    fn literal(&mut self, a: &Atom, view: Layer, negated: bool) -> Formula {
        let layer = match a {
            Atom::Net { layer, .. }
            | Atom::Port { layer, .. }
            | Atom::Family { layer, .. }
            | Atom::Proto { layer, .. } => *layer,
            Atom::Vni(_) => Layer::Outer,
            Atom::Pod {
                side,
                namespace,
                name,
            } if !negated => {
                // equal addresses in other places are told apart in user space
                self.rest.add(a.to_string());
                return self.pod(*side, (namespace, name));
            }
            _ => {
                self.rest.add(a.to_string());
                return Formula::TRUE;
            }
        };
        let atom = self.atoms.len();
        self.atoms
            .push(format!("{}{a}", if negated { "not " } else { "" }));
        if !negated {
            return tests(a, if layer == Layer::Any { view } else { layer }, atom);
        }
        // "Not encapsulated so" is about all packets of a flow, also those at devices where it is
        // not encapsulated at all: only user space sees them together.
        match layer {
            Layer::Outer => {
                self.rest.add(format!("not {a}"));
                Formula::TRUE
            }
            Layer::Any => {
                self.rest.add(format!("not outer {a}"));
                tests(a, Layer::Inner, atom).not()
            }
            Layer::Inner => tests(a, Layer::Inner, atom).not(),
        }
    }
}

/// Some primitive looks at either header.
fn any_layer(e: &Expr) -> bool {
    match e {
        Expr::Atom(Atom::Net { layer, .. } | Atom::Port { layer, .. }) => *layer == Layer::Any,
        Expr::Atom(_) => false,
        Expr::Not(e) => any_layer(e),
        Expr::And(v) | Expr::Or(v) => v.iter().any(any_layer),
    }
}

/// The tests of a primitive on one header.
fn tests(a: &Atom, layer: Layer, atom: usize) -> Formula {
    let outer = layer == Layer::Outer;
    let test = |field| {
        Formula::Test(Test {
            atom,
            outer,
            not: false,
            field,
        })
    };
    let ends = |side, field: &dyn Fn(bool) -> Field| match side {
        Side::Src => test(field(false)),
        Side::Dst => test(field(true)),
        Side::Either => Formula::Or(vec![test(field(false)), test(field(true))]),
        Side::Both => Formula::And(vec![test(field(false)), test(field(true))]),
    };
    let family = |f| test(Field::Family(if f == Family::V6 { 6 } else { 4 }));
    // an outer header is UDP, IP in IP or GRE
    let proto = |p: Proto| match p.0 {
        4 | 17 | 41 | 47 => test(Field::Proto(p.0)),
        _ if outer => Formula::FALSE,
        n => test(Field::Proto(n)),
    };
    match a {
        Atom::Net { side, net, .. } => ends(*side, &|dst| Field::Net(dst, *net)),
        Atom::Port {
            side,
            proto: only,
            first,
            last,
            ..
        } => {
            let port = ends(*side, &|dst| Field::Port(dst, *first, *last));
            match only {
                Some(p) => Formula::And(vec![proto(*p), port]),
                None => port,
            }
        }
        Atom::Family { family: f, .. } => family(*f),
        Atom::Proto {
            family: Some(f),
            proto: p,
            ..
        } => Formula::And(vec![family(*f), proto(*p)]),
        Atom::Proto {
            family: None,
            proto: p,
            ..
        } => proto(*p),
        Atom::Vni(n) => test(Field::Vni(*n)),
        _ => Formula::TRUE,
    }
}

/// The "or" of "and"s, without those that contradict themselves.
fn dnf(f: &Formula) -> Result<Vec<Conj>, TooMany> {
    let result = match f {
        Formula::Test(t) => vec![vec![*t]],
        Formula::Or(v) => {
            let mut all = vec![];
            for f in v {
                all.extend(dnf(f)?);
                if all.len() > MAX_CONJS {
                    return Err(TooMany);
                }
            }
            all
        }
        Formula::And(v) => {
            let mut all: Vec<Conj> = vec![vec![]];
            for f in v {
                let right = dnf(f)?;
                let mut product = vec![];
                for a in &all {
                    for b in &right {
                        let both = [a.as_slice(), b.as_slice()].concat();
                        if Slots::new(&both).is_some() {
                            product.push(both);
                        }
                    }
                    if product.len() > MAX_CONJS {
                        return Err(TooMany);
                    }
                }
                all = product;
            }
            all
        }
    };
    Ok(result)
}
