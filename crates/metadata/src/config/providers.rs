//! `${provider:path:key}` in values, answered by the providers of `config.providers`.

use std::collections::BTreeMap;

use super::value::{ConfigError, split_list};

/// What a provider answers from. Reading is the caller's business: the closure gets the kind, the
/// path (empty where none is written) and the key; `None` leaves the text as it stands.
pub type Resolver<'a> = dyn FnMut(ProviderKind, &str, &str) -> Option<String> + 'a;

/// The providers that Kafka ships.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderKind {
    /// Environment variables; the path is not used.
    Environment,
    /// A key of a properties file.
    File,
    /// The content of a file in a directory.
    Directory,
}

fn kind_of_class(class: &str) -> Option<ProviderKind> {
    match class.rsplit('.').next() {
        Some("EnvVarConfigProvider") => Some(ProviderKind::Environment),
        Some("FileConfigProvider") => Some(ProviderKind::File),
        Some("DirectoryConfigProvider") => Some(ProviderKind::Directory),
        _ => None,
    }
}

/// The providers that a configuration declares (`config.providers`, `config.providers.<name>.class`).
pub fn declared_providers(
    values: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, ProviderKind>, ConfigError> {
    let mut out = BTreeMap::new();
    let Some(names) = values.get("config.providers") else {
        return Ok(out);
    };
    for name in split_list(names) {
        let class_key = format!("config.providers.{name}.class");
        let Some(class) = values.get(&class_key) else {
            continue;
        };
        let kind = kind_of_class(class.trim()).ok_or_else(|| {
            ConfigError::invalid(
                &class_key,
                class,
                "only EnvVarConfigProvider, FileConfigProvider and DirectoryConfigProvider exist here",
            )
        })?;
        out.insert(name, kind);
    }
    Ok(out)
}

/// Replaces every `${provider:[path:]key}` whose provider is declared. Values that come out are
/// not searched again. Source: `ConfigTransformer`.
pub fn resolve_variables(
    text: &str,
    providers: &BTreeMap<String, ProviderKind>,
    resolver: &mut Resolver<'_>,
) -> String {
    if providers.is_empty() || !text.contains("${") {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        let after = &rest[start + 2..];
        let Some(end) = after.find('}') else {
            out.push_str(&rest[start..]);
            return out;
        };
        let inner = &after[..end];
        let replaced = inner.split_once(':').and_then(|(provider, tail)| {
            let kind = providers.get(provider)?;
            // The path may be absent and may hold colons: the key follows the last one.
            let (path, key) = tail.rsplit_once(':').unwrap_or(("", tail));
            resolver(*kind, path, key)
        });
        match replaced {
            Some(value) => out.push_str(&value),
            None => out.push_str(&rest[start..start + 2 + end + 1]),
        }
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    out
}
