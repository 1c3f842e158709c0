//! The features that this broker supports and the cluster has finalized, as ApiVersions tells them.

use ottla_metadata::features;
use ottla_metadata::image::MetadataImage;
use ottla_protocol::types::Str;

use crate::state::Broker;

/// Name, least and greatest level of what this build supports.
pub fn supported() -> Vec<(&'static str, i16, i16)> {
    features::supported_features()
}

/// Every feature with a level above 0; `kraft_version` is not part of the image.
pub fn finalized(image: &MetadataImage, kraft_version: i16) -> Vec<(Str, i16)> {
    let mut out: Vec<(Str, i16)> =
        image.features.finalized.iter().filter(|(_, l)| **l > 0).map(|(n, l)| (n.clone(), *l)).collect();
    if let Some(version) = image.features.metadata_version {
        out.push((Str::from_static(features::METADATA_VERSION), version.level()));
    }
    if kraft_version > 0 {
        out.push((Str::from_static(features::KRAFT_VERSION), kraft_version));
    }
    out
}

/// Whether groups of the consumer protocol (KIP-848) are served: the cluster has finalized `group.version` 1, and this
/// broker's `group.coordinator.rebalance.protocols` names it.
pub fn consumer_protocol_enabled(b: &Broker) -> bool {
    b.static_config.get_list("group.coordinator.rebalance.protocols").iter().any(|p| p == "consumer")
        && b.image.load().features.level(features::GROUP_VERSION) >= 1
}
