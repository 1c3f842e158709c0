//! Answers that a broker gives from the image alone.

mod acls;
mod cluster;
mod configs;
mod effective;
mod preprocess;
mod quotas;
mod scram;
#[cfg(test)]
mod tests;

pub use acls::describe_acls;
pub use cluster::{describe_cluster, describe_delegation_tokens, list_config_resources};
pub use configs::{BrokerView, describe_configs};
pub use effective::{ConfigSource, effective_topic_value};
pub use preprocess::{Preprocessed, preprocess_incremental, preprocess_legacy};
pub use quotas::describe_client_quotas;
pub use scram::describe_user_scram_credentials;
