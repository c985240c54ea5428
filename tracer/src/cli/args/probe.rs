//! What a check sends by itself.

use std::{net::IpAddr, time::Duration};

use clap::ValueEnum;

use super::endpoint::Target;
use crate::cli::duration;

/// Packets of one probe at most: it is a question, not a load.
const MOST: i64 = 1000;
/// The shortest pause between two packets.
const SHORTEST: Duration = Duration::from_millis(10);

/// What a check sends by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Traffic of its own")]
pub struct ProbeArgs {
    /// Send packets to this address and nothing else, and judge them
    #[arg(long, value_name = "ADDR[:PORT]")]
    pub probe: Option<Target>,
    /// What to send: tcp (SYN; the default with a port), udp, icmp (echo; the default without)
    #[arg(long, value_enum, value_name = "PROTO", requires = "probe")]
    pub probe_proto: Option<ProbeProto>,
    /// Send from this namespace: NAME, PID, INODE or a pod ([NS/]POD); otherwise from tracer's own
    #[arg(long, value_name = "NETNS", requires = "probe")]
    pub probe_netns: Option<String>,
    /// How many packets (tcp: attempts to connect) [default: 3]
    #[arg(long, value_name = "N", requires = "probe", value_parser = clap::value_parser!(u32).range(1..=MOST))]
    pub probe_count: Option<u32>,
    /// Time from one to the next [default: 200ms]
    #[arg(long, value_name = "TIME", requires = "probe", value_parser = interval)]
    pub probe_interval: Option<Duration>,
    /// Bytes of each packet with its IP header, not to be fragmented (udp, icmp): an MTU test
    #[arg(long, value_name = "BYTES", requires = "probe")]
    pub probe_size: Option<u16>,
}

/// What to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProbeProto {
    /// ICMP echo requests
    Icmp,
    /// Attempts to connect
    Tcp,
    /// Datagrams
    Udp,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration::parse(text)?;
    if interval < SHORTEST {
        return Err(format!("at least {} ms", SHORTEST.as_millis()));
    }
    Ok(interval)
}

impl ProbeArgs {
    /// The protocol that was asked for, or that of the target; an error says what does not fit
    /// together.
    pub fn proto(&self) -> Result<Option<(Target, ProbeProto)>, String> {
        let Some(target) = self.probe else {
            return Ok(None);
        };
        let proto = self.probe_proto.unwrap_or(match target.port {
            Some(_) => ProbeProto::Tcp,
            None => ProbeProto::Icmp,
        });
        match (proto, target.port, self.probe_size) {
            (ProbeProto::Icmp, Some(_), _) => {
                return Err("--probe-proto icmp: an echo request has no port".into());
            }
            (ProbeProto::Tcp | ProbeProto::Udp, None, _) => {
                return Err("--probe: tcp and udp need a port: ADDR:PORT, [ADDR]:PORT".into());
            }
            (ProbeProto::Tcp, _, Some(_)) => {
                return Err(
                    "--probe-size: a SYN has no payload; use --probe-proto udp or icmp".into(),
                );
            }
            (ProbeProto::Icmp | ProbeProto::Udp, _, Some(size)) if size < smallest(target.host) => {
                return Err(format!(
                    "--probe-size: at least {} bytes, which the headers take",
                    smallest(target.host)
                ));
            }
            _ => {}
        }
        single(target.host)?;
        Ok(Some((target, proto)))
    }
}

/// Bytes of the headers of IP and of UDP or an echo.
fn smallest(to: IpAddr) -> u16 {
    if to.is_ipv4() { 28 } else { 48 }
}

/// One host is asked, never many.
fn single(to: IpAddr) -> Result<(), String> {
    let broadcast = matches!(to, IpAddr::V4(a) if a.is_broadcast());
    if to.is_multicast() || to.is_unspecified() || broadcast {
        return Err(format!("--probe {to}: the address of one host is needed"));
    }
    Ok(())
}
