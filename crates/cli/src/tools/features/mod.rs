//! `kafka-features`: feature levels of the cluster. Source: Kafka `FeatureCommand`.

use std::collections::BTreeMap;

use ottla_client::{Admin, ClientError, Target};
use ottla_metadata::features::{FEATURES, Feature, METADATA_VERSION, MetadataVersion};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::update_features_request::FeatureUpdateKey;
use ottla_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use ottla_protocol::types::Str;

use crate::args::{Parsed, Parser, Style};
use crate::connect;
use crate::error::{ToolError, ToolResult};
use crate::output::{self, Entry};

#[cfg(test)]
mod tests;

const COMMANDS: &[&str] =
    &["describe", "upgrade", "downgrade", "disable", "version-mapping", "feature-dependencies"];
const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;

fn parser() -> Parser {
    Parser::new("This tool manages feature flags in Kafka. Commands: describe, upgrade, downgrade, disable, version-mapping, feature-dependencies.")
        .style(Style::Argparse)
        .positional()
        .text("bootstrap-server", "BOOTSTRAP_SERVER", "A comma-separated list of host:port pairs to use for establishing the connection to the Kafka cluster.")
        .text("bootstrap-controller", "BOOTSTRAP_CONTROLLER", "A comma-separated list of host:port pairs to use for establishing the connection to the KRaft quorum.")
        .text("command-config", "COMMAND_CONFIG", "Property file containing configs to be passed to Admin Client.")
        .int("node-id", "NODE_ID", "describe: The node id to which the requests should be sent. If not specified, the requests will be sent to an arbitrary controller/broker.")
        .text("metadata", "METADATA", "DEPRECATED -- upgrade, downgrade: The level to which we should change the metadata. For example, 3.3-IV3.")
        .text("release-version", "RELEASE_VERSION", "upgrade, downgrade: The release version to update all features to. version-mapping: The release version to use for the corresponding feature mapping.")
        .text("feature", "FEATURE", "A feature change we should perform, in feature=level format (disable: the feature alone). For example: `metadata.version=5`.")
        .flag("unsafe", "downgrade, disable: Perform this downgrade even if it may irreversibly destroy metadata.")
        .flag("dry-run", "Validate this change, but do not perform it.")
        .alias("h", "help")
}

pub fn main(args: &[String]) -> ToolResult {
    let parser = parser();
    let options = parser.parse(args)?;
    let wrong =
        |text: String| ToolError::message(format!("Command line error: {text}. Type --help for help."));
    let [command] = options.words() else {
        return Err(wrong("too few arguments".to_owned()));
    };
    if !COMMANDS.contains(&command.as_str()) {
        return Err(wrong(format!("invalid choice: '{command}' (choose from {})", COMMANDS.join(", "))));
    }
    match command.as_str() {
        "version-mapping" => {
            let entries = version_mapping(options.text("release-version"))?;
            entries.into_iter().for_each(|entry| output::show("features", entry));
            return Ok(());
        }
        "feature-dependencies" => {
            let features = options.texts("feature");
            if features.is_empty() {
                return Err(wrong("argument --feature is required".to_owned()));
            }
            for feature in features {
                output::show("features", dependencies(feature)?);
            }
            return Ok(());
        }
        _ => {}
    }
    if options.has("bootstrap-server") == options.has("bootstrap-controller") {
        return Err(wrong(
            "You must specify either --bootstrap-controller or --bootstrap-server.".to_owned(),
        ));
    }
    let admin = connect::admin(&options)?;
    connect::block_on(async {
        if command == "describe" {
            describe(&admin, &options).await
        } else {
            update(&admin, command, &options).await
        }
    })
}

/// The levels that come with a release.
pub fn version_mapping(release: Option<&str>) -> Result<Vec<Entry>, ToolError> {
    let latest = MetadataVersion::LATEST.to_string();
    let release = release.unwrap_or(&latest);
    let version = MetadataVersion::from_name(release).map_err(ToolError::message)?;
    let first = Entry::new(format!("{METADATA_VERSION}={} ({release})", version.level()))
        .with("feature", METADATA_VERSION)
        .with("level", version.level())
        .with("release", release);
    let others = FEATURES.iter().map(|f| {
        let level = f.default_level(version);
        Entry::new(format!("{}={level}", f.name)).with("feature", f.name).with("level", level)
    });
    Ok(std::iter::once(first).chain(others).collect())
}

fn name_and_level(text: &str) -> Result<(&str, i16), ToolError> {
    let wrong = |why: String| ToolError::message(format!("Can't parse feature=level string {text}: {why}"));
    let (name, level) = text.split_once('=').ok_or_else(|| wrong("equals sign not found.".to_owned()))?;
    let level = level.trim();
    let number = level.parse().map_err(|_| wrong(format!("unable to parse {level} as a short.")))?;
    Ok((name.trim(), number))
}

fn dependencies(text: &str) -> Result<Entry, ToolError> {
    let (name, number) = name_and_level(text)?;
    if name == METADATA_VERSION {
        let version = MetadataVersion::from_level(number)
            .ok_or_else(|| ToolError::message(format!("Unknown metadata.version {number}")))?;
        return Ok(dependency_entry(name, number, Some(version), &[]));
    }
    let feature =
        Feature::by_name(name).ok_or_else(|| ToolError::message(format!("Unknown feature: {name}")))?;
    let level = feature
        .level(number)
        .ok_or_else(|| ToolError::message(format!("No feature:{name} with feature level {number}")))?;
    Ok(dependency_entry(name, number, None, level.dependencies))
}

/// A level of a feature, and the levels of others that it needs.
pub fn dependency_entry(
    name: &str,
    level: i16,
    version: Option<MetadataVersion>,
    needs: &[(&str, i16)],
) -> Entry {
    let release = version.map_or_else(String::new, |v| format!(" ({v})"));
    let head = match needs.is_empty() {
        true => format!("{name}={level}{release} has no dependencies."),
        false => format!("{name}={level}{release} requires:"),
    };
    let needs = needs.iter().map(|(other, needed)| {
        let release = MetadataVersion::from_level(*needed).filter(|_| *other == METADATA_VERSION);
        let text = match release {
            Some(version) => format!("    {other}={needed} ({version})"),
            None => format!("    {other}={needed}"),
        };
        Entry::new(text).with("feature", *other).with("level", *needed)
    });
    Entry::new(head).with("feature", name).with("level", level).list("requires", needs)
}

fn level_text(feature: &str, level: i16) -> String {
    if feature != METADATA_VERSION {
        return level.to_string();
    }
    MetadataVersion::from_level(level).map_or_else(|| format!("UNKNOWN {level}"), |v| v.to_string())
}

async fn describe(admin: &Admin, options: &Parsed) -> ToolResult {
    let versions = match options.int("node-id") {
        Some(id) if id < 0 => {
            return Err(ToolError::message(format!("Invalid node id {id}: must be non-negative.")));
        }
        Some(id) => admin.client().api_versions(id).await?,
        None => admin.client().any_api_versions().await?,
    };
    let mut supported: Vec<_> = versions.supported_features.iter().collect();
    supported.sort_by(|a, b| a.name.cmp(&b.name));
    for feature in supported {
        let finalized = versions.finalized_features.iter().find(|f| f.name == feature.name);
        let epoch = versions.finalized_features_epoch;
        let level = finalized.map_or(0, |f| f.max_version_level);
        let text = format!(
            "Feature: {:<40}  SupportedMinVersion: {:<15}  SupportedMaxVersion: {:<15}  FinalizedVersionLevel: {:<15}  Epoch: {}",
            &*feature.name,
            level_text(&feature.name, feature.min_version),
            level_text(&feature.name, feature.max_version),
            level_text(&feature.name, level),
            if epoch >= 0 { epoch.to_string() } else { "-".to_owned() },
        );
        let entry = Entry::new(text)
            .with("feature", &*feature.name)
            .with("supportedMinVersion", feature.min_version)
            .with("supportedMaxVersion", feature.max_version)
            .with("finalizedVersionLevel", level)
            .with("finalizedVersionName", level_text(&feature.name, level))
            .with("epoch", (epoch >= 0).then_some(epoch));
        output::show("features", entry);
    }
    Ok(())
}

/// The levels that a command asks for, by feature.
fn wanted(command: &str, options: &Parsed, upgrade: bool) -> Result<BTreeMap<String, i16>, ToolError> {
    let features = options.texts("feature");
    let mut levels = BTreeMap::new();
    let mut add = |name: &str, level: i16| match levels.insert(name.to_owned(), level) {
        Some(_) => Err(ToolError::message(format!("Feature {name} was specified more than once."))),
        None => Ok(()),
    };
    if command == "disable" {
        for name in features {
            add(name, 0)?;
        }
        return Ok(levels);
    }
    if let Some(release) = options.text("release-version") {
        if options.has("metadata") || !features.is_empty() {
            return Err(ToolError::message("Can not specify `release-version` with other feature flags."));
        }
        let version = MetadataVersion::from_name(release).map_err(ToolError::message)?;
        add(METADATA_VERSION, version.level())?;
        for feature in FEATURES {
            let level = feature.default_level(version);
            // An upgrade to 0 would be refused.
            if !upgrade || level > 0 {
                add(feature.name, level)?;
            }
        }
        return Ok(levels);
    }
    if let Some(name) = options.text("metadata") {
        output::notice_on_output(" `metadata` flag is deprecated and may be removed in a future release.");
        add(METADATA_VERSION, MetadataVersion::from_name(name).map_err(ToolError::message)?.level())?;
    }
    for text in features {
        let (name, level) = name_and_level(text)?;
        add(name, level)?;
    }
    Ok(levels)
}

async fn update(admin: &Admin, command: &str, options: &Parsed) -> ToolResult {
    let upgrade_type = match command {
        "upgrade" => UPGRADE,
        _ if options.has("unsafe") => UNSAFE_DOWNGRADE,
        _ => SAFE_DOWNGRADE,
    };
    let levels = wanted(command, options, upgrade_type == UPGRADE)?;
    if levels.is_empty() {
        return Err(ToolError::message(format!("You must specify at least one feature to {command}")));
    }
    let dry_run = options.has("dry-run");
    let updates = levels.iter().map(|(name, level)| FeatureUpdateKey {
        feature: Str::from(name.as_str()),
        max_version_level: *level,
        allow_downgrade: upgrade_type != UPGRADE,
        upgrade_type,
        ..Default::default()
    });
    let timeout_ms = i32::try_from(admin.client().request_timeout().as_millis()).unwrap_or(i32::MAX);
    let request = UpdateFeaturesRequest {
        timeout_ms,
        feature_updates: updates.collect(),
        validate_only: dry_run,
        ..Default::default()
    };
    let code = |r: &UpdateFeaturesResponse| ErrorCode::from_code(r.error_code);
    let response = admin.call_checked(&Target::Controller, &request, code).await?;
    let top = ClientError::check(response.error_code, response.error_message.as_deref()).err();
    let mut failures = 0;
    for (name, level) in &levels {
        let own = response.results.iter().find(|r| *r.feature == **name);
        let own = own.and_then(|r| ClientError::check(r.error_code, r.error_message.as_deref()).err());
        match top.as_ref().or(own.as_ref()) {
            Some(error) => {
                let helper = if dry_run { "Can not" } else { "Could not" };
                let target = if command == "disable" { String::new() } else { format!(" to {level}") };
                output::complain(format!("{helper} {command} {name}{target}. {error}"));
                failures += 1;
            }
            None => {
                let verb = if dry_run { "can be" } else { "was" };
                let target = if command == "disable" { String::new() } else { format!(" to {level}") };
                output::line(format!("{name} {verb} {command}d{target}."));
            }
        }
    }
    if failures > 0 {
        return Err(ToolError::message(format!("{failures} out of {} operation(s) failed.", levels.len())));
    }
    Ok(())
}
