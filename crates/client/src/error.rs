//! Why a client call failed.

use ottla_net::ChannelError;
use ottla_protocol::compression::CompressionError;
use ottla_protocol::records::RecordsError;
use ottla_protocol::{ApiKey, ErrorCode};

/// Why a client call failed. `Display` is the text that Kafka's client gives where it has one.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{0}")]
    Config(String),
    #[error("{}", message.as_deref().filter(|m| !m.is_empty()).unwrap_or(code.message()))]
    Api { code: ErrorCode, message: Option<String> },
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error("The node does not support {}", api.name())]
    UnsupportedApi { api: ApiKey },
    #[error("The broker does not support {} with version in range [{min},{max}]", api.name())]
    UnsupportedVersion { api: ApiKey, min: i16, max: i16 },
    #[error("{0}")]
    Timeout(String),
    #[error("{0}")]
    UnknownTopic(String),
    #[error("{0}")]
    InvalidState(String),
    #[error("{0}")]
    InvalidRecord(String),
    #[error(
        "Received exception when fetching the next record from {partition}. If needed, please seek past the record to continue consumption. ({source})"
    )]
    CorruptRecords { partition: crate::TopicPartition, source: RecordsError },
    #[error("Undefined offset with no reset policy for partitions: [{0}]")]
    NoOffset(crate::TopicPartition),
    #[error("cannot compress: {0}")]
    Compression(#[from] CompressionError),
}

impl ClientError {
    /// The error of a response; `Ok` when the code is 0.
    pub fn check(code: i16, message: Option<&str>) -> Result<(), ClientError> {
        if code == 0 {
            return Ok(());
        }
        Err(ClientError::Api { code: ErrorCode::from_code(code), message: message.map(str::to_owned) })
    }

    /// The error code that stands for this error.
    pub fn code(&self) -> ErrorCode {
        match self {
            ClientError::Api { code, .. } => *code,
            ClientError::Config(_) => ErrorCode::InvalidConfig,
            ClientError::Channel(ChannelError::Timeout { .. }) | ClientError::Timeout(_) => {
                ErrorCode::RequestTimedOut
            }
            ClientError::Channel(_) => ErrorCode::NetworkException,
            ClientError::UnsupportedApi { .. } | ClientError::UnsupportedVersion { .. } => {
                ErrorCode::UnsupportedVersion
            }
            ClientError::UnknownTopic(_) => ErrorCode::UnknownTopicOrPartition,
            ClientError::InvalidState(_) => ErrorCode::InvalidTxnState,
            ClientError::InvalidRecord(_) => ErrorCode::InvalidRecord,
            ClientError::CorruptRecords { .. } => ErrorCode::CorruptMessage,
            ClientError::NoOffset(_) => ErrorCode::OffsetOutOfRange,
            ClientError::Compression(_) => ErrorCode::UnsupportedCompressionType,
        }
    }

    /// Whether trying again may help.
    pub fn is_retriable(&self) -> bool {
        match self {
            ClientError::Api { code, .. } => code.is_retriable(),
            ClientError::Channel(error) => is_connection_loss(error),
            _ => false,
        }
    }
}

/// Whether the connection went away, so that the request may be sent again on a new one.
pub(crate) fn is_connection_loss(error: &ChannelError) -> bool {
    match error {
        ChannelError::Connect { .. } | ChannelError::Closed { .. } | ChannelError::Timeout { .. } => true,
        ChannelError::Encode { .. } | ChannelError::Decode { .. } => false,
    }
}
