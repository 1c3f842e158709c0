//! What a node is: roles, listeners and quorum, with the rules that hold between keys
//! (`KafkaConfig.validateValues`).

use std::collections::{BTreeMap, BTreeSet};

use super::listeners::{
    Endpoint, SecurityProtocol, is_valid_host_pattern, normalised_listener, parse_csv_map, parse_endpoints,
};
use super::static_config::{ConfigWarning, Roles, StaticConfig};
use super::value::{ConfigError, ConfigValue, parse_bootstrap_server, parse_voters};

fn rule<T>(text: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Rule(text.into()))
}

/// Java's `require`, whose message starts so.
fn require(holds: bool, text: impl FnOnce() -> String) -> Result<(), ConfigError> {
    if holds {
        return Ok(());
    }
    rule(format!("requirement failed: {}", text()))
}

/// Fills the typed fields of a configuration from its values, checking the rules between keys.
pub(super) fn resolve_topology(
    values: &[ConfigValue],
    explicit: &BTreeMap<String, String>,
    warnings: &mut Vec<ConfigWarning>,
) -> Result<StaticConfig, ConfigError> {
    let mut c = StaticConfig {
        values: values.to_vec(),
        explicit: explicit.clone(),
        warnings: Vec::new(),
        roles: Roles { broker: false, controller: false },
        node_id: 0,
        log_dirs: Vec::new(),
        metadata_log_dir: String::new(),
        listeners: Vec::new(),
        advertised_broker_listeners: Vec::new(),
        advertised_controller_listeners: Vec::new(),
        controller_listener_names: Vec::new(),
        inter_broker_listener_name: String::new(),
        inter_broker_security_protocol: SecurityProtocol::Plaintext,
        listener_security_protocols: BTreeMap::new(),
        quorum_voters: Vec::new(),
        quorum_bootstrap_servers: Vec::new(),
        rack: None,
    };
    for role in c.get_list("process.roles").to_vec() {
        match role.as_str() {
            "broker" => c.roles.broker = true,
            _ => c.roles.controller = true,
        }
    }
    c.node_id = c.get_int("node.id");
    if c.node_id != c.get_int("broker.id") {
        return rule(
            "`node.id` and `broker.id` must be set to the same value. `broker.id` is deprecated, please \
             use `node.id` instead.",
        );
    }
    c.rack = c.get_string("broker.rack").map(str::to_owned);
    c.log_dirs = match c.value("log.dirs") {
        ConfigValue::List(dirs) => dirs.clone(),
        _ => c.get_list("log.dir").to_vec(),
    };
    check_numbers(&c)?;
    c.metadata_log_dir = match c.get_string("metadata.log.dir") {
        Some(dir) => dir.to_owned(),
        None => c.log_dirs.first().cloned().unwrap_or_default(),
    };
    c.controller_listener_names = c.get_list("controller.listener.names").to_vec();
    c.listener_security_protocols = security_protocols(&c)?;
    c.listeners = parse_endpoints(c.get_list("listeners"), &c.listener_security_protocols, true)?;
    (c.inter_broker_listener_name, c.inter_broker_security_protocol) = inter_broker_listener(&c)?;
    let voters = c.get_list("controller.quorum.voters").to_vec();
    c.quorum_voters = parse_voters(&voters, false)?;
    for entry in c.get_list("controller.quorum.bootstrap.servers").to_vec() {
        c.quorum_bootstrap_servers.push(parse_bootstrap_server(&entry)?);
    }
    advertise(&mut c)?;
    check_protocols(&c, warnings)?;
    check_roles(&c, warnings)?;
    check_listeners(&c)?;
    check_connections(&c)?;
    Ok(c)
}

/// Rules over several numbers, which hold at the start and after every dynamic change.
pub(super) fn check_numbers(c: &StaticConfig) -> Result<(), ConfigError> {
    let positive_ms =
        |ms: &str, hours: &str| c.get_long_opt(ms).unwrap_or_else(|| c.get_long(hours) * 3_600_000);
    require(positive_ms("log.roll.ms", "log.roll.hours") >= 1, || {
        "log.roll.ms must be greater than or equal to 1".to_owned()
    })?;
    require(positive_ms("log.roll.jitter.ms", "log.roll.jitter.hours") >= 0, || {
        "log.roll.jitter.ms must be greater than or equal to 0".to_owned()
    })?;
    let retention = c
        .get_long_opt("log.retention.ms")
        .or_else(|| c.get_long_opt("log.retention.minutes").map(|m| m * 60_000))
        .unwrap_or_else(|| c.get_long("log.retention.hours") * 3_600_000);
    require(retention != 0, || {
        "log.retention.ms must be unlimited (-1) or, greater than or equal to 1".to_owned()
    })?;
    require(!c.log_dirs.is_empty(), || {
        "At least one log directory must be defined via log.dirs or log.dir.".to_owned()
    })?;
    let threads = c.get_long("log.cleaner.threads").max(1);
    require(c.get_long("log.cleaner.dedupe.buffer.size") / threads > 1024 * 1024, || {
        "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.".to_owned()
    })?;
    let wait = c.get_long("replica.fetch.wait.max.ms");
    require(wait <= c.get_long("replica.socket.timeout.ms"), || {
        "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent \
         unnecessary socket timeouts"
            .to_owned()
    })?;
    require(wait <= c.get_long("replica.lag.time.max.ms"), || {
        "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to \
         prevent frequent changes in ISR"
            .to_owned()
    })
}

fn is_ssl_or_sasl(name: &str) -> bool {
    matches!(name, "SSL" | "SASL_SSL" | "SASL_PLAINTEXT")
}

/// `effectiveListenerSecurityProtocolMap`: an unset map also maps controller listeners to PLAINTEXT,
/// unless the node uses TLS or SASL anywhere.
fn security_protocols(c: &StaticConfig) -> Result<BTreeMap<String, SecurityProtocol>, ConfigError> {
    const KEY: &str = "listener.security.protocol.map";
    let mut out = BTreeMap::new();
    for (name, protocol) in parse_csv_map(KEY, c.get_string(KEY).unwrap_or(""))? {
        let Some(protocol) = SecurityProtocol::from_name(&protocol) else {
            return rule(format!("Invalid security protocol `{protocol}` defined in {KEY}"));
        };
        out.insert(normalised_listener(&name), protocol);
    }
    if c.explicit(KEY).is_some() {
        return Ok(out);
    }
    let mut secured = c.controller_listener_names.iter().any(|n| is_ssl_or_sasl(n));
    for listener in c.get_list("listeners") {
        let Some((name, _)) = listener.split_once(':') else {
            return rule(format!("Unable to parse a listener name from {listener}"));
        };
        secured |= is_ssl_or_sasl(&name.to_uppercase());
    }
    if !secured {
        for name in &c.controller_listener_names {
            out.insert(normalised_listener(name), SecurityProtocol::Plaintext);
        }
    }
    Ok(out)
}

fn inter_broker_listener(c: &StaticConfig) -> Result<(String, SecurityProtocol), ConfigError> {
    let Some(name) = c.get_string("inter.broker.listener.name") else {
        let name = c.get_string("security.inter.broker.protocol").unwrap_or("PLAINTEXT");
        let protocol = SecurityProtocol::from_name(name).unwrap_or(SecurityProtocol::Plaintext);
        return Ok((protocol.name().to_owned(), protocol));
    };
    if c.explicit("security.inter.broker.protocol").is_some() {
        return rule(
            "Only one of inter.broker.listener.name and security.inter.broker.protocol should be set.",
        );
    }
    let name = normalised_listener(name);
    match c.listener_security_protocols.get(&name) {
        Some(protocol) => Ok((name, *protocol)),
        None => rule(format!(
            "Listener with name {name} defined in inter.broker.listener.name not found in \
             listener.security.protocol.map."
        )),
    }
}

fn advertise(c: &mut StaticConfig) -> Result<(), ConfigError> {
    let advertised = match c.value("advertised.listeners") {
        ConfigValue::List(list) => Some(parse_endpoints(list, &c.listener_security_protocols, false)?),
        _ => None,
    };
    let is_controller = |e: &Endpoint| c.is_controller_listener(&e.listener);
    let brokers: Vec<Endpoint> =
        advertised.as_ref().unwrap_or(&c.listeners).iter().filter(|e| !is_controller(e)).cloned().collect();
    let mut controllers = Vec::new();
    for (i, name) in c.controller_listener_names.iter().enumerate() {
        let name = normalised_listener(name);
        let own = advertised.iter().flatten().find(|e| e.listener == name);
        if let Some(own) = own {
            controllers.push(own.clone());
            continue;
        }
        let Some(bound) = c.listeners.iter().find(|e| e.listener == name) else {
            continue;
        };
        let wildcard = matches!(bound.host.as_deref(), None | Some("0.0.0.0"));
        let voter = c.quorum_voters.iter().find(|v| v.id == c.node_id);
        let mut endpoint = bound.clone();
        match voter {
            // The voters name this node's address: that is what to advertise.
            Some(v) if i == 0 && wildcard => {
                endpoint.host = Some(v.host.clone());
                endpoint.port = v.port;
            }
            _ if wildcard => endpoint.host = None,
            _ => {}
        }
        controllers.push(endpoint);
    }
    c.advertised_broker_listeners = brokers;
    c.advertised_controller_listeners = controllers;
    Ok(())
}

fn check_protocols(c: &StaticConfig, warnings: &mut Vec<ConfigWarning>) -> Result<(), ConfigError> {
    const KEY: &str = "group.coordinator.rebalance.protocols";
    let protocols = c.get_list(KEY);
    if !protocols.iter().any(|p| p == "classic") {
        return rule("Disabling the 'classic' protocol is not supported.");
    }
    if protocols.iter().any(|p| p == "share") {
        warnings.push(ConfigWarning::Notice(format!(
            "'share' in `{KEY}` is deprecated. Share groups are controlled by the 'share.version' feature. \
             This config will be removed in Kafka 5.0."
        )));
    }
    let heartbeat = c.get_long("broker.heartbeat.interval.ms");
    let session = c.get_long("broker.session.timeout.ms");
    if heartbeat * 2 > session {
        warnings.push(ConfigWarning::Notice(format!(
            "broker.heartbeat.interval.ms ({heartbeat} ms) must be less than or equal to half of the \
             broker.session.timeout.ms ({session} ms)"
        )));
    }
    Ok(())
}

fn scala_set(ids: &[i32]) -> String {
    let shown: BTreeSet<String> = ids.iter().map(i32::to_string).collect();
    let shown: Vec<String> = shown.into_iter().collect();
    format!("Set({})", shown.join(", "))
}

fn check_roles(c: &StaticConfig, warnings: &mut Vec<ConfigWarning>) -> Result<(), ConfigError> {
    let ids: Vec<i32> = c.quorum_voters.iter().map(|v| v.id).collect();
    let id = c.node_id;
    if ids.is_empty() && c.quorum_bootstrap_servers.is_empty() {
        return rule(
            "If using process.roles, either controller.quorum.bootstrap.servers must contain the set of \
             bootstrap controllers or controller.quorum.voters must contain a parseable set of controllers.",
        );
    }
    if c.roles.broker && !c.roles.controller {
        return check_broker_only(c, &ids, warnings);
    }
    if !c.roles.broker {
        require(c.advertised_controller_listeners.len() == c.listeners.len(), || {
            "The listeners config must only contain KRaft controller listeners from \
                 controller.listener.names when process.roles=controller"
                .to_owned()
        })?;
        if c.get_string("inter.broker.listener.name").is_some() {
            require(!c.controller_listener_names.contains(&c.inter_broker_listener_name), || {
                "controller.listener.names must not contain an explicitly set \
                     inter.broker.listener.name configuration value when process.roles=controller"
                    .to_owned()
            })?;
        }
    }
    require(ids.is_empty() || ids.contains(&id), || {
        format!(
            "If process.roles contains the 'controller' role, the node id {id} must be included in the \
             set of voters controller.quorum.voters={}",
            scala_set(&ids)
        )
    })?;
    require(!c.advertised_controller_listeners.is_empty(), || {
        "controller.listener.names must contain at least one value appearing in the 'listeners' \
         configuration when running the KRaft controller role"
            .to_owned()
    })?;
    let names: BTreeSet<&str> = c.listeners.iter().map(|l| l.listener.as_str()).collect();
    require(c.controller_listener_names.iter().all(|n| names.contains(n.as_str())), || {
        "controller.listener.names must only contain values appearing in the 'listeners' \
             configuration when running the KRaft controller role"
            .to_owned()
    })
}

fn check_broker_only(
    c: &StaticConfig,
    ids: &[i32],
    warnings: &mut Vec<ConfigWarning>,
) -> Result<(), ConfigError> {
    let id = c.node_id;
    require(!ids.contains(&id), || {
        format!(
            "If process.roles contains just the 'broker' role, the node id {id} must not be included in \
             the set of voters controller.quorum.voters={}",
            scala_set(ids)
        )
    })?;
    require(!c.controller_listener_names.is_empty(), || {
        "controller.listener.names must contain at least one value when running KRaft with just the \
         broker role"
            .to_owned()
    })?;
    require(c.controller_listeners().next().is_none(), || {
        "controller.listener.names must not contain a value appearing in the 'listeners' configuration \
         when running KRaft with just the broker role"
            .to_owned()
    })?;
    for name in &c.controller_listener_names {
        let name = normalised_listener(name);
        if !c.listener_security_protocols.contains_key(&name) {
            return rule(format!(
                "Controller listener with name {name} defined in controller.listener.names not found in \
                 listener.security.protocol.map  (an explicit security mapping for each controller \
                 listener is required if listener.security.protocol.map is non-empty, or if there are \
                 security protocols other than PLAINTEXT in use)"
            ));
        }
    }
    require(!c.get_bool("controller.quorum.auto.join.enable"), || {
        "controller.quorum.auto.join.enable is only supported when process.roles contains the \
         'controller' role."
            .to_owned()
    })?;
    if c.controller_listener_names.len() > 1 {
        warnings.push(ConfigWarning::Notice(
            "controller.listener.names has multiple entries; only the first will be used since \
             process.roles=broker"
                .to_owned(),
        ));
    }
    for key in [
        "create.topic.policy.class.name",
        "alter.config.policy.class.name",
        "num.partitions",
        "default.replication.factor",
    ] {
        if c.explicit(key).is_some() {
            warnings.push(ConfigWarning::Notice(format!(
                "{key} is defined in broker. It should be defined in the controller role."
            )));
        }
    }
    Ok(())
}

fn join_names(endpoints: &[Endpoint]) -> String {
    let names: Vec<&str> = endpoints.iter().map(|e| e.listener.as_str()).collect();
    names.join(",")
}

fn check_listeners(c: &StaticConfig) -> Result<(), ConfigError> {
    let advertised = &c.advertised_broker_listeners;
    if c.roles.broker {
        require(!advertised.is_empty(), || {
            "There must be at least one broker advertised listener. Perhaps all listeners appear in \
             controller.listener.names?"
                .to_owned()
        })?;
        require(advertised.iter().any(|e| e.listener == c.inter_broker_listener_name), || {
            format!(
                "inter.broker.listener.name must be a listener name defined in advertised.listeners. \
                     The valid options based on currently configured listeners are {}",
                join_names(advertised)
            )
        })?;
        require(advertised.iter().all(|a| c.listeners.iter().any(|l| l.listener == a.listener)), || {
            format!(
                "advertised.listeners listener names must be equal to or a subset of the ones defined \
                     in listeners. Found {}. The valid options based on the current configuration are {}",
                join_names(advertised),
                join_names(&c.listeners)
            )
        })?;
        check_cordoned(c)?;
    }
    let routable = advertised
        .iter()
        .chain(&c.advertised_controller_listeners)
        .all(|e| e.host.as_deref() != Some("0.0.0.0"));
    require(routable, || {
        "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address."
            .to_owned()
    })
}

fn check_cordoned(c: &StaticConfig) -> Result<(), ConfigError> {
    let cordoned = c.get_list("cordoned.log.dirs");
    if cordoned.iter().any(|d| d == "*") {
        return require(cordoned.len() == 1, || {
            "When cordoned.log.dirs is set to *, it must not contain other values".to_owned()
        });
    }
    let unknown: Vec<&str> =
        cordoned.iter().filter(|d| !c.log_dirs.contains(d)).map(String::as_str).collect();
    require(unknown.is_empty(), || {
        format!(
            "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : {}",
            unknown.join(", ")
        )
    })
}

fn check_connections(c: &StaticConfig) -> Result<(), ConfigError> {
    if c.inter_broker_security_protocol.uses_sasl() {
        let mechanism = c.get_string("sasl.mechanism.inter.broker.protocol").unwrap_or("");
        let enabled = match c.listener_value(&c.inter_broker_listener_name, "sasl.enabled.mechanisms") {
            ConfigValue::List(list) => list,
            _ => Vec::new(),
        };
        require(enabled.iter().any(|m| m == mechanism), || {
            "sasl.mechanism.inter.broker.protocol must be included in sasl.enabled.mechanisms when SASL is \
             used for inter-broker communication"
                .to_owned()
        })?;
    }
    let queued = c.get_long("queued.max.request.bytes");
    require(queued <= 0 || queued >= c.get_long("socket.request.max.bytes"), || {
        "queued.max.request.bytes must be larger or equal to socket.request.max.bytes".to_owned()
    })?;
    const OVERRIDES: &str = "max.connections.per.ip.overrides";
    let overrides = parse_csv_map(OVERRIDES, c.get_string(OVERRIDES).unwrap_or(""))?;
    if c.get_int("max.connections.per.ip") == 0 {
        require(!overrides.is_empty(), || {
            format!("max.connections.per.ip can be set to zero only if {OVERRIDES} property is set.")
        })?;
    }
    for limit in overrides.values() {
        if limit.parse::<i32>().is_err() {
            return rule(format!("For input string: \"{limit}\""));
        }
    }
    let invalid: Vec<&str> =
        overrides.keys().filter(|a| !is_valid_host_pattern(a)).map(String::as_str).collect();
    if !invalid.is_empty() {
        return rule(format!("{OVERRIDES} contains invalid addresses : {}", invalid.join(",")));
    }
    let idle = c.get_long("connections.max.idle.ms");
    let delay = c.get_long("connection.failed.authentication.delay.ms");
    require(idle < 0 || delay < idle, || {
        format!(
            "connection.failed.authentication.delay.ms={delay} should always be less than \
             connections.max.idle.ms={idle} to prevent failed authentication responses from timing out"
        )
    })
}
