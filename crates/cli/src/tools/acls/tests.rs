//! From command lines to entries, and to what is wrong.

use super::request::{additions, check, requested};
use super::{names, parser};
use crate::error::ToolError;

/// The entries that a command line adds, a line each.
fn added(line: &str) -> Result<Vec<String>, String> {
    let parser = parser();
    let words: Vec<String> =
        format!("--bootstrap-server b {line}").split_whitespace().map(str::to_owned).collect();
    let text = |error: ToolError| error.text();
    let options = parser.parse(&words).map_err(text)?;
    check(&parser, &options).map_err(text)?;
    let found = match options.has("add") {
        true => additions(&parser, &options),
        false => requested(&parser, &options),
    };
    let found = found.map_err(text)?;
    let mut lines = Vec::new();
    for (pattern, accesses) in &found {
        if accesses.is_empty() {
            lines.push(format!(
                "{} {} everything",
                names::resource_type(pattern.resource_type),
                pattern.name
            ));
        }
        for access in accesses {
            lines.push(format!(
                "{} {} {} {} {} {} {}",
                names::resource_type(pattern.resource_type),
                pattern.name,
                names::pattern_type(pattern.pattern_type),
                access.principal,
                access.host,
                names::operation(access.operation),
                names::permission(access.permission)
            ));
        }
    }
    Ok(lines)
}

#[test]
fn principals_hosts_operations_and_resources_are_combined() {
    let lines = added(
        "--add --topic t --group g --allow-principal User:a --deny-principal User:b --deny-host 1.2.3.4 \
         --operation Read --operation describe --resource-pattern-type prefixed",
    );
    let of = |resource: &str| {
        ["a * READ ALLOW", "a * DESCRIBE ALLOW", "b 1.2.3.4 READ DENY", "b 1.2.3.4 DESCRIBE DENY"]
            .map(|rest| format!("{resource} PREFIXED User:{rest}"))
    };
    assert_eq!(lines.unwrap(), [of("TOPIC t"), of("GROUP g")].concat());
    let all = added("--add --cluster --allow-principal User:* --allow-host h").unwrap();
    assert_eq!(all, ["CLUSTER kafka-cluster LITERAL User:* h ALL ALLOW"]);
    assert_eq!(added("--remove --topic t").unwrap(), ["TOPIC t everything"]);
}

#[test]
fn roles_stand_for_what_they_need() {
    let lines = added(
        "--add --producer --consumer --idempotent --topic t --group g --transactional-id x --allow-principal User:a",
    );
    let of = |resource: &str, operation: &str| format!("{resource} LITERAL User:a * {operation} ALLOW");
    assert_eq!(
        lines.unwrap(),
        [
            of("TOPIC t", "READ"),
            of("TOPIC t", "WRITE"),
            of("TOPIC t", "CREATE"),
            of("TOPIC t", "DESCRIBE"),
            of("GROUP g", "READ"),
            of("CLUSTER kafka-cluster", "IDEMPOTENT_WRITE"),
            of("TRANSACTIONAL_ID x", "WRITE"),
            of("TRANSACTIONAL_ID x", "DESCRIBE"),
        ]
    );
}

#[test]
fn wrong_use_is_said_as_kafka_says_it() {
    let wrong = |line: &str, text: &str| {
        let error = added(line).unwrap_err();
        assert!(error.contains(text), "{line}: {error}");
    };
    wrong("--add --list --topic t", "exactly one action");
    wrong("--topic t", "exactly one action");
    wrong("--add --allow-principal User:a", "at least one resource");
    wrong("--add --topic t", "--allow-principal, --deny-principal");
    wrong("--add --topic t --allow-principal a", "exit code 1");
    wrong(
        "--add --topic t --allow-principal User:a --resource-pattern-type match",
        "value of 'MATCH' is not valid",
    );
    wrong("--add --topic t --allow-principal User:a --resource-pattern-type odd", "exit code 1");
    wrong(
        "--add --topic t --allow-principal User:a --operation odd",
        "ResourceType TOPIC only supports operations [ALL, READ",
    );
    wrong("--list --allow-principal User:a", "can't be used");
    wrong("--add --producer --topic t --operation read", "can't be used");
    wrong("--add --producer", "With --producer you must specify a --topic");
    wrong("--add --consumer --topic t", "With --consumer you must specify");
    wrong("--add --idempotent --topic t", "only available if --producer");
    wrong("--add --principal User:a", "only available if --list");
    wrong("--list --bootstrap-controller c", "Only one of --bootstrap-server");
}
