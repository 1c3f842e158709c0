//! `info`, `version-mapping`, `feature-dependencies`.

use std::path::Path;

use ottla_metadata::features::{FEATURES, Feature, METADATA_VERSION, MetadataVersion};
use ottla_storage::dirs::MetaProperties;

use super::{Failure, directories, load_config};

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
        1 => println!("Found log directory:"),
        _ => println!("Found log directories:"),
    }
    for dir in &found {
        println!("  {dir}");
    }
    if !found.is_empty() {
        println!();
    }
    if let Some(f) = &first {
        println!("Found metadata: {}\n", shown(f));
    }
    if problems.is_empty() {
        return Ok(0);
    }
    println!("{}", if problems.len() == 1 { "Found problem:" } else { "Found problems:" });
    for p in &problems {
        println!("  {p}");
    }
    println!();
    Ok(1)
}

fn shown(p: &MetaProperties) -> String {
    let mut parts: Vec<(String, String)> = p.other.clone();
    let id_key = if p.version == 0 { "broker.id" } else { "node.id" };
    parts.extend(p.node_id.map(|id| (id_key.to_owned(), id.to_string())));
    parts.extend(p.directory_id.map(|id| ("directory.id".to_owned(), id.to_string())));
    parts.extend(p.cluster_id.clone().map(|id| ("cluster.id".to_owned(), id)));
    parts.push(("version".to_owned(), p.version.to_string()));
    parts.sort();
    let parts: Vec<String> = parts.iter().map(|(k, v)| format!("{k}={v}")).collect();
    format!("{{{}}}", parts.join(", "))
}

/// Tells the levels that a cluster of a release starts with.
pub(super) fn version_mapping(release: Option<&str>) -> Result<i32, Failure> {
    let latest = MetadataVersion::LATEST.to_string();
    let name = release.unwrap_or(&latest);
    let version = MetadataVersion::from_name(name).map_err(Failure)?;
    println!("{METADATA_VERSION}={} ({name})", version.level());
    for feature in FEATURES {
        println!("{}={}", feature.name, feature.default_level(version));
    }
    Ok(0)
}

/// Tells what levels of features need.
pub(super) fn feature_dependencies(features: &[String]) -> Result<i32, Failure> {
    for argument in features {
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
        if name == METADATA_VERSION {
            let version = MetadataVersion::from_level(level)
                .ok_or_else(|| Failure(format!("Unknown metadata.version {level}")))?;
            println!("{name}={level} ({version}) has no dependencies.");
            continue;
        }
        let feature = Feature::by_name(name).ok_or_else(|| Failure(format!("Unknown feature: {name}")))?;
        let known = feature
            .level(level)
            .ok_or_else(|| Failure(format!("Feature level {level} is not supported for feature {name}")))?;
        if known.dependencies.is_empty() {
            println!("{name}={level} has no dependencies.");
            continue;
        }
        println!("{name}={level} requires:");
        for (other, needed) in known.dependencies {
            match MetadataVersion::from_level(*needed).filter(|_| *other == METADATA_VERSION) {
                Some(version) => println!("    {other}={needed} ({version})"),
                None => println!("    {other}={needed}"),
            }
        }
    }
    Ok(0)
}
