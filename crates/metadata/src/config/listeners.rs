//! Listeners: names, security protocols, and the addresses of `listeners` and its kin.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::value::{ConfigError, java_list};

/// How a listener's connections are secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecurityProtocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl SecurityProtocol {
    /// The number that registrations and metadata records carry.
    pub fn id(self) -> i16 {
        match self {
            SecurityProtocol::Plaintext => 0,
            SecurityProtocol::Ssl => 1,
            SecurityProtocol::SaslPlaintext => 2,
            SecurityProtocol::SaslSsl => 3,
        }
    }

    pub fn from_id(id: i16) -> Option<Self> {
        Some(match id {
            0 => SecurityProtocol::Plaintext,
            1 => SecurityProtocol::Ssl,
            2 => SecurityProtocol::SaslPlaintext,
            3 => SecurityProtocol::SaslSsl,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "PLAINTEXT",
            SecurityProtocol::Ssl => "SSL",
            SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
            SecurityProtocol::SaslSsl => "SASL_SSL",
        }
    }

    /// By name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [
            SecurityProtocol::Plaintext,
            SecurityProtocol::Ssl,
            SecurityProtocol::SaslPlaintext,
            SecurityProtocol::SaslSsl,
        ]
        .into_iter()
        .find(|p| p.name().eq_ignore_ascii_case(name))
    }

    pub fn uses_sasl(self) -> bool {
        matches!(self, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl)
    }
}

/// One listener. `host` is `None` for the wildcard address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Upper case.
    pub listener: String,
    pub security_protocol: SecurityProtocol,
    pub host: Option<String>,
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.as_deref().unwrap_or("");
        if host.contains(':') {
            write!(f, "{}://[{}]:{}", self.listener, host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.listener, host, self.port)
        }
    }
}

/// A listener's name as it is compared: upper case.
pub fn normalised_listener(name: &str) -> String {
    name.to_uppercase()
}

/// The host of `[protocol://]host:port` (`Utils.getHost`).
pub fn host_of(address: &str) -> Option<&str> {
    let (host, _) = split_address(address)?;
    Some(host)
}

/// The port of `[protocol://]host:port` (`Utils.getPort`).
pub fn port_of(address: &str) -> Option<u16> {
    let (_, port) = split_address(address)?;
    port.parse().ok()
}

fn split_address(address: &str) -> Option<(&str, &str)> {
    let rest = match address.find("://") {
        Some(at) => &address[at + 3..],
        None => address,
    };
    let (host, port) = rest.rsplit_once(':')?;
    if port.is_empty() || !port.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None => host,
    };
    let valid = !host.is_empty()
        && host.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b':' | b'%'));
    valid.then_some((host, port))
}

/// `Utils.validHostPattern`.
pub fn is_valid_host_pattern(host: &str) -> bool {
    !host.is_empty()
        && host
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'%' | b'.' | b'_' | b'~' | b':'))
}

/// `listener.security.protocol.map` and the like: `a:b,c:d`.
pub fn parse_csv_map(name: &str, text: &str) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut out = BTreeMap::new();
    for entry in text.split(',').map(str::trim).filter(|e| !e.is_empty()) {
        // The value follows the last colon: a key may be an IPv6 address.
        let Some((key, value)) = entry.rsplit_once(':') else {
            return Err(ConfigError::Rule(format!(
                "Error parsing configuration property '{name}': Invalid key-value pair in CSV map: {entry}"
            )));
        };
        out.insert(key.trim().to_owned(), value.trim().to_owned());
    }
    Ok(out)
}

/// Parses `listeners` or `advertised.listeners`.
///
/// Source: `SocketServerConfigs.listenerListToEndPoints`, `AbstractKafkaConfig.listenerListToEndPoints`.
pub fn parse_endpoints(
    entries: &[String],
    protocols: &BTreeMap<String, SecurityProtocol>,
    distinct_ports: bool,
) -> Result<Vec<Endpoint>, ConfigError> {
    endpoints(entries, protocols, distinct_ports).map_err(|reason| {
        ConfigError::Rule(format!("Error creating broker listeners from '{}': {reason}", java_list(entries)))
    })
}

fn endpoints(
    entries: &[String],
    protocols: &BTreeMap<String, SecurityProtocol>,
    distinct_ports: bool,
) -> Result<Vec<Endpoint>, String> {
    let mut out: Vec<Endpoint> = Vec::with_capacity(entries.len());
    for entry in entries {
        let unable = || format!("Unable to parse {entry} to a broker endpoint");
        let (name, address) = entry.split_once("://").ok_or_else(unable)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(unable)?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or_else(unable)?,
            None => host,
        };
        let host_ok =
            host.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'%' | b'.' | b'_' | b':'));
        if name.is_empty() || !host_ok || port.is_empty() {
            return Err(unable());
        }
        let port: u16 = match port.parse::<i32>() {
            Ok(p @ 0..=65535) => p as u16,
            _ => return Err(unable()),
        };
        let listener = normalised_listener(name);
        let security_protocol = *protocols
            .get(&listener)
            .ok_or_else(|| format!("No security protocol defined for listener {listener}"))?;
        out.push(Endpoint {
            listener,
            security_protocol,
            host: (!host.is_empty()).then(|| host.to_owned()),
            port,
        });
    }
    check_distinct(&out, entries, distinct_ports)?;
    Ok(out)
}

fn check_distinct(endpoints: &[Endpoint], entries: &[String], distinct_ports: bool) -> Result<(), String> {
    let shown = java_list(entries);
    for (i, a) in endpoints.iter().enumerate() {
        if endpoints[..i].iter().any(|b| b.listener == a.listener) {
            return Err(format!("Each listener must have a different name, listeners: {shown}"));
        }
    }
    if !distinct_ports {
        return Ok(());
    }
    let mut by_port: BTreeMap<u16, Vec<&Endpoint>> = BTreeMap::new();
    for e in endpoints.iter().filter(|e| e.port != 0) {
        by_port.entry(e.port).or_default().push(e);
    }
    for (port, same) in by_port.iter().filter(|(_, v)| v.len() > 1) {
        let family = |e: &Endpoint| match e.host.as_deref() {
            Some(h) if h.parse::<Ipv4Addr>().is_ok() => Some(4),
            Some(h) if h.parse::<Ipv6Addr>().is_ok() => Some(6),
            _ => None,
        };
        let with_ip: Vec<_> = same.iter().filter_map(|e| family(e)).collect();
        let without_ip = same.len() - with_ip.len();
        if without_ip > 1 {
            return Err(format!("Each listener must have a different port, listeners: {shown}"));
        }
        match with_ip.as_slice() {
            [] => {}
            [a, b] if a != b && without_ip == 0 => {}
            [_, _] => {
                return Err(format!(
                    "If you have two listeners on the same port then one needs to be IPv4 and the other \
                     IPv6, listeners: {shown}, port: {port}"
                ));
            }
            _ => {
                return Err(format!(
                    "Each listener must have a different port unless exactly one listener has an IPv4 \
                     address and the other IPv6 address, listeners: {shown}, port: {port}"
                ));
            }
        }
    }
    Ok(())
}
