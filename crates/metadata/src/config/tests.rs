//! Tests of the configuration table and what is derived from it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn raw(text: &str) -> RawConfig {
    let mut raw = RawConfig::new();
    raw.load("server.properties", text).unwrap();
    raw
}

const COMBINED: &str = "process.roles=broker,controller\nnode.id=1\n\
    controller.quorum.voters=1@127.0.0.1:19093\n\
    listeners=PLAINTEXT://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093\n\
    controller.listener.names=CONTROLLER\n";

fn build(text: &str) -> Result<StaticConfig, StartError> {
    StaticConfig::build(&raw(text), &mut |_, _, _| None)
}

fn combined(more: &str) -> StaticConfig {
    build(&format!("{COMBINED}{more}")).unwrap()
}

#[test]
fn every_default_is_valid_and_rows_are_sorted() {
    for keys in [BROKER_KEYS, TOPIC_KEYS, GROUP_KEYS, CLIENT_METRICS_KEYS] {
        assert!(keys.is_sorted_by(|a, b| a.name < b.name));
        for key in keys {
            default_value(key);
            if let table::ConfigDefault::Value(text) = key.default {
                parse_value(key, text).unwrap();
            }
            assert!(!key.doc.is_empty(), "{} has no documentation", key.name);
        }
    }
    for key in TOPIC_KEYS {
        for s in table::topic_synonyms(key.name) {
            assert!(table::broker_key(s.name).is_some(), "{}", s.name);
        }
    }
}

#[test]
fn errors_have_kafkas_words() {
    let check = |name: &str, text: &str, expected: &str| {
        let key = table::topic_key(name).or(table::broker_key(name)).unwrap();
        assert_eq!(parse_value(key, text).unwrap_err().to_string(), expected);
    };
    check(
        "retention.ms",
        "abc",
        "Invalid value abc for configuration retention.ms: Not a number of type LONG",
    );
    check(
        "min.insync.replicas",
        "0",
        "Invalid value 0 for configuration min.insync.replicas: Value must be at least 1",
    );
    check(
        "min.cleanable.dirty.ratio",
        "1.5",
        "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
    );
    check(
        "compression.type",
        "lzma",
        "Invalid value lzma for configuration compression.type: String must be one of: uncompressed, zstd, \
         lz4, snappy, gzip, producer",
    );
    check(
        "cleanup.policy",
        "delete,nope",
        "Invalid value nope for configuration cleanup.policy: String must be one of: compact, delete",
    );
    check("cleanup.policy", "delete,", "Configuration 'cleanup.policy' values must not be empty.");
    check(
        "preallocate",
        "yes",
        "Invalid value yes for configuration preallocate: Expected value to be either true or false",
    );
    check(
        "compression.gzip.level",
        "10",
        "Invalid value 10 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
    );
    check(
        "process.roles",
        "",
        "Configuration 'process.roles' must not be empty. Valid values include: [broker, controller]",
    );
}

#[test]
fn java_doubles() {
    for (v, s) in [
        (0.5, "0.5"),
        (2.0, "2.0"),
        (f64::MAX, "1.7976931348623157E308"),
        (1e7, "1.0E7"),
        (0.0001, "1.0E-4"),
        (123456.75, "123456.75"),
    ] {
        assert_eq!(ConfigValue::Double(v).to_string(), s);
    }
}

#[test]
fn a_combined_node() {
    let c = combined("log.dirs=/a,/b\nnum.partitions=3\n");
    assert!(c.roles.is_combined());
    assert_eq!(c.node_id, 1);
    assert_eq!(c.get_int("broker.id"), 1);
    assert_eq!(c.log_dirs, ["/a", "/b"]);
    assert_eq!(c.metadata_log_dir, "/a");
    assert_eq!(c.get_int("num.partitions"), 3);
    assert_eq!(c.advertised_broker_listeners.len(), 1);
    assert_eq!(c.advertised_controller_listeners[0].port, 19093);
    assert_eq!(c.inter_broker_listener_name, "PLAINTEXT");
    assert_eq!(c.broker_listeners().count(), 1);
    assert!(c.warnings.is_empty(), "{:?}", c.warnings);
}

#[test]
fn a_bad_value_names_key_value_range_file_and_line() {
    let e = build(&format!("{COMBINED}# x\nnum.partitions=0\n")).unwrap_err();
    assert_eq!(
        e.to_string(),
        "Invalid value 0 for configuration num.partitions: Value must be at least 1 (allowed: [1,...]; \
         at server.properties:7)"
    );
    let e = build("node.id=1\n").unwrap_err();
    assert_eq!(
        e.error.to_string(),
        "Missing required configuration \"controller.listener.names\" which has no default value."
    );
}

#[test]
fn rules_between_keys() {
    let text = |s: &str| build(s).unwrap_err().error.to_string();
    assert_eq!(
        text(&COMBINED.replace("1@127", "2@127")),
        "requirement failed: If process.roles contains the 'controller' role, the node id 1 must be included \
         in the set of voters controller.quorum.voters=Set(2)"
    );
    assert_eq!(
        text(&COMBINED.replace(",CONTROLLER:", ",OTHER:")),
        "Error creating broker listeners from '[PLAINTEXT://127.0.0.1:19092, OTHER://127.0.0.1:19093]': No \
         security protocol defined for listener OTHER"
    );
    assert_eq!(
        text(&format!("{COMBINED}advertised.listeners=PLAINTEXT://0.0.0.0:9092\n")),
        "requirement failed: advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a \
         routable IP address."
    );
    assert_eq!(
        text(&COMBINED.replace("controller.quorum.voters=1@127.0.0.1:19093\n", "")),
        "If using process.roles, either controller.quorum.bootstrap.servers must contain the set of bootstrap \
         controllers or controller.quorum.voters must contain a parseable set of controllers."
    );
    assert_eq!(
        text(&COMBINED.replace("broker,controller", "broker")),
        "requirement failed: If process.roles contains just the 'broker' role, the node id 1 must not be \
         included in the set of voters controller.quorum.voters=Set(1)"
    );
}

#[test]
fn unknown_and_ignored_keys_warn() {
    let c = combined("no.such.key=1\nmetric.reporters=a.B\nlistener.name.plaintext.max.connections=5\n");
    let shown: Vec<String> = c.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "metric.reporters is accepted and ignored: it names a Java class (server.properties:7)",
            "unknown configuration key no.such.key (server.properties:6)",
        ]
    );
    assert_eq!(c.listener_value("PLAINTEXT", "max.connections"), ConfigValue::Int(5));
}

#[test]
fn overrides_win_and_variables_resolve() {
    let mut raw = raw(&format!(
        "{COMBINED}config.providers=env,file\n\
         config.providers.env.class=org.apache.kafka.common.config.provider.EnvVarConfigProvider\n\
         config.providers.file.class=org.apache.kafka.common.config.provider.FileConfigProvider\n\
         broker.rack=${{env:RACK}}-${{file:/x/y:key}}-${{other:z}}\n"
    ));
    raw.load_override("num.partitions=7").unwrap();
    assert!(raw.load_override("nonsense").is_err());
    let c = StaticConfig::build(&raw, &mut |kind, path, key| match kind {
        ProviderKind::Environment => Some(format!("env-{key}")),
        ProviderKind::File => Some(format!("{path}+{key}")),
        ProviderKind::Directory => None,
    })
    .unwrap();
    assert_eq!(c.get_int("num.partitions"), 7);
    assert_eq!(c.rack.as_deref(), Some("env-RACK-/x/y+key-${other:z}"));
}

#[test]
fn topic_values_fall_back_through_synonyms() {
    let c = combined("log.retention.minutes=5\nlog.roll.hours=2\nlog.flush.scheduler.interval.ms=9\n");
    let own = BTreeMap::from([("segment.bytes", "2097152"), ("cleanup.policy", "compact")]);
    let log = LogConfig::resolve(&c, |n| own.get(n).copied());
    assert_eq!(log.retention_ms, 300_000);
    assert_eq!(log.segment_ms, 7_200_000);
    assert_eq!(log.flush_ms, 9);
    assert_eq!(log.segment_bytes, 2_097_152);
    assert!(log.compact && !log.delete);
}

#[test]
fn values_of_another_version_are_named_and_not_followed() {
    let own = [("segment.bytes", "16384"), ("retention.ms", "5"), ("not.of.this.version", "x")];
    let told: Vec<String> = unusable_topic_values(own.into_iter()).iter().map(ToString::to_string).collect();
    assert_eq!(told, ["Invalid value 16384 for configuration segment.bytes: Value must be at least 1048576"]);
    let log = LogConfig::resolve(&combined(""), |n| own.iter().find(|(k, _)| *k == n).map(|(_, v)| *v));
    assert_eq!((log.segment_bytes, log.retention_ms), (1 << 30, 5));
}

#[test]
fn topic_changes_are_checked_as_a_whole() {
    let c = combined("");
    let check = |new: &[(&str, &str)]| validate_topic_config(&c, |_| None, new).map_err(|e| e.to_string());
    assert_eq!(check(&[("retention.ms", "1")]), Ok(()));
    assert_eq!(check(&[("x", "1")]), Err("Unknown topic config name: x".to_owned()));
    assert_eq!(
        check(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]),
        Err("conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)".to_owned())
    );
    assert_eq!(
        check(&[("remote.storage.enable", "true")]),
        Err(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote \
             log storage."
                .to_owned()
        )
    );
}

#[test]
fn dynamic_changes_of_a_broker() {
    let c = combined("");
    let check = |per_broker: bool, k: &str, v: &str| {
        let props = BTreeMap::from([(k.to_owned(), v.to_owned())]);
        validate_broker_change(&c, per_broker, &props).map_err(|e| e.to_string())
    };
    assert_eq!(check(false, "log.retention.ms", "5"), Ok(()));
    assert_eq!(
        check(true, "num.partitions", "5"),
        Err("Cannot update these configs dynamically: [num.partitions]".to_owned())
    );
    assert_eq!(
        check(false, "cordoned.log.dirs", ""),
        Err("Cannot update these configs at default cluster level, broker id must be specified: \
             [cordoned.log.dirs]"
            .to_owned())
    );
    assert_eq!(
        check(false, "num.io.threads", "100"),
        Err("Invalid value org.apache.kafka.common.config.ConfigException: Dynamic thread count update \
             validation failed for num.io.threads=100, value should not be greater than double the current \
             value 8 for configuration Invalid dynamic configuration"
            .to_owned())
    );
    assert_eq!(
        check(false, "log.cleaner.dedupe.buffer.size", "1048576"),
        Err("requirement failed: log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread."
            .to_owned())
    );
    assert_eq!(
        check(false, "log.cleaner.threads", "3"),
        Err("Invalid value org.apache.kafka.common.config.ConfigException: Log cleaner threads cannot be \
             increased to more than double the current value 1 for configuration Invalid dynamic configuration"
            .to_owned())
    );
    assert_eq!(check(false, "log.cleaner.threads", "2"), Ok(()));
    assert!(check(false, "log.local.retention.ms", "-1").is_err());
    let changed = c.with_dynamic(
        [("log.retention.ms", "5"), ("num.partitions", "9")].into_iter(),
        [("log.retention.ms", "6")].into_iter(),
    );
    assert_eq!(changed.get_long("log.retention.ms"), 6);
    assert_eq!(changed.get_int("num.partitions"), 1);
}

#[test]
fn groups_and_subscriptions() {
    let c = combined("");
    let group = |k: &str, v: &str| validate_group_config(&c, &[(k, v)]).map_err(|e| e.to_string());
    assert_eq!(group("consumer.session.timeout.ms", "50000"), Ok(()));
    assert_eq!(
        group("consumer.session.timeout.ms", "1"),
        Err("consumer.session.timeout.ms must be in the range 45000 to 60000 inclusive.".to_owned())
    );
    assert!(group("share.auto.offset.reset", "by_duration:PT1H30M").is_ok());
    assert!(group("share.auto.offset.reset", "by_duration:-PT1H").is_err());
    let sub = |k: &str, v: &str| validate_client_metrics_config("s", &[(k, v)]).map_err(|e| e.to_string());
    assert_eq!(sub("match", "client_id=a.*"), Ok(()));
    assert_eq!(sub("match", "nope=a"), Err("Illegal client matching pattern: nope=a".to_owned()));
    assert_eq!(
        sub("interval.ms", "1"),
        Err("Invalid value 1 for interval.ms, interval must be between 100 and 3600000 (1 hour)".to_owned())
    );
}

#[test]
fn properties_as_java_reads_them() {
    let text = "# comment\n! also\n  a = 1\nb:2\nc 3\nd\\ e=f\\\n   g\\u0041\nempty=\nkey\\:x\\=y = v \\t\n\
                bare\r\nz\t=\tq\\\\\n\\u0061b==c\n";
    let got: Vec<(String, String, u32)> =
        parse_properties(text).unwrap().into_iter().map(|p| (p.key, p.value, p.line)).collect();
    let expected = [
        ("a", "1", 3),
        ("b", "2", 4),
        ("c", "3", 5),
        ("d e", "fgA", 6),
        ("empty", "", 8),
        ("key:x=y", "v \t", 9),
        ("bare", "", 10),
        ("z", "q\\", 11),
        ("ab", "=c", 12),
    ]
    .map(|(k, v, l)| (k.to_owned(), v.to_owned(), l));
    assert_eq!(got, expected);
    assert_eq!(parse_properties("ok=1\nbad=\\u12x4\n"), Err(MalformedEscape { line: 2 }));
}

proptest! {
    #[test]
    fn written_properties_are_read_back(pairs in prop::collection::vec((".{1,12}", ".{0,20}"), 0..8)) {
        let mut text = String::new();
        for (k, v) in &pairs {
            text += &format!("{}={}\n", escape_property(k, true), escape_property(v, false));
        }
        let got: Vec<(String, String)> =
            parse_properties(&text).unwrap().into_iter().map(|p| (p.key, p.value)).collect();
        prop_assert_eq!(got, pairs);
    }

    #[test]
    fn any_text_is_read_without_panic(text in "(\\PC|[\\\\\n\r\t =:#!u]){0,200}") {
        let _ = parse_properties(&text);
    }

    #[test]
    fn any_value_is_judged_without_panic(text in "\\PC{0,20}") {
        for key in BROKER_KEYS.iter().chain(TOPIC_KEYS).chain(GROUP_KEYS).chain(CLIENT_METRICS_KEYS) {
            let _ = parse_value(key, &text);
        }
    }
}
