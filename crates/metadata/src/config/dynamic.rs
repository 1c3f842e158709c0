//! Which dynamic changes a broker accepts (`DynamicBrokerConfig`).

use std::collections::BTreeMap;

use super::listeners::normalised_listener;
use super::static_config::StaticConfig;
use super::table::{DynamicMode, broker_key, listener_key_base};
use super::value::{ConfigError, ConfigValue, java_list, parse_value};

/// TLS keys, which can be changed only for one listener (`SslConfigs.RECONFIGURABLE_CONFIGS`).
const LISTENER_ONLY: &[&str] = &[
    "ssl.keystore.type",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.key.password",
    "ssl.truststore.type",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.truststore.certificates",
];

/// Keys of a listener that may also be set for the whole cluster.
const CLUSTER_LEVEL_LISTENER_KEYS: &[&str] =
    &["max.connections", "max.connection.creation.rate", "num.network.threads"];

const THREAD_KEYS: &[&str] = &[
    "background.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
    "remote.log.manager.copier.thread.pool.size",
    "remote.log.manager.expiration.thread.pool.size",
    "remote.log.manager.follower.thread.pool.size",
    "remote.log.reader.threads",
];

fn refuse(names: Vec<&str>, text: &str) -> Result<(), ConfigError> {
    if names.is_empty() {
        return Ok(());
    }
    Err(ConfigError::Rule(format!("{text}: {}", java_list(&names))))
}

/// Checks the dynamic configuration that a broker (or the cluster's default) would have after a
/// change. `current` is the configuration in force at the broker that is asked.
pub fn validate_broker_change(
    current: &StaticConfig,
    per_broker: bool,
    props: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    let names: Vec<&str> = props.keys().map(String::as_str).collect();
    let matching =
        |test: &dyn Fn(&str) -> bool| -> Vec<&str> { names.iter().copied().filter(|n| test(n)).collect() };
    refuse(
        matching(&|n| broker_key(n).is_some_and(|k| !k.is_dynamic() && !n.starts_with("ottla."))),
        "Cannot update these configs dynamically",
    )?;
    refuse(
        matching(&|n| LISTENER_ONLY.contains(&n)),
        "These security configs can be dynamically updated only per-listener using the listener prefix",
    )?;
    let mut parsed = Vec::new();
    for (name, text) in props {
        let base = listener_key_base(name).unwrap_or(name);
        if let Some(key) = broker_key(base).filter(|k| k.is_dynamic()) {
            parsed.push((base, parse_value(key, text)?));
        }
    }
    if !per_broker {
        refuse(
            matching(&|n| match listener_key_base(n) {
                Some(base) => !CLUSTER_LEVEL_LISTENER_KEYS.contains(&base),
                None => broker_key(n).is_some_and(|k| k.dynamic == DynamicMode::PerBroker),
            }),
            "Cannot update these configs at default cluster level, broker id must be specified",
        )?;
    }
    for (name, value) in &parsed {
        if let (true, ConfigValue::Int(count)) = (THREAD_KEYS.contains(name), value) {
            validate_thread_count(name, *count, current.get_int(name)).map_err(wrap)?;
        }
    }
    check_cleaner_threads(current, &parsed).map_err(wrap)?;
    check_cordoned(current, &parsed).map_err(wrap)?;
    check_listeners(current, &parsed)
}

/// What Kafka makes of a refusal by a running component.
fn wrap(e: ConfigError) -> ConfigError {
    ConfigError::Rule(format!(
        "Invalid value org.apache.kafka.common.config.ConfigException: {e} for configuration Invalid \
         dynamic configuration"
    ))
}

/// A thread pool changes at most by a factor of two in one step.
pub fn validate_thread_count(name: &str, new: i32, current: i32) -> Result<(), ConfigError> {
    if new == current {
        return Ok(());
    }
    let fail = |what: String| {
        Err(ConfigError::Rule(format!(
            "Dynamic thread count update validation failed for {name}={new}, {what}"
        )))
    };
    if new <= 0 {
        return fail("value should be at least 1".to_owned());
    }
    if new < current / 2 {
        return fail(format!("value should be at least half the current value {current}"));
    }
    if new > current.saturating_mul(2) {
        return fail(format!("value should not be greater than double the current value {current}"));
    }
    Ok(())
}

/// Source: Kafka `LogCleaner.validateReconfiguration`.
fn check_cleaner_threads(current: &StaticConfig, parsed: &[(&str, ConfigValue)]) -> Result<(), ConfigError> {
    let current = current.get_int("log.cleaner.threads");
    for (name, value) in parsed {
        let ("log.cleaner.threads", ConfigValue::Int(threads)) = (*name, value) else {
            continue;
        };
        let fail = |text: String| Err(ConfigError::Rule(text));
        if *threads < 1 {
            return fail("Log cleaner threads should be at least 1".to_owned());
        }
        if *threads < current / 2 {
            return fail(format!(
                "Log cleaner threads cannot be reduced to less than half the current value {current}"
            ));
        }
        if *threads > current.saturating_mul(2) {
            return fail(format!(
                "Log cleaner threads cannot be increased to more than double the current value {current}"
            ));
        }
    }
    Ok(())
}

fn check_cordoned(current: &StaticConfig, parsed: &[(&str, ConfigValue)]) -> Result<(), ConfigError> {
    for (name, value) in parsed {
        let ("cordoned.log.dirs", ConfigValue::List(dirs)) = (*name, value) else {
            continue;
        };
        if dirs.iter().any(|d| d == "*") {
            continue;
        }
        if let Some(dir) = dirs.iter().find(|d| !current.log_dirs.contains(d)) {
            return Err(ConfigError::invalid(
                name,
                java_list(dirs),
                format!(
                    "Invalid entry in cordoned.log.dirs: {dir}. All cordoned log dirs must be entries of \
                     log.dirs or log.dir."
                ),
            ));
        }
    }
    Ok(())
}

fn check_listeners(current: &StaticConfig, parsed: &[(&str, ConfigValue)]) -> Result<(), ConfigError> {
    for (name, value) in parsed {
        let ("listeners", ConfigValue::List(entries)) = (*name, value) else {
            continue;
        };
        let listeners =
            super::listeners::parse_endpoints(entries, &current.listener_security_protocols, true)?;
        let missing = current
            .advertised_broker_listeners
            .iter()
            .any(|a| !listeners.iter().any(|l| l.listener == normalised_listener(&a.listener)));
        if missing {
            return Err(wrap(ConfigError::Rule(
                "Advertised listeners must be a subset of listeners".to_owned(),
            )));
        }
    }
    Ok(())
}
