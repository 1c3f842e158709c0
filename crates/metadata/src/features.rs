//! Feature levels: `metadata.version` and the features that are finalized beside it.

use std::collections::BTreeMap;
use std::fmt;

/// The name under which the metadata version is finalized.
pub const METADATA_VERSION: &str = "metadata.version";
/// The quorum's own feature; kept by the quorum's log as a control record, not by the image.
pub const KRAFT_VERSION: &str = "kraft.version";
pub const TRANSACTION_VERSION: &str = "transaction.version";
pub const GROUP_VERSION: &str = "group.version";
pub const ELR_VERSION: &str = "eligible.leader.replicas.version";
pub const SHARE_VERSION: &str = "share.version";
pub const STREAMS_VERSION: &str = "streams.version";

/// A level of `metadata.version`, known to this program. Source: Kafka `MetadataVersion`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataVersion(i16);

const VERSIONS: &[(i16, &str, &str, bool)] = &[
    (7, "3.3", "IV3", true),
    (8, "3.4", "IV0", true),
    (9, "3.5", "IV0", false),
    (10, "3.5", "IV1", false),
    (11, "3.5", "IV2", true),
    (12, "3.6", "IV0", false),
    (13, "3.6", "IV1", true),
    (14, "3.6", "IV2", true),
    (15, "3.7", "IV0", true),
    (16, "3.7", "IV1", false),
    (17, "3.7", "IV2", true),
    (18, "3.7", "IV3", false),
    (19, "3.7", "IV4", false),
    (20, "3.8", "IV0", false),
    (21, "3.9", "IV0", false),
    (22, "4.0", "IV0", false),
    (23, "4.0", "IV1", true),
    (24, "4.0", "IV2", false),
    (25, "4.0", "IV3", false),
    (26, "4.1", "IV0", false),
    (27, "4.1", "IV1", false),
    (28, "4.2", "IV0", false),
    (29, "4.2", "IV1", false),
    (30, "4.3", "IV0", true),
    (31, "4.4", "IV0", false),
    (32, "4.4", "IV1", true),
    (33, "4.4", "IV2", true),
];

impl MetadataVersion {
    pub const MINIMUM: MetadataVersion = MetadataVersion(7);
    pub const LATEST: MetadataVersion = MetadataVersion(33);

    /// `None` for a level that this program does not know.
    pub fn from_level(level: i16) -> Option<Self> {
        (Self::MINIMUM.0..=Self::LATEST.0).contains(&level).then_some(MetadataVersion(level))
    }

    pub fn level(self) -> i16 {
        self.0
    }

    fn row(self) -> &'static (i16, &'static str, &'static str, bool) {
        &VERSIONS[(self.0 - Self::MINIMUM.0) as usize]
    }

    /// All of them, oldest first.
    pub fn all() -> impl DoubleEndedIterator<Item = MetadataVersion> {
        VERSIONS.iter().map(|v| MetadataVersion(v.0))
    }

    /// The release, as `4.4`.
    pub fn release(self) -> &'static str {
        self.row().1
    }

    /// By name: `4.4`, `4.4.1` (the newest of the release) or `4.4-IV2`
    /// (`MetadataVersion.fromVersionString`).
    pub fn from_name(name: &str) -> Result<Self, String> {
        let mut parts = name.split('.');
        let key = match (parts.next(), parts.next(), parts.next()) {
            (Some(a), Some(b), Some(_)) => format!("{a}.{b}"),
            _ => name.to_owned(),
        };
        Self::all()
            .find(|v| v.to_string() == key)
            .or_else(|| Self::all().rev().find(|v| v.release() == key))
            .ok_or_else(|| {
                let all: Vec<String> = Self::all().map(|v| v.to_string()).collect();
                format!(
                    "Unknown metadata.version '{name}'. Supported metadata.version are: {}",
                    all.join(", ")
                )
            })
    }

    /// Whether the format of metadata changed between two versions, which forbids a safe downgrade.
    pub fn metadata_changed(a: MetadataVersion, b: MetadataVersion) -> bool {
        let (low, high) = (a.min(b), a.max(b));
        VERSIONS.iter().any(|v| v.0 > low.0 && v.0 <= high.0 && v.3)
    }

    pub fn is_scram_supported(self) -> bool {
        self.0 >= 11
    }
    pub fn is_leader_epoch_bump_required_on_isr_shrink(self) -> bool {
        self.0 < 12
    }
    pub fn is_metadata_transaction_supported(self) -> bool {
        self.0 >= 13
    }
    pub fn is_delegation_token_supported(self) -> bool {
        self.0 >= 14
    }
    pub fn is_controller_registration_supported(self) -> bool {
        self.0 >= 15
    }
    pub fn is_directory_assignment_supported(self) -> bool {
        self.0 >= 17
    }
    pub fn is_elr_supported(self) -> bool {
        self.0 >= 23
    }
    pub fn is_cordoned_log_dirs_supported(self) -> bool {
        self.0 >= 30
    }
    pub fn is_cidr_acl_supported(self) -> bool {
        self.0 >= 32
    }
    pub fn is_controller_unregistration_supported(self) -> bool {
        self.0 >= 33
    }

    pub fn register_broker_record_version(self) -> i16 {
        match self.0 {
            30.. => 4,
            17.. => 3,
            8.. => 2,
            _ => 1,
        }
    }

    pub fn broker_registration_change_record_version(self) -> i16 {
        match self.0 {
            30.. => 3,
            17.. => 2,
            _ => 1,
        }
    }

    /// Of PartitionRecord and PartitionChangeRecord.
    pub fn partition_record_version(self) -> i16 {
        match self.0 {
            23.. => 2,
            17.. => 1,
            _ => 0,
        }
    }
}

impl fmt::Display for MetadataVersion {
    /// As Kafka writes it, `4.4-IV2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.row();
        write!(f, "{}-{}", row.1, row.2)
    }
}

impl fmt::Debug for MetadataVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// One level of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureLevel {
    pub level: i16,
    /// The first metadata version whose new clusters have this level.
    pub bootstrap: MetadataVersion,
    /// Levels of other features that it needs.
    pub dependencies: &'static [(&'static str, i16)],
}

/// A feature other than `metadata.version`. Source: Kafka `Feature`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    pub name: &'static str,
    /// In order of level.
    pub levels: &'static [FeatureLevel],
}

const fn level(level: i16, bootstrap: i16) -> FeatureLevel {
    FeatureLevel { level, bootstrap: MetadataVersion(bootstrap), dependencies: &[] }
}

/// Every feature of Kafka 4.4 but `metadata.version`, in Kafka's order.
pub const FEATURES: &[Feature] = &[
    Feature { name: KRAFT_VERSION, levels: &[level(0, 7), level(1, 21)] },
    Feature { name: TRANSACTION_VERSION, levels: &[level(0, 7), level(1, 24), level(2, 24)] },
    Feature { name: GROUP_VERSION, levels: &[level(0, 7), level(1, 22)] },
    Feature {
        name: ELR_VERSION,
        levels: &[
            level(0, 7),
            FeatureLevel {
                level: 1,
                bootstrap: MetadataVersion(26),
                dependencies: &[(METADATA_VERSION, 23)],
            },
        ],
    },
    Feature { name: SHARE_VERSION, levels: &[level(0, 7), level(1, 28), level(2, 31)] },
    Feature { name: STREAMS_VERSION, levels: &[level(0, 7), level(1, 29)] },
];

impl Feature {
    pub fn by_name(name: &str) -> Option<&'static Feature> {
        FEATURES.iter().find(|f| f.name == name)
    }

    pub fn max_level(&self) -> i16 {
        self.levels.last().map_or(0, |l| l.level)
    }

    /// The level that a cluster formatted with this metadata version gets.
    pub fn default_level(&self, version: MetadataVersion) -> i16 {
        self.levels.iter().take_while(|l| l.bootstrap <= version).last().map_or(0, |l| l.level)
    }

    pub fn level(&self, level: i16) -> Option<&'static FeatureLevel> {
        self.levels.iter().find(|l| l.level == level)
    }
}

/// Checks that a level's dependencies hold among all levels of a cluster (`Feature.validateVersion`).
pub fn validate_dependencies(
    name: &str,
    level: &FeatureLevel,
    features: &BTreeMap<String, i16>,
) -> Result<(), String> {
    let minimum = MetadataVersion::MINIMUM;
    let metadata = features.get(METADATA_VERSION).copied();
    if level.level >= 1 && metadata.is_none_or(|m| m < minimum.level()) {
        return Err(format!(
            "{name} could not be set to {} because it depends on metadata.version={} ({minimum})",
            level.level,
            minimum.level()
        ));
    }
    for (other, needed) in level.dependencies {
        if features.get(*other).is_none_or(|have| have < needed) {
            return Err(format!(
                "{name} could not be set to {} because it depends on {other} level {needed}",
                level.level
            ));
        }
    }
    Ok(())
}

/// What a node of this program supports: `(name, min, max)`, sorted by name.
pub fn supported_features() -> Vec<(&'static str, i16, i16)> {
    let mut out: Vec<(&'static str, i16, i16)> =
        FEATURES.iter().map(|f| (f.name, 0, f.max_level())).collect();
    out.push((METADATA_VERSION, MetadataVersion::MINIMUM.level(), MetadataVersion::LATEST.level()));
    out.sort_unstable();
    out
}
