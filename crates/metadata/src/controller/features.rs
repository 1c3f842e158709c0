//! UpdateFeatures.

use std::collections::BTreeMap;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::metadata_record::feature_level_record::FeatureLevelRecord;
use ottla_protocol::messages::metadata_record::no_op_record::NoOpRecord;
use ottla_protocol::messages::update_features_request::UpdateFeaturesRequest;
use ottla_protocol::messages::update_features_response::{UpdatableFeatureResult, UpdateFeaturesResponse};
use ottla_protocol::types::Str;

use super::{ApiError, Context, Controller, Decision, KRaftVersion};
use crate::features::{
    ELR_VERSION, Feature, KRAFT_VERSION, METADATA_VERSION, MetadataVersion, supported_features,
    validate_dependencies,
};
use crate::record::VersionedRecord;

/// What an update may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UpgradeType {
    Unknown,
    Upgrade,
    SafeDowngrade,
    UnsafeDowngrade,
}

fn refuse<T>(feature: &str, level: i16, text: &str) -> Result<T, ApiError> {
    Err(ApiError::new(
        ErrorCode::InvalidUpdateVersion,
        format!("Invalid update version {level} for feature {feature}. {text}"),
    ))
}

fn unsupported_reason(level: i16, what: &str, (min, max): (i16, i16)) -> Option<String> {
    if (min..=max).contains(&level) {
        return None;
    }
    if max == 0 {
        return Some(format!("{what} does not support this feature."));
    }
    let range = if min == max { format!("{min}") } else { format!("{min}-{max}") };
    Some(format!("{what} only supports versions {range}"))
}

impl Controller {
    /// UpdateFeatures.
    pub fn decide_update_features(
        &self,
        ctx: &Context<'_>,
        request: &UpdateFeaturesRequest,
        kraft_version: KRaftVersion,
    ) -> Result<Decision<UpdateFeaturesResponse>, ApiError> {
        let image = self.image();
        let mut proposed: BTreeMap<String, i16> =
            image.features.finalized.iter().map(|(k, v)| (k.to_string(), *v)).collect();
        let current = image.metadata_version().level();
        proposed.insert(METADATA_VERSION.to_owned(), current);
        let mut updates: BTreeMap<&str, (i16, UpgradeType)> = BTreeMap::new();
        for u in &request.feature_updates {
            let kind = match (ctx.version, u.upgrade_type) {
                (0, _) if u.allow_downgrade => UpgradeType::SafeDowngrade,
                (0, _) | (_, 1) => UpgradeType::Upgrade,
                (_, 2) => UpgradeType::SafeDowngrade,
                (_, 3) => UpgradeType::UnsafeDowngrade,
                _ => UpgradeType::Unknown,
            };
            updates.insert(&u.feature, (u.max_version_level, kind));
            proposed.insert(u.feature.to_string(), u.max_version_level);
        }
        let mut records = Vec::new();
        for (name, (level, kind)) in &updates {
            let updated = self.update_feature(name, *level, *kind, &proposed, kraft_version);
            match updated {
                Ok(record) => records.extend(record),
                Err(e) => {
                    let response = UpdateFeaturesResponse {
                        error_code: e.code.code(),
                        error_message: Some(
                            format!(
                                "The update failed for all features since the following feature had an \
                                 error: {}",
                                e.message.as_deref().unwrap_or("null")
                            )
                            .into(),
                        ),
                        ..Default::default()
                    };
                    return Ok(Decision::of(Vec::new(), response));
                }
            }
        }
        let enables_elr = updates.get(ELR_VERSION).is_some_and(|(level, _)| *level > 0);
        if enables_elr {
            let mut all = self.elr_safety_records();
            all.append(&mut records);
            records = all;
        }
        if request.validate_only {
            records.clear();
        }
        let mut response = UpdateFeaturesResponse { error_message: None, ..Default::default() };
        if ctx.version <= 1 {
            response.results = request
                .feature_updates
                .iter()
                .map(|u| UpdatableFeatureResult {
                    feature: u.feature.clone(),
                    error_code: ErrorCode::None.code(),
                    error_message: Some(Str::from_static("NONE")),
                    ..Default::default()
                })
                .collect();
        }
        let raised =
            updates.get(KRAFT_VERSION).map(|(level, _)| *level).filter(|level| *level > kraft_version.level);
        Ok(Decision {
            kraft_upgrade: raised.filter(|_| !request.validate_only),
            ..Decision::atomic(records, response)
        })
    }

    fn update_feature(
        &self,
        name: &str,
        level: i16,
        kind: UpgradeType,
        proposed: &BTreeMap<String, i16>,
        kraft_version: KRaftVersion,
    ) -> Result<Option<VersionedRecord>, ApiError> {
        if kind == UpgradeType::Unknown {
            return refuse(name, level, "The controller does not support the given upgrade type.");
        }
        let current =
            if name == KRAFT_VERSION { kraft_version.level } else { self.image().features.level(name) };
        if level < 0 {
            return refuse(name, level, "A feature version cannot be less than 0.");
        }
        if let Some(reason) = self.reason_not_supported(name, level) {
            return refuse(name, level, &reason);
        }
        if level < current && kind == UpgradeType::Upgrade {
            return refuse(
                name,
                level,
                "Can't downgrade the version of this feature without setting the upgrade type to either safe \
                 or unsafe downgrade.",
            );
        }
        if level > current && kind != UpgradeType::Upgrade {
            return refuse(name, level, "Can't downgrade to a newer version.");
        }
        if name == METADATA_VERSION {
            return self.update_metadata_version(level, kind == UpgradeType::UnsafeDowngrade).map(Some);
        }
        if name == KRAFT_VERSION {
            if level == current {
                let record = VersionedRecord::v0(NoOpRecord::default());
                return Ok((kind == UpgradeType::Upgrade).then_some(record));
            }
            if kind != UpgradeType::Upgrade {
                return refuse(name, level, "Can't downgrade the version of this feature.");
            }
            // The quorum itself writes the new version; see the raft crate.
            if kraft_version.can_upgrade {
                return Ok(Some(VersionedRecord::v0(NoOpRecord::default())));
            }
            return refuse(name, level, "Not all of the voters are known to support it.");
        }
        let known = Feature::by_name(name).and_then(|f| f.level(level));
        if let Some(feature_level) = known
            && let Err(text) = validate_dependencies(name, feature_level, proposed)
        {
            return refuse(name, level, &text);
        }
        Ok(Some(feature_record(name, level)))
    }

    fn reason_not_supported(&self, name: &str, level: i16) -> Option<String> {
        let node = self.config.node_id;
        let local = supported_features().into_iter().find(|f| f.0 == name).map_or((0, 0), |f| (f.1, f.2));
        let reason = unsupported_reason(level, &format!("Local controller {node}"), local);
        if reason.is_some() {
            return reason;
        }
        let cluster = &self.image().cluster;
        for b in cluster.brokers.values() {
            let range = b.supported_features.get(name).copied().unwrap_or((0, 0));
            let reason = unsupported_reason(level, &format!("Broker {}", b.id), range);
            if reason.is_some() {
                return reason;
            }
        }
        if !self.image().metadata_version().is_controller_registration_supported() {
            return None;
        }
        for c in cluster.controllers.values().filter(|c| c.id != node) {
            let range = c.supported_features.get(name).copied().unwrap_or((0, 0));
            let reason = unsupported_reason(level, &format!("Controller {}", c.id), range);
            if reason.is_some() {
                return reason;
            }
        }
        self.voter_ids
            .iter()
            .find(|id| **id != node && !cluster.controllers.contains_key(id))
            .map(|id| format!("controller {id} has not registered, and may not support this feature"))
    }

    fn update_metadata_version(&self, level: i16, unsafe_allowed: bool) -> Result<VersionedRecord, ApiError> {
        let current = self.image().metadata_version();
        let Some(new) = MetadataVersion::from_level(level) else {
            return Err(ApiError::new(
                ErrorCode::InvalidUpdateVersion,
                format!(
                    "Invalid metadata.version {level}. Valid versions are from {} to {}.",
                    MetadataVersion::MINIMUM.level(),
                    MetadataVersion::LATEST.level()
                ),
            ));
        };
        if new < current && MetadataVersion::metadata_changed(current, new) {
            let why = if unsafe_allowed {
                "Unsafe metadata downgrade is not supported in this version."
            } else {
                "Refusing to perform the requested downgrade because it might delete metadata information."
            };
            return Err(ApiError::new(
                ErrorCode::InvalidUpdateVersion,
                format!("Unsupported metadata.version downgrade from {} to {level}. {why}", current.level()),
            ));
        }
        Ok(feature_record(METADATA_VERSION, level))
    }
}

pub(super) fn feature_record(name: &str, level: i16) -> VersionedRecord {
    VersionedRecord::v0(FeatureLevelRecord { name: name.into(), feature_level: level, ..Default::default() })
}
