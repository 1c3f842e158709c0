//! The first records of a cluster.

use std::collections::BTreeMap;

use ottla_protocol::messages::metadata_record::abort_transaction_record::AbortTransactionRecord;
use ottla_protocol::messages::metadata_record::begin_transaction_record::BeginTransactionRecord;
use ottla_protocol::messages::metadata_record::config_record::ConfigRecord;
use ottla_protocol::messages::metadata_record::end_transaction_record::EndTransactionRecord;
use ottla_protocol::messages::metadata_record::user_scram_credential_record::UserScramCredentialRecord;
use ottla_protocol::types::Str;

use super::features::feature_record;
use crate::config::StaticConfig;
use crate::features::{ELR_VERSION, FEATURES, KRAFT_VERSION, METADATA_VERSION, MetadataVersion};
use crate::image::{ImageBuilder, ResourceKind};
use crate::record::{Record, VersionedRecord};

/// What formatting stores for the first controller: the metadata version, the levels of features
/// (those above 0), credentials. `overrides` replace the default levels of the metadata version.
/// Source: `Formatter.calculateBootstrapMetadata`.
pub fn bootstrap_records(
    version: MetadataVersion,
    overrides: &BTreeMap<String, i16>,
    credentials: Vec<UserScramCredentialRecord>,
) -> Vec<VersionedRecord> {
    let mut out = vec![feature_record(METADATA_VERSION, version.level())];
    let mut levels: BTreeMap<&str, i16> = FEATURES
        .iter()
        .filter(|f| f.name != KRAFT_VERSION)
        .map(|f| (f.name, f.default_level(version)))
        .collect();
    for (name, level) in overrides {
        if name != METADATA_VERSION && name != KRAFT_VERSION {
            levels.insert(name, *level);
        }
    }
    for (name, level) in levels {
        if level > 0 {
            out.push(feature_record(name, level));
        }
    }
    out.extend(credentials.into_iter().map(VersionedRecord::v0));
    out
}

/// What a controller appends when it takes over: the bootstrap records in a transaction if the log
/// has no metadata yet, the end of a transaction that its predecessor left open. Source:
/// `ActivationRecordsGenerator`.
pub fn activation_records(
    builder: &ImageBuilder,
    bootstrap: &[VersionedRecord],
    config: &StaticConfig,
) -> Vec<VersionedRecord> {
    let abort = || {
        VersionedRecord::v0(AbortTransactionRecord {
            reason: Some(Str::from_static("Controller failover")),
            ..Default::default()
        })
    };
    let mut out = Vec::new();
    if builder.is_in_transaction() {
        out.push(abort());
    }
    if builder.image().features.metadata_version.is_some() {
        return out;
    }
    let level = |name: &str| {
        bootstrap.iter().find_map(|r| match &r.record {
            Record::FeatureLevel(f) if &*f.name == name => Some(f.feature_level),
            _ => None,
        })
    };
    let version =
        level(METADATA_VERSION).and_then(MetadataVersion::from_level).unwrap_or(MetadataVersion::MINIMUM);
    let transactional = version.is_metadata_transaction_supported();
    if transactional {
        out.push(VersionedRecord::v0(BeginTransactionRecord {
            name: Some(Str::from_static("Bootstrap records")),
            ..Default::default()
        }));
    }
    out.extend_from_slice(bootstrap);
    if level(ELR_VERSION).is_some_and(|l| l > 0) {
        out.push(VersionedRecord::v0(ConfigRecord {
            resource_type: ResourceKind::BROKER.0,
            resource_name: Str::default(),
            name: Str::from_static("min.insync.replicas"),
            value: Some(config.get_int("min.insync.replicas").to_string().into()),
            ..Default::default()
        }));
    }
    if transactional {
        out.push(VersionedRecord::v0(EndTransactionRecord::default()));
    }
    out
}
