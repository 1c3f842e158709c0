//! What a Produce request may hold, by its version.

use ottla_protocol::ErrorCode;
use ottla_protocol::compression::Codec;
use ottla_protocol::records::BatchIter;

use crate::error::LogError;

/// Checks the records of one partition of a Produce request of `version`: exactly one batch, of magic 2, with a
/// codec that the version knows. Absent records are an error too.
///
/// # Errors
/// What Kafka answers for the whole request.
pub fn validate_produce_request(version: i16, records: Option<&[u8]>) -> Result<(), LogError> {
    let invalid = |text: String| Err(LogError::InvalidRecord { text });
    let mut batches = BatchIter::new(records.unwrap_or_default());
    let Some(first) = batches.next() else {
        return invalid(format!(
            "Produce requests with version {version} must have at least one record batch per partition"
        ));
    };
    let first = first?;
    let header = first.header();
    if header.magic != 2 {
        return invalid(format!(
            "Produce requests with version {version} are only allowed to contain record batches with magic version 2"
        ));
    }
    if version < 7 && header.codec() == Ok(Codec::Zstd) {
        return Err(LogError::UnsupportedForRequest {
            code: ErrorCode::UnsupportedCompressionType,
            text: format!(
                "Produce requests with version {version} are not allowed to use ZStandard compression"
            ),
        });
    }
    match batches.next() {
        Some(Err(error)) => Err(error.into()),
        Some(Ok(_)) => invalid(format!(
            "Produce requests with version {version} are only allowed to contain exactly one record batch per \
             partition"
        )),
        None => Ok(()),
    }
}
