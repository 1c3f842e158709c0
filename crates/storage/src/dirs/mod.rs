//! The log directories of a node.
//!
//! Source: Kafka `LogManager`, `MetaProperties`, `PartitionMetadataFile`, `CleanShutdownFileHandler`.

mod checkpoints;
mod clean_shutdown;
mod cleaning;
mod commit;
mod log_dirs;
mod meta_properties;
mod moves;
mod names;
mod partition_metadata;
mod settings;
mod state;

pub use clean_shutdown::{CLEAN_SHUTDOWN_FILE, CleanShutdown};
pub use cleaning::{CleanerStatus, Cleaning};
pub use commit::{Committed, Committer};
pub use log_dirs::{DirError, LogDirInfo, LogDirs, LogDirsOptions, TopicConfigs};
pub use meta_properties::{META_PROPERTIES_FILE, MetaProperties, MetaPropertiesError};
pub use moves::{Copied, Promoted};
pub use names::{
    DirKind, delete_dir_name, future_dir_name, parse_dir_name, partition_dir_name, stray_dir_name,
};
pub use partition_metadata::{PARTITION_METADATA_FILE, PartitionMetadata};
pub use settings::LogDirsSettings;
pub use state::DirState;

/// The lock file of a log directory.
pub const LOCK_FILE: &str = ".lock";
/// The directory of the metadata log, which the log directories leave alone.
pub const CLUSTER_METADATA_DIR: &str = "__cluster_metadata-0";
