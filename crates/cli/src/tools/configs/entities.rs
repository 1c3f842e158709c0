//! Which entities a command is about.

use crate::args::Parsed;
use crate::error::{ToolError, ToolResult};

/// Every entity type that can be configured through a broker or controller.
const TYPES: &[&str] =
    &["broker-loggers", "topics", "clients", "users", "brokers", "ips", "client-metrics", "groups"];

/// Options that name a type and an entity at once.
const FLAGS: &[(&str, &str)] = &[
    ("topic", "topics"),
    ("client", "clients"),
    ("user", "users"),
    ("broker", "brokers"),
    ("broker-logger", "broker-loggers"),
    ("ip", "ips"),
    ("client-metrics", "client-metrics"),
    ("group", "groups"),
];

const DEFAULT_FLAGS: &[(&str, &str)] = &[
    ("client-defaults", "clients"),
    ("user-defaults", "users"),
    ("broker-defaults", "brokers"),
    ("ip-defaults", "ips"),
];

/// Entity types and names, in step. The empty name is the default entity; a name may be missing for `--describe`.
#[derive(Debug, Clone)]
pub struct Entities {
    pub types: Vec<String>,
    pub names: Vec<String>,
}

/// `topics` -> `topic`.
pub fn singular(entity_type: &str) -> &str {
    &entity_type[..entity_type.len().saturating_sub(1)]
}

impl Entities {
    pub fn of(options: &Parsed) -> Result<Entities, ToolError> {
        let mut types: Vec<String> = options.texts("entity-type").into_iter().map(str::to_owned).collect();
        let given = options.texts("entity-name");
        let mut given = given.into_iter();
        let mut names: Vec<String> = options
            .order()
            .iter()
            .filter_map(|option| match *option {
                "entity-name" => given.next().map(str::to_owned),
                "entity-default" => Some(String::new()),
                _ => None,
            })
            .collect();
        for (flag, entity_type) in FLAGS {
            if let Some(name) = options.text(flag) {
                types.push((*entity_type).to_owned());
                names.push(name.to_owned());
            }
        }
        for (flag, entity_type) in DEFAULT_FLAGS.iter().filter(|(f, _)| options.has(f)) {
            let _ = flag;
            types.push((*entity_type).to_owned());
            names.push(String::new());
        }
        for (i, t) in types.iter().enumerate() {
            if types[..i].contains(t) {
                return Err(ToolError::message(format!("Duplicate entity type(s) specified: {t}")));
            }
        }
        Ok(Entities { types, names })
    }

    pub fn first_type(&self) -> &str {
        self.types.first().map_or("", String::as_str)
    }

    fn has(&self, entity_type: &str) -> bool {
        self.types.iter().any(|t| t == entity_type)
    }

    pub fn check(&self, options: &Parsed) -> ToolResult {
        let fail = |text: String| Err(ToolError::Message(text));
        if let Some(bad) = self.types.iter().find(|t| !TYPES.contains(&t.as_str())) {
            return fail(format!(
                "Invalid entity type {bad}, the entity type must be one of {} with a --bootstrap-server or \
                 --bootstrap-controller argument",
                TYPES.join(", ")
            ));
        }
        if self.types.is_empty() {
            return fail("At least one entity type must be specified".to_owned());
        }
        if self.types.len() > 1 && !(self.types.len() == 2 && self.has("users") && self.has("clients")) {
            return fail("Only 'users' and 'clients' entity types may be specified together".to_owned());
        }
        let general = ["entity-name", "entity-type", "entity-default"].iter().any(|o| options.has(o));
        if general && FLAGS.iter().chain(DEFAULT_FLAGS).any(|(flag, _)| options.has(flag)) {
            return fail(
                "--entity-{type,name,default} should not be used in conjunction with specific entity flags"
                    .to_owned(),
            );
        }
        let has_name = self.names.iter().any(|n| !n.is_empty());
        let has_default = self.names.iter().any(String::is_empty);
        let all = self.types.join(",");
        if (self.has("brokers") || self.has("broker-loggers"))
            && let Some(name) = self.names.iter().find(|n| !n.is_empty() && n.parse::<i32>().is_err())
        {
            return fail(format!(
                "The entity name for {} must be a valid integer broker id, but it is: {name}",
                self.first_type()
            ));
        }
        if self.has("ips") {
            use std::net::ToSocketAddrs;
            for name in self.names.iter().filter(|n| !n.is_empty()) {
                if name.parse::<std::net::IpAddr>().is_err()
                    && (name.as_str(), 0u16).to_socket_addrs().is_err()
                {
                    return fail(format!(
                        "The entity name for {} must be a valid IP or resolvable host, but it is: {name}",
                        self.first_type()
                    ));
                }
            }
        }
        let with_defaults = ["users", "clients", "brokers", "ips"].iter().any(|t| self.has(t));
        if options.has("describe") {
            if !with_defaults && options.has("entity-default") {
                return fail(format!("--entity-default must not be specified with --describe of {all}"));
            }
            if self.has("broker-loggers") && !has_name {
                return fail(format!("An entity name must be specified with --describe of {all}"));
            }
        } else if with_defaults {
            if !has_name && !has_default {
                return fail(
                    "An entity-name or default entity must be specified with --alter of users, clients, brokers or ips"
                        .to_owned(),
                );
            }
        } else if !has_name {
            return fail(format!("An entity name must be specified with --alter of {all}"));
        }
        Ok(())
    }
}
