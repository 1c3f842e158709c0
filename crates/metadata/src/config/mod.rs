//! Configuration: one table of every key, and everything that is derived from it.
//!
//! [`StaticConfig`] is what a node starts with; [`LogConfig`] is what a topic's partitions follow;
//! [`table`] has the rows that DescribeConfigs, validation and documentation come from.

mod dynamic;
mod keys_broker;
mod keys_client_metrics;
mod keys_group;
mod keys_topic;
pub mod listeners;
mod log_config;
mod properties;
mod providers;
mod resources;
mod roles;
mod static_config;
pub mod table;
mod value;

#[cfg(test)]
mod tests;

pub use dynamic::{validate_broker_change, validate_thread_count};
pub use keys_broker::BROKER_KEYS;
pub use keys_client_metrics::CLIENT_METRICS_KEYS;
pub use keys_group::GROUP_KEYS;
pub use keys_topic::TOPIC_KEYS;
pub use listeners::{Endpoint, SecurityProtocol};
pub use log_config::{LogConfig, TimestampType, topic_default, unusable_topic_values, validate_topic_config};
pub use properties::{MalformedEscape, Property, escape_property, parse_properties};
pub use providers::{ProviderKind, Resolver};
pub use resources::{parse_matching_patterns, validate_client_metrics_config, validate_group_config};
pub use static_config::{ConfigWarning, Origin, RawConfig, RawEntry, Roles, StartError, StaticConfig};
pub use table::{ConfigKey, ConfigType};
pub use value::{
    ConfigError, ConfigValue, VoterAddress, default_value, java_list, parse_bootstrap_server,
    parse_iso_duration_ms, parse_value, parse_voters, split_list, valid_values,
};
