//! From options to what is added, removed or listed.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{
    self, ALL, ALLOW, Access, CLUSTER, CREATE, DELEGATION_TOKEN, DENY, DESCRIBE, GROUP, IDEMPOTENT_WRITE,
    LITERAL, Pattern, READ, TOPIC, TRANSACTIONAL_ID, USER, WRITE,
};
use crate::args::{Parsed, Parser};
use crate::error::{ToolError, ToolResult};

/// Entries by the resources that they are for.
pub type Accesses = BTreeMap<Pattern, BTreeSet<Access>>;

const ACTIONS: &[&str] = &["add", "remove", "list"];

/// What Kafka's tool checks before it does anything.
pub fn check(parser: &Parser, options: &Parsed) -> ToolResult {
    match (options.has("bootstrap-server"), options.has("bootstrap-controller")) {
        (true, true) => {
            return Err(
                parser.usage("Only one of --bootstrap-server or --bootstrap-controller must be specified")
            );
        }
        (false, false) => {
            return Err(parser.usage("One of --bootstrap-server or --bootstrap-controller must be specified"));
        }
        _ => {}
    }
    if ACTIONS.iter().filter(|action| options.has(action)).count() != 1 {
        return Err(parser.usage("Command must include exactly one action: --list, --add, --remove. "));
    }
    let not_listed = ["producer", "consumer", "allow-host", "allow-principal", "deny-host", "deny-principal"];
    parser.forbid(options, "list", &not_listed)?;
    // The two roles say which operations are meant, and only allow.
    let implied = ["operation", "deny-principal", "deny-host"];
    parser.forbid(options, "producer", &implied)?;
    parser.forbid(options, "consumer", &implied)?;
    let (producer, consumer) = (options.has("producer"), options.has("consumer"));
    if options.has("principal") && !options.has("list") {
        return Err(parser.usage("The --principal option is only available if --list is set"));
    }
    if producer && !options.has("topic") {
        return Err(parser.usage("With --producer you must specify a --topic"));
    }
    if options.has("idempotent") && !producer {
        return Err(parser.usage("The --idempotent option is only available if --producer is set"));
    }
    let elsewhere = !producer && (options.has("cluster") || options.has("transactional-id"));
    if consumer && (!options.has("topic") || !options.has("group") || elsewhere) {
        return Err(parser.usage(
            "With --consumer you must specify a --topic and a --group and no --cluster or --transactional-id option should be specified.",
        ));
    }
    Ok(())
}

fn pattern_type(options: &Parsed) -> Result<i8, ToolError> {
    let text = options.text("resource-pattern-type").unwrap_or("LITERAL");
    names::parse_pattern_type(text).ok_or_else(|| {
        super::failure(&format!("Cannot parse argument '{text}' of option resource-pattern-type"))
    })
}

/// The resources that the options name.
pub fn patterns(options: &Parsed) -> Result<BTreeSet<Pattern>, ToolError> {
    let pattern_type = pattern_type(options)?;
    let mut found = BTreeSet::new();
    for (option, resource_type) in [
        ("topic", TOPIC),
        ("group", GROUP),
        ("transactional-id", TRANSACTIONAL_ID),
        ("delegation-token", DELEGATION_TOKEN),
        ("user-principal", USER),
    ] {
        for name in options.texts(option) {
            let name = if resource_type == TRANSACTIONAL_ID { name } else { name.trim() };
            found.insert(Pattern::new(resource_type, name, pattern_type));
        }
    }
    if pattern_type == LITERAL && (options.has("cluster") || options.has("idempotent")) {
        found.insert(Pattern::cluster());
    }
    Ok(found)
}

/// The principals of an option, as `type:name`.
pub fn principals(options: &Parsed, option: &str) -> Result<BTreeSet<String>, ToolError> {
    let principal = |text: &str| match text.contains(':') {
        true => Ok(text.to_owned()),
        false => Err(super::failure(&format!(
            "expected a string in format principalType:principalName but got {text}"
        ))),
    };
    options.texts(option).into_iter().map(|text| principal(text.trim())).collect()
}

fn hosts(options: &Parsed, option: &str, principals: &str) -> BTreeSet<String> {
    if options.has(option) {
        return options.texts(option).into_iter().map(|host| host.trim().to_owned()).collect();
    }
    options.has(principals).then(|| "*".to_owned()).into_iter().collect()
}

fn accesses(options: &Parsed, operations: &[i8]) -> Result<BTreeSet<Access>, ToolError> {
    let mut found = BTreeSet::new();
    for (permission, principal_option, host_option) in
        [(ALLOW, "allow-principal", "allow-host"), (DENY, "deny-principal", "deny-host")]
    {
        let hosts = hosts(options, host_option, principal_option);
        for principal in principals(options, principal_option)? {
            for host in &hosts {
                found.extend(operations.iter().map(|operation| Access {
                    principal: principal.clone(),
                    host: host.clone(),
                    operation: *operation,
                    permission,
                }));
            }
        }
    }
    Ok(found)
}

/// What `--add` adds and `--remove` removes. No entries for a resource means all of them.
pub fn requested(parser: &Parser, options: &Parsed) -> Result<Accesses, ToolError> {
    let patterns = patterns(options)?;
    let mut found = Accesses::new();
    let (producer, consumer) = (options.has("producer"), options.has("consumer"));
    let nothing_named = || {
        parser.usage("You must provide at least one resource: --topic <topic> or --cluster or --group <group> or --delegation-token <Delegation Token ID>")
    };
    if patterns.is_empty() {
        return Err(nothing_named());
    }
    let mut give = |resource_type: i8, operations: &[i8]| -> ToolResult {
        let accesses = accesses(options, operations)?;
        for pattern in patterns.iter().filter(|pattern| pattern.resource_type == resource_type) {
            found.entry(pattern.clone()).or_default().extend(accesses.clone());
        }
        Ok(())
    };
    if producer {
        give(TOPIC, &[WRITE, DESCRIBE, CREATE])?;
        give(TRANSACTIONAL_ID, &[WRITE, DESCRIBE])?;
    }
    if consumer {
        give(TOPIC, &[READ, DESCRIBE])?;
        give(GROUP, &[READ])?;
    }
    if producer && options.has("idempotent") {
        found.entry(Pattern::cluster()).or_default().extend(accesses(options, &[IDEMPOTENT_WRITE])?);
    }
    if !producer && !consumer {
        let mut operations: Vec<i8> =
            options.texts("operation").into_iter().map(|text| names::parse_operation(text.trim())).collect();
        if operations.is_empty() {
            operations.push(ALL);
        }
        let accesses = accesses(options, &operations)?;
        found.extend(patterns.into_iter().map(|pattern| (pattern, accesses.clone())));
    }
    supported(parser, &found)?;
    Ok(found)
}

fn supported(parser: &Parser, requested: &Accesses) -> ToolResult {
    for (pattern, accesses) in requested {
        let mut valid = vec![ALL];
        valid.extend(names::supported_operations(pattern.resource_type));
        if accesses.iter().any(|access| !valid.contains(&access.operation)) {
            let valid: Vec<&str> = valid.into_iter().map(names::operation).collect();
            return Err(parser.usage(format!(
                "ResourceType {} only supports operations [{}]",
                names::resource_type(pattern.resource_type),
                valid.join(", ")
            )));
        }
    }
    Ok(())
}

/// What `--add` adds: under names that resources can have, and never "all entries".
pub fn additions(parser: &Parser, options: &Parsed) -> Result<Accesses, ToolError> {
    let pattern_type = pattern_type(options)?;
    if !names::is_specific(pattern_type) {
        return Err(parser.usage(format!(
            "A '--resource-pattern-type' value of '{}' is not valid when adding acls.",
            names::pattern_type(pattern_type)
        )));
    }
    let requested = requested(parser, options)?;
    if requested.values().any(BTreeSet::is_empty) {
        return Err(parser
            .usage("You must specify one of: --allow-principal, --deny-principal when trying to add ACLs."));
    }
    debug_assert!(requested.keys().all(|p| p.resource_type != CLUSTER || p.pattern_type == LITERAL));
    Ok(requested)
}
