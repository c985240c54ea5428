//! Ends of flows and targets of probes, as people name them.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use crate::filter::Filter;

/// An end of flows: `ADDR`, `NET/LEN`, `ADDR:PORT`, `[ADDR]:PORT`, `pod [NS/]NAME[:PORT]`, `NS/NAME[:PORT]`.
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
        if let Some(pod) = pod(text) {
            return pod;
        }
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
        Err("expected ADDR, NET/LEN, ADDR:PORT, [ADDR]:PORT, NS/POD or \"pod NAME\"".into())
    }
}

/// A pod, when the text is about one: it begins with the word, or what is before the `/` is the name
/// of a namespace and no part of an address.
fn pod(text: &str) -> Option<Result<Endpoint, String>> {
    let named = text
        .strip_prefix("pod")
        .filter(|r| r.starts_with([' ', ':', '=']));
    if named.is_none() {
        let (namespace, name) = text.split_once('/')?;
        if namespace.contains(['.', ':']) || name.parse::<u8>().is_ok() {
            return None;
        }
    }
    let name = named.map_or(text, |rest| rest[1..].trim());
    let (name, port) = match name.split_once(':') {
        Some((name, port)) => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => return Some(Err(format!("{port} is no port"))),
        },
        None => (name, None),
    };
    let what = format!("pod {name}");
    if name.contains(char::is_whitespace) {
        return Some(Err("expected [NAMESPACE/]NAME[:PORT] of a pod".into()));
    }
    Some(match Filter::parse(&what) {
        Ok(_) => Ok(Endpoint { what, port }),
        Err(e) => Err(e.to_string()),
    })
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
    #[case("shop/web-0", "src pod shop/web-0")]
    #[case("pod shop/web-0", "src pod shop/web-0")]
    #[case("pod web-0", "src pod web-0")]
    #[case("pod:web-*", "src pod web-*")]
    #[case("shop/web-0:53", "src pod shop/web-0 and src port 53")]
    fn an_end_is_a_filter(#[case] text: &str, #[case] filter: &str) {
        let made = text.parse::<Endpoint>().unwrap().filter("src");
        assert_eq!(made, filter);
        assert!(Filter::parse(&made).is_ok());
    }

    #[rstest]
    #[case("web")]
    #[case("10.1.2.3/24")]
    #[case("fd00::1/64")]
    #[case("shop/web-0 or tcp")]
    #[case("pod shop/web-0 or tcp")]
    #[case("pod")]
    #[case("pod ")]
    #[case("Shop/web-0")]
    #[case("shop/web-0:http")]
    #[case("10.1.2.3 or tcp")]
    #[case("10.1.2.0/24 or tcp")]
    #[case("10.1.2.3:99999")]
    #[case("")]
    fn what_is_no_end(#[case] text: &str) {
        assert!(text.parse::<Endpoint>().is_err());
    }
}
