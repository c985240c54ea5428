//! Ends of flows and targets of probes, as people name them.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use crate::filter::Filter;

/// An end of flows: `ADDR`, `NET/LEN`, `ADDR:PORT`, `[ADDR]:PORT`.
///
/// What it means is said in the filter language alone, so that a further kind of name is a further
/// way to make [`Endpoint::filter`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    what: String,
    port: Option<u16>,
}

impl Endpoint {
    /// The filter for flows that have it at their `side` (`src` or `dst`).
    pub fn filter(&self, side: &str) -> String {
        let what = &self.what;
        match self.port {
            Some(port) => format!("{side} {what} and {side} port {port}"),
            None => format!("{side} {what}"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (what, port) = if let Ok(host) = text.parse::<IpAddr>() {
            (format!("host {host}"), None)
        } else if let Ok(socket) = text.parse::<SocketAddr>() {
            (format!("host {}", socket.ip()), Some(socket.port()))
        } else {
            (format!("net {text}"), None)
        };
        let word = !text.contains(char::is_whitespace);
        let network = word && text.contains('/') && Filter::parse(&what).is_ok();
        if what.starts_with("host") || network {
            return Ok(Self { what, port });
        }
        Err("expected ADDR, NET/LEN, ADDR:PORT or [ADDR]:PORT".into())
    }
}

/// A host and a port of it: `ADDR`, `ADDR:PORT`, `[ADDR]:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The host.
    pub host: IpAddr,
    /// The port, when one was named.
    pub port: Option<u16>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(host) = text.parse() {
            return Ok(Self { host, port: None });
        }
        match text.parse::<SocketAddr>() {
            Ok(socket) if socket.port() > 0 => Ok(Self {
                host: socket.ip(),
                port: Some(socket.port()),
            }),
            _ => Err("expected ADDR, ADDR:PORT or [ADDR]:PORT".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10.1.2.3", "src host 10.1.2.3")]
    #[case("fd00::1", "src host fd00::1")]
    #[case("10.1.2.0/24", "src net 10.1.2.0/24")]
    #[case("fd00::/64", "src net fd00::/64")]
    #[case("10.1.2.3:53", "src host 10.1.2.3 and src port 53")]
    #[case("[fd00::1]:53", "src host fd00::1 and src port 53")]
    fn an_end_is_a_filter(#[case] text: &str, #[case] filter: &str) {
        let made = text.parse::<Endpoint>().unwrap().filter("src");
        assert_eq!(made, filter);
        assert!(Filter::parse(&made).is_ok());
    }

    #[rstest]
    #[case("web")]
    #[case("10.1.2.3/24")]
    #[case("10.1.2.3 or tcp")]
    #[case("10.1.2.0/24 or tcp")]
    #[case("10.1.2.3:99999")]
    #[case("")]
    fn what_is_no_end(#[case] text: &str) {
        assert!(text.parse::<Endpoint>().is_err());
    }
}
