//! The features that this broker supports and the cluster has finalized, as ApiVersions tells them.

use ottla_metadata::features;
use ottla_metadata::image::MetadataImage;
use ottla_protocol::types::Str;

/// Name, least and greatest level of what this build supports.
pub fn supported(_unstable: bool) -> Vec<(&'static str, i16, i16)> {
    features::supported_features()
}

/// Every feature with a level above 0.
pub fn finalized(image: &MetadataImage) -> Vec<(Str, i16)> {
    let mut out: Vec<(Str, i16)> =
        image.features.finalized.iter().filter(|(_, l)| **l > 0).map(|(n, l)| (n.clone(), *l)).collect();
    if let Some(version) = image.features.metadata_version {
        out.push((Str::from_static(features::METADATA_VERSION), version.level()));
    }
    out
}
