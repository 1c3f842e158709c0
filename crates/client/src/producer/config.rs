//! The producer's settings.

use std::time::Duration;

use ottla_protocol::compression::{Codec, Compression};

use crate::{ClientConfig, ClientError};

/// The producer's settings, read and checked.
#[derive(Debug, Clone)]
pub struct ProducerConfig {
    /// -1 is all in-sync replicas.
    pub acks: i16,
    pub linger: Duration,
    pub batch_size: usize,
    pub buffer_memory: usize,
    pub max_request_size: usize,
    pub max_block: Duration,
    pub delivery_timeout: Duration,
    pub request_timeout: Duration,
    pub retries: u32,
    pub compression: Compression,
    pub idempotence: bool,
    pub max_in_flight: usize,
    pub transactional_id: Option<String>,
    pub transaction_timeout: Duration,
    pub ignore_keys: bool,
}

impl ProducerConfig {
    pub fn new(config: &ClientConfig) -> Result<ProducerConfig, ClientError> {
        let acks = match config.text("acks", "all").as_str() {
            "all" | "-1" => -1,
            "0" => 0,
            "1" => 1,
            other => {
                return Err(ClientError::Config(format!(
                    "Invalid value {other} for configuration acks: String must be one of: all, -1, 0, 1"
                )));
            }
        };
        let transactional_id = config.get("transactional.id").map(str::to_owned);
        let max_in_flight: usize = config.parsed("max.in.flight.requests.per.connection", 5)?;
        let wanted = config.contains("enable.idempotence");
        let mut idempotence = config.flag("enable.idempotence", true)?;
        let retries: u32 = config.parsed("retries", i32::MAX as u32)?;
        if acks != -1 || max_in_flight > 5 || retries == 0 {
            if transactional_id.is_some() || (wanted && idempotence) {
                return Err(ClientError::Config(
                    if max_in_flight > 5 {
                        "Must set max.in.flight.requests.per.connection to at most 5 to use the idempotent producer."
                    } else if retries == 0 {
                        "Must set retries to non-zero when using the idempotent producer."
                    } else {
                        "Must set acks to all in order to use the idempotent producer. Otherwise we cannot guarantee \
                         idempotence."
                    }
                    .to_owned(),
                ));
            }
            idempotence = false;
        }
        if transactional_id.is_some() && !idempotence {
            return Err(ClientError::Config(
                "Cannot set a transactional.id without also enabling idempotence.".to_owned(),
            ));
        }
        let name = config.text("compression.type", "none");
        let Some(codec) = Codec::from_name(&name) else {
            return Err(ClientError::Config(format!(
                "Invalid value {name} for configuration compression.type: String must be one of: none, gzip, snappy, \
                 lz4, zstd"
            )));
        };
        let level = match codec {
            Codec::Gzip => "compression.gzip.level",
            Codec::Lz4 => "compression.lz4.level",
            Codec::Zstd => "compression.zstd.level",
            Codec::None | Codec::Snappy => "",
        };
        let compression = Compression { codec, level: config.parsed(level, codec.default_level())? };
        Ok(ProducerConfig {
            acks,
            linger: config.millis("linger.ms", 5)?,
            batch_size: config.parsed("batch.size", 16_384)?,
            buffer_memory: config.parsed("buffer.memory", 33_554_432)?,
            max_request_size: config.parsed("max.request.size", 1_048_576)?,
            max_block: config.millis("max.block.ms", 60_000)?,
            delivery_timeout: config.millis("delivery.timeout.ms", 120_000)?,
            request_timeout: config.millis("request.timeout.ms", 30_000)?,
            retries,
            compression,
            idempotence,
            max_in_flight: max_in_flight.max(1),
            transactional_id,
            transaction_timeout: config.millis("transaction.timeout.ms", 60_000)?,
            ignore_keys: config.flag("partitioner.ignore.keys", false)?,
        })
    }
}
