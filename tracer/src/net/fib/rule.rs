//! Policy rules, with their text as `ip rule` prints it. Numbers are those of
//! `linux/fib_rules.h`.

use std::fmt::Write as _;

use super::{
    super::{
        NetError,
        socket::{Connection, request},
        wire::{Attr, Attrs, Defects, u16_at, u32_at},
    },
    AF_INET6, FAMILIES, any, host_len,
};
use crate::inventory::{Prefix, Rule, RuleAction, table_name};

const RTM_NEWRULE: u16 = 32;
const RTM_GETRULE: u16 = 34;
/// Size of `struct fib_rule_hdr`.
const FIB_RULE_HDR: usize = 12;

const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_GOTO: u16 = 4;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_FLOW: u16 = 11;
const FRA_TUN_ID: u16 = 12;
const FRA_SUPPRESS_IFGROUP: u16 = 13;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_OIFNAME: u16 = 17;
const FRA_UID_RANGE: u16 = 20;
const FRA_PROTOCOL: u16 = 21;
const FRA_IP_PROTO: u16 = 22;
const FRA_SPORT_RANGE: u16 = 23;
const FRA_DPORT_RANGE: u16 = 24;
const FRA_DSCP: u16 = 25;

const FIB_RULE_INVERT: u32 = 2;
const FIB_RULE_UNRESOLVED: u32 = 4;
const FIB_RULE_IIF_DETACHED: u32 = 8;
const FIB_RULE_OIF_DETACHED: u32 = 16;
const RTPROT_KERNEL: u8 = 2;

/// All rules of the namespace, IPv4 first, each family by preference.
pub(in crate::net) fn rules(
    connection: &mut Connection,
    defects: &Defects,
) -> Result<Vec<Rule>, NetError> {
    let mut all = Vec::new();
    for family in FAMILIES {
        let body = request(family, FIB_RULE_HDR);
        let mut found = connection.dump("rules", (RTM_GETRULE, &body), |m| {
            let ours = m.kind == RTM_NEWRULE && m.body.first() == Some(&family);
            ours.then(|| parse(m.body, defects)).flatten()
        })?;
        found.sort_by_key(|r: &Rule| r.preference);
        all.extend(found);
    }
    Ok(all)
}

/// What a rule has beyond [`Rule`], for its text.
#[derive(Default)]
struct More {
    tos: u8,
    dscp: Option<u8>,
    tun_id: Option<u64>,
    suppress_ifgroup: Option<u32>,
    realms: Option<u32>,
    protocol: Option<u8>,
    flags: u32,
    action: u8,
}

pub(super) fn parse(body: &[u8], defects: &Defects) -> Option<Rule> {
    let header: &[u8; FIB_RULE_HDR] = body.first_chunk()?;
    let [family, dst_len, src_len, tos, table, _, _, action, ..] = *header;
    let mut more = More {
        tos,
        flags: u32_at(body, 8)?,
        action,
        ..More::default()
    };
    let empty = |len: u8| (len > 0).then(|| Prefix::new(any(family), len));
    let mut rule = Rule {
        ipv6: family == AF_INET6,
        preference: 0,
        from: empty(src_len),
        to: empty(dst_len),
        iif: None,
        oif: None,
        fwmark: None,
        uid_range: None,
        ip_proto: None,
        tos: (tos != 0).then_some(tos),
        sport: None,
        dport: None,
        suppress_prefix_len: None,
        invert: more.flags & FIB_RULE_INVERT != 0,
        table: u32::from(table),
        action: RuleAction::Lookup,
        text: String::new(),
    };
    let (mut mark, mut mask, mut goto) = (None, None, None);
    for attr in Attrs::new(body.get(FIB_RULE_HDR..)?, defects) {
        match attr.kind {
            FRA_DST => rule.to = Some(Prefix::new(attr.ip()?, dst_len)),
            FRA_SRC => rule.from = Some(Prefix::new(attr.ip()?, src_len)),
            FRA_IIFNAME => rule.iif = Some(attr.text()),
            FRA_OIFNAME => rule.oif = Some(attr.text()),
            FRA_PRIORITY => rule.preference = attr.u32()?,
            FRA_FWMARK => mark = attr.u32(),
            FRA_FWMASK => mask = attr.u32(),
            FRA_GOTO => goto = attr.u32(),
            FRA_TABLE => rule.table = attr.u32()?,
            FRA_UID_RANGE => rule.uid_range = pair(&attr),
            FRA_IP_PROTO => rule.ip_proto = attr.u8(),
            FRA_SPORT_RANGE => rule.sport = ports(&attr),
            FRA_DPORT_RANGE => rule.dport = ports(&attr),
            FRA_SUPPRESS_PREFIXLEN => rule.suppress_prefix_len = unless_all_ones(&attr),
            _ => more.take(&attr),
        }
    }
    rule.fwmark = match (mark.unwrap_or(0), mask.unwrap_or(u32::MAX)) {
        _ if mark.is_none() && mask.is_none() => None,
        // that is how the kernel sends a rule without a mark
        (0, 0) => None,
        given => Some(given),
    };
    rule.tos = rule.tos.or(more.dscp.map(|dscp| dscp << 2));
    rule.action = action_of(action, goto);
    rule.text = text(&rule, &more, family);
    Some(rule)
}

/// `FR_ACT_*`.
fn action_of(number: u8, goto: Option<u32>) -> RuleAction {
    match number {
        1 => RuleAction::Lookup,
        2 => RuleAction::Goto(goto.unwrap_or(0)),
        6 => RuleAction::Blackhole,
        7 => RuleAction::Unreachable,
        8 => RuleAction::Prohibit,
        _ => RuleAction::Nop,
    }
}

fn pair(attr: &Attr<'_>) -> Option<(u32, u32)> {
    Some((u32_at(attr.data, 0)?, u32_at(attr.data, 4)?))
}

fn ports(attr: &Attr<'_>) -> Option<(u16, u16)> {
    Some((u16_at(attr.data, 0)?, u16_at(attr.data, 2)?))
}

fn unless_all_ones(attr: &Attr<'_>) -> Option<u32> {
    attr.u32().filter(|n| *n != u32::MAX)
}

impl More {
    fn take(&mut self, attr: &Attr<'_>) {
        match attr.kind {
            FRA_TUN_ID => self.tun_id = attr.be64().filter(|n| *n != 0),
            FRA_SUPPRESS_IFGROUP => self.suppress_ifgroup = unless_all_ones(attr),
            FRA_FLOW => self.realms = attr.u32().filter(|n| *n != 0),
            FRA_PROTOCOL => self.protocol = attr.u8(),
            FRA_DSCP => self.dscp = attr.u8(),
            _ => {}
        }
    }
}

/// `l3mdev` rules look up the table of the VRF and name none.
fn is_l3mdev(rule: &Rule) -> bool {
    rule.action == RuleAction::Lookup && rule.table == 0
}

/// The words of `ip rule` (iproute2 6.1), in its order.
fn text(rule: &Rule, more: &More, family: u8) -> String {
    let mut words: Vec<String> = Vec::new();
    if rule.invert {
        words.push("not".into());
    }
    words.push(format!(
        "from {}",
        rule.from.map_or("all".into(), |p| prefix(p, family))
    ));
    if let Some(to) = rule.to {
        words.push(format!("to {}", prefix(to, family)));
    }
    if more.tos != 0 {
        words.push(format!("tos {:#x}", more.tos));
    }
    if let Some(dscp) = more.dscp {
        words.push(format!("dscp {dscp}"));
    }
    match rule.fwmark {
        Some((mark, u32::MAX)) => words.push(format!("fwmark {mark:#x}")),
        Some((mark, mask)) => words.push(format!("fwmark {mark:#x}/{mask:#x}")),
        None => {}
    }
    device(
        &mut words,
        "iif",
        rule.iif.as_deref(),
        more.flags & FIB_RULE_IIF_DETACHED,
    );
    device(
        &mut words,
        "oif",
        rule.oif.as_deref(),
        more.flags & FIB_RULE_OIF_DETACHED,
    );
    if let Some((from, to)) = rule.uid_range {
        words.push(format!("uidrange {from}-{to}"));
    }
    if let Some(proto) = rule.ip_proto {
        words.push(format!("ipproto {}", proto_name(proto)));
    }
    for (word, range) in [("sport", rule.sport), ("dport", rule.dport)] {
        match range {
            Some((from, to)) if from == to => words.push(format!("{word} {from}")),
            Some((from, to)) => words.push(format!("{word} {from}-{to}")),
            None => {}
        }
    }
    if let Some(id) = more.tun_id {
        words.push(format!("tun_id {id}"));
    }
    decision(&mut words, rule, more);
    words.join(" ")
}

/// The part of the text that says what the rule does.
fn decision(words: &mut Vec<String>, rule: &Rule, more: &More) {
    if is_l3mdev(rule) {
        words.push("lookup [l3mdev-table]".into());
    } else if rule.table != 0 {
        words.push(format!("lookup {}", table_name(rule.table)));
    }
    if let Some(len) = rule.suppress_prefix_len {
        words.push(format!("suppress_prefixlength {len}"));
    }
    if let Some(group) = more.suppress_ifgroup {
        words.push(format!("suppress_ifgroup {group}"));
    }
    if let Some(realms) = more.realms {
        let (from, to) = (realms >> 16, realms & 0xffff);
        let from = if from == 0 {
            String::new()
        } else {
            format!("{from}/")
        };
        words.push(format!("realms {from}{to}"));
    }
    match rule.action {
        RuleAction::Lookup => {}
        RuleAction::Goto(preference) => {
            let mut goto = format!("goto {preference}");
            if more.flags & FIB_RULE_UNRESOLVED != 0 {
                _ = write!(goto, " [unresolved]");
            }
            words.push(goto);
        }
        RuleAction::Blackhole => words.push("blackhole".into()),
        RuleAction::Unreachable => words.push("unreachable".into()),
        RuleAction::Prohibit => words.push("prohibit".into()),
        RuleAction::Nop if more.action == 3 => words.push("nop".into()),
        RuleAction::Nop => words.push(more.action.to_string()),
    }
    match more.protocol {
        None | Some(0 | RTPROT_KERNEL) => {}
        Some(protocol) => words.push(format!("proto {}", protocol_name(protocol))),
    }
}

fn prefix(prefix: Prefix, family: u8) -> String {
    if prefix.len == host_len(family) {
        prefix.address.to_string()
    } else {
        format!("{}/{}", prefix.address, prefix.len)
    }
}

fn device(words: &mut Vec<String>, word: &str, name: Option<&str>, detached: u32) {
    let Some(name) = name else { return };
    let mark = if detached == 0 { "" } else { " [detached]" };
    words.push(format!("{word} {name}{mark}"));
}

/// As in `/etc/protocols`.
fn proto_name(proto: u8) -> String {
    match proto {
        1 => "icmp".into(),
        6 => "tcp".into(),
        17 => "udp".into(),
        58 => "ipv6-icmp".into(),
        132 => "sctp".into(),
        n => format!("ipproto-{n}"),
    }
}

/// As in `/etc/iproute2/rt_protos`.
fn protocol_name(protocol: u8) -> String {
    match protocol {
        1 => "redirect".into(),
        3 => "boot".into(),
        4 => "static".into(),
        8 => "gated".into(),
        9 => "ra".into(),
        11 => "zebra".into(),
        12 => "bird".into(),
        16 => "dhcp".into(),
        18 => "keepalived".into(),
        186 => "bgp".into(),
        187 => "isis".into(),
        188 => "ospf".into(),
        189 => "rip".into(),
        192 => "eigrp".into(),
        n => n.to_string(),
    }
}
