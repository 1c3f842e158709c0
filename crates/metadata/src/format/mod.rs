//! Formatting a node's directories: what is written, as values. Writing it is the shell's business.
//! Source: Kafka `Formatter`, KIP-853, KIP-1170.

mod checkpoint;
mod scram;
#[cfg(test)]
mod tests;
mod voters;

use std::collections::BTreeMap;

use ottla_protocol::messages::metadata_record::user_scram_credential_record::UserScramCredentialRecord;
use ottla_protocol::types::Uuid;

pub use checkpoint::{BOOTSTRAP_CHECKPOINT_FILE, bootstrap_checkpoint, read_bootstrap_records};
pub use scram::parse_scram_argument;
pub use voters::{DynamicVoter, parse_initial_controllers, standalone_voter};

use crate::controller::bootstrap_records;
use crate::features::{
    FEATURES, Feature, KRAFT_VERSION, METADATA_VERSION, MetadataVersion, validate_dependencies,
};
use crate::record::VersionedRecord;

/// Why a node cannot be formatted so. The text is Kafka's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FormatError(pub String);

/// What to format a node as.
#[derive(Debug, Clone, Default)]
pub struct FormatRequest {
    /// `--release-version`.
    pub release: Option<MetadataVersion>,
    /// `--feature name=level`.
    pub features: BTreeMap<String, i16>,
    /// `--add-scram`, as records.
    pub credentials: Vec<UserScramCredentialRecord>,
    /// `--standalone` or `--initial-controllers`.
    pub initial_controllers: Option<Vec<DynamicVoter>>,
    /// `controller.quorum.voters` is empty.
    pub dynamic_quorum: bool,
}

/// What every directory of a node gets.
#[derive(Debug, Clone, PartialEq)]
pub struct FormatPlan {
    pub release: MetadataVersion,
    pub kraft_version: i16,
    pub records: Vec<VersionedRecord>,
    pub voters: Option<Vec<DynamicVoter>>,
}

/// What a directory is to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectoryKind {
    Log,
    StaticMetadata,
    DynamicMetadataNonVoter,
    DynamicMetadataVoter,
}

impl DirectoryKind {
    /// Kafka's name, as `kafka-storage format` prints it.
    pub fn description(self) -> &'static str {
        match self {
            DirectoryKind::Log => "data directory",
            DirectoryKind::StaticMetadata => "metadata directory",
            DirectoryKind::DynamicMetadataNonVoter => "dynamic metadata directory",
            DirectoryKind::DynamicMetadataVoter => "dynamic metadata voter directory",
        }
    }
}

impl FormatPlan {
    /// Checks a request and fills in what it leaves open.
    pub fn new(request: FormatRequest) -> Result<Self, FormatError> {
        let release = effective_release(&request)?;
        let kraft_version = effective_kraft_version(&request)?;
        let mut levels: BTreeMap<String, i16> =
            FEATURES.iter().map(|f| (f.name.to_owned(), f.default_level(release))).collect();
        levels.extend(request.features.clone());
        levels.insert(METADATA_VERSION.to_owned(), release.level());
        levels.insert(KRAFT_VERSION.to_owned(), kraft_version);
        check_levels(&levels)?;
        if !request.credentials.is_empty() && !release.is_scram_supported() {
            return Err(FormatError(
                "SCRAM is only supported in metadata.version 3.5-IV2 or later.".to_owned(),
            ));
        }
        Ok(FormatPlan {
            release,
            kraft_version,
            records: bootstrap_records(release, &levels, request.credentials),
            voters: request.initial_controllers,
        })
    }

    /// What a directory is to node `node_id` whose metadata is in `metadata_dir`.
    pub fn kind_of(&self, dir: &str, metadata_dir: &str, node_id: i32) -> DirectoryKind {
        if dir != metadata_dir {
            return DirectoryKind::Log;
        }
        match &self.voters {
            None => DirectoryKind::StaticMetadata,
            Some(v) if v.iter().any(|v| v.id == node_id) => DirectoryKind::DynamicMetadataVoter,
            Some(_) => DirectoryKind::DynamicMetadataNonVoter,
        }
    }

    /// The id that the list of voters gives the metadata directory of a node.
    pub fn voter_directory(&self, node_id: i32) -> Option<Uuid> {
        let voters = self.voters.as_ref()?;
        voters.iter().find(|v| v.id == node_id).map(|v| v.directory_id)
    }

    /// The content of `__cluster_metadata-0/00000000000000000000-0000000000.checkpoint`.
    pub fn checkpoint(&self, controller_listener: &str, now_ms: i64) -> Result<Vec<u8>, FormatError> {
        let voters = self.voters.as_ref().map(|v| voters::voters_record(v, controller_listener));
        bootstrap_checkpoint(&self.records, self.kraft_version, voters.as_ref(), now_ms)
    }
}

fn effective_release(request: &FormatRequest) -> Result<MetadataVersion, FormatError> {
    let Some(level) = request.features.get(METADATA_VERSION) else {
        return Ok(request.release.unwrap_or(MetadataVersion::LATEST));
    };
    if request.release.is_some() {
        return Err(FormatError(
            "Use --release-version instead of --feature metadata.version=X to avoid ambiguity.".to_owned(),
        ));
    }
    MetadataVersion::from_level(*level).ok_or_else(|| {
        FormatError(format!(
            "No MetadataVersion with feature level {level}. Valid feature levels are from {} to {}.",
            MetadataVersion::MINIMUM.level(),
            MetadataVersion::LATEST.level()
        ))
    })
}

fn effective_kraft_version(request: &FormatRequest) -> Result<i16, FormatError> {
    match request.features.get(KRAFT_VERSION) {
        None => Ok(i16::from(request.dynamic_quorum)),
        Some(0) if request.dynamic_quorum => Err(FormatError(
            "Cannot set kraft.version to 0 if controller.quorum.voters is empty and one of the flags \
             --standalone, --initial-controllers, or --no-initial-controllers is used. For dynamic \
             controllers support, try removing the --feature flag for kraft.version."
                .to_owned(),
        )),
        Some(level) if *level != 0 && !request.dynamic_quorum => Err(FormatError(format!(
            "Cannot set kraft.version to {level} unless controller.quorum.voters is empty and one of the \
             flags --standalone, --initial-controllers, or --no-initial-controllers is used. For dynamic \
             controllers support, try using one of --standalone, --initial-controllers, or \
             --no-initial-controllers and removing controller.quorum.voters."
        ))),
        Some(level) => Ok(*level),
    }
}

fn check_levels(levels: &BTreeMap<String, i16>) -> Result<(), FormatError> {
    for (name, level) in levels {
        if name == METADATA_VERSION {
            continue;
        }
        let Some(feature) = Feature::by_name(name) else {
            let mut names: Vec<&str> = FEATURES.iter().map(|f| f.name).collect();
            names.sort_unstable();
            return Err(FormatError(format!(
                "Unsupported feature: {name}. Supported features are: {}",
                names.join(", ")
            )));
        };
        let known = feature
            .level(*level)
            .ok_or_else(|| FormatError(format!("No feature:{name} with feature level {level}")))?;
        validate_dependencies(name, known, levels).map_err(FormatError)?;
    }
    Ok(())
}
