//! How this node's listeners are told to others. Source: Kafka `ListenerInfo`.

use std::net::ToSocketAddrs;

use ottla_metadata::config::Endpoint;

/// A listener as others reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reachable {
    pub name: String,
    pub host: String,
    pub port: u16,
    /// `SecurityProtocol.id`
    pub security_protocol: i16,
}

/// The advertised listeners with this machine's name in the place of a wildcard, and with the port that was bound in
/// the place of 0.
pub fn reachable(endpoints: &[Endpoint], bound_port: impl Fn(&str) -> Option<u16>) -> Vec<Reachable> {
    endpoints
        .iter()
        .map(|e| Reachable {
            name: e.listener.clone(),
            host: match e.host.as_deref() {
                None | Some("") => machine_name(),
                Some(host) => host.to_owned(),
            },
            port: if e.port == 0 { bound_port(&e.listener).unwrap_or(0) } else { e.port },
            security_protocol: e.security_protocol.id(),
        })
        .collect()
}

/// The machine's own name where it resolves, or else `localhost`.
fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let resolves =
        !name.is_empty() && (name, 0).to_socket_addrs().is_ok_and(|mut found| found.next().is_some());
    if resolves { name.to_owned() } else { "localhost".to_owned() }
}

#[cfg(test)]
mod tests {
    use ottla_metadata::config::SecurityProtocol;

    use super::*;

    #[test]
    fn wildcards_become_a_name_and_port_0_the_bound_one() {
        let endpoint = |host: Option<&str>, port| Endpoint {
            listener: "PLAINTEXT".to_owned(),
            security_protocol: SecurityProtocol::Plaintext,
            host: host.map(str::to_owned),
            port,
        };
        let told = reachable(&[endpoint(None, 0), endpoint(Some("broker.example"), 9092)], |_| Some(4711));
        assert_eq!(told[0].port, 4711);
        assert!(!told[0].host.is_empty());
        assert_eq!((told[1].host.as_str(), told[1].port), ("broker.example", 9092));
    }
}
