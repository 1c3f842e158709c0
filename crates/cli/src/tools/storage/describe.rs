//! `info`, `version-mapping`, `feature-dependencies`.

use std::path::Path;

use ottla_metadata::features::{Feature, METADATA_VERSION, MetadataVersion};
use ottla_storage::dirs::MetaProperties;
use serde_json::{Map, Value};

use super::{Failure, directories, load_config};
use crate::output::{self, Entry};
use crate::tools::features;

/// Tells what the directories of a node are, and what is wrong with them.
pub(super) fn info(config: &str) -> Result<i32, Failure> {
    let config = load_config(config)?;
    let mut found = Vec::new();
    let mut problems = Vec::new();
    let mut first: Option<MetaProperties> = None;
    for dir in directories(&config) {
        let path = Path::new(&dir);
        if !path.is_dir() {
            problems.push(if path.exists() {
                format!("{dir} is not a directory")
            } else {
                format!("{dir} does not exist")
            });
            continue;
        }
        found.push(dir.clone());
        let meta = path.join("meta.properties");
        if !meta.exists() {
            problems.push(format!("{dir} is not formatted."));
            continue;
        }
        let read = std::fs::read(&meta)
            .map_err(|e| e.to_string())
            .and_then(|bytes| MetaProperties::parse(&bytes).map_err(|e| e.to_string()));
        match (read, &first) {
            (Err(e), _) => problems.push(format!("Error loading {}: {e}", meta.display())),
            (Ok(p), None) => first = Some(p),
            (Ok(p), Some(f)) if p.cluster_id != f.cluster_id => {
                problems.push("Mismatched cluster IDs between storage directories.".to_owned());
            }
            (Ok(p), Some(f)) if p.node_id != f.node_id => {
                problems.push("Mismatched node IDs between storage directories.".to_owned());
            }
            (Ok(_), Some(_)) => {}
        }
    }
    if first.as_ref().is_some_and(|f| f.version == 0) {
        problems.push(
            "The kafka configuration file appears to be for a cluster in KRaft mode, but the directories are \
             formatted for legacy mode."
                .to_owned(),
        );
    }
    match found.len() {
        0 => {}
        1 => output::remark("Found log directory:"),
        _ => output::remark("Found log directories:"),
    }
    output::list("directories");
    for dir in &found {
        output::show("directories", Entry::new(format!("  {dir}")).with("directory", dir.as_str()));
    }
    if !found.is_empty() {
        output::remark("");
    }
    if let Some(f) = &first {
        let fields: Map<String, Value> = properties(f).into_iter().map(|(k, v)| (k, v.into())).collect();
        output::fact("metadata", fields, format!("Found metadata: {}\n", shown(f)));
    }
    output::list("problems");
    if problems.is_empty() {
        return Ok(0);
    }
    output::remark(if problems.len() == 1 { "Found problem:" } else { "Found problems:" });
    for p in &problems {
        output::show("problems", Entry::new(format!("  {p}")).with("problem", p.as_str()));
    }
    output::remark("");
    Ok(1)
}

fn properties(p: &MetaProperties) -> Vec<(String, String)> {
    let mut parts: Vec<(String, String)> = p.other.clone();
    let id_key = if p.version == 0 { "broker.id" } else { "node.id" };
    parts.extend(p.node_id.map(|id| (id_key.to_owned(), id.to_string())));
    parts.extend(p.directory_id.map(|id| ("directory.id".to_owned(), id.to_string())));
    parts.extend(p.cluster_id.clone().map(|id| ("cluster.id".to_owned(), id)));
    parts.push(("version".to_owned(), p.version.to_string()));
    parts.sort();
    parts
}

fn shown(p: &MetaProperties) -> String {
    let parts: Vec<String> = properties(p).iter().map(|(k, v)| format!("{k}={v}")).collect();
    format!("{{{}}}", parts.join(", "))
}

/// Tells the levels that a cluster of a release starts with.
pub(super) fn version_mapping(release: Option<&str>) -> Result<i32, Failure> {
    let entries = features::version_mapping(release).map_err(|e| Failure(e.text()))?;
    entries.into_iter().for_each(|entry| output::show("features", entry));
    Ok(0)
}

/// Tells what levels of features need.
pub(super) fn feature_dependencies(arguments: &[String]) -> Result<i32, Failure> {
    for argument in arguments {
        let Some((name, level)) = argument.split_once('=') else {
            return Err(Failure(format!(
                "Invalid feature format: {argument}. Expected format: 'feature=version' (e.g. \
                 'group.version=1')"
            )));
        };
        let (name, level) = (name.trim(), level.trim());
        let Ok(level) = level.parse::<i16>() else {
            return Err(Failure(format!("Invalid version format: {level} for feature {name}")));
        };
        let entry = if name == METADATA_VERSION {
            let version = MetadataVersion::from_level(level)
                .ok_or_else(|| Failure(format!("Unknown metadata.version {level}")))?;
            features::dependency_entry(name, level, Some(version), &[])
        } else {
            let feature =
                Feature::by_name(name).ok_or_else(|| Failure(format!("Unknown feature: {name}")))?;
            let known = feature.level(level).ok_or_else(|| {
                Failure(format!("Feature level {level} is not supported for feature {name}"))
            })?;
            features::dependency_entry(name, level, None, known.dependencies)
        };
        output::show("features", entry);
    }
    Ok(0)
}
