//! Why bytes are no record batch. The texts are Kafka's, because brokers answer with them.

use thiserror::Error;

use crate::compression::CompressionError;

/// What is wrong with a batch or a record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordsError {
    /// The length field is below the smallest message.
    #[error("Record size {size} is less than the minimum record overhead (14)")]
    SizeTooSmall {
        /// The length field.
        size: i32,
    },
    /// The length field is above what the caller allows.
    #[error("Record size {size} exceeds the largest allowable message size ({max}).")]
    SizeTooLarge {
        /// The length field.
        size: i32,
        /// The limit.
        max: i32,
    },
    /// The magic is unknown.
    #[error("Invalid magic found in record: {magic}")]
    InvalidMagic {
        /// The magic byte.
        magic: i8,
    },
    /// A magic 2 batch without room for its header.
    #[error(
        "Record batch is corrupt (the size {size} is smaller than the minimum allowed overhead {overhead})"
    )]
    BatchTooSmall {
        /// Bytes of the batch.
        size: usize,
        /// Bytes of a header.
        overhead: usize,
    },
    /// A magic 0 or 1 message without room for its header.
    #[error("Record is corrupt (crc could not be retrieved as the record is too small, size = {size})")]
    MessageTooSmall {
        /// Bytes of the message.
        size: usize,
    },
    /// The checksum is wrong.
    #[error("Record is corrupt (stored crc = {stored}, computed crc = {computed})")]
    CrcMismatch {
        /// The checksum in the batch.
        stored: u32,
        /// The checksum of its bytes.
        computed: u32,
    },
    /// The codec bits name no codec.
    #[error("Unknown compression type id: {id}")]
    UnknownCompression {
        /// The bits.
        id: u8,
    },
    /// The number of records is negative.
    #[error("Found invalid record count {count} in magic v{magic} batch")]
    InvalidCount {
        /// The count field.
        count: i32,
        /// The magic of the batch.
        magic: i8,
    },
    /// There are fewer records than the header says.
    #[error("Incorrect declared batch size, premature EOF reached")]
    PrematureEnd,
    /// There is more than the records that the header says.
    #[error("Incorrect declared batch size, records still remaining in file")]
    RecordsRemaining,
    /// The length of a record passes the end of an uncompressed batch.
    #[error(
        "Invalid record size: expected {expected} bytes in record payload, but instead the buffer has only \
         {remaining} remaining bytes."
    )]
    RecordPastBatch {
        /// The length of the record.
        expected: i32,
        /// What is left of the batch.
        remaining: usize,
    },
    /// The length of a record passes the end of the decompressed content.
    #[error(
        "Invalid record size: expected {expected} bytes in record payload, but the record payload reached EOF."
    )]
    RecordPastContent {
        /// The length of the record.
        expected: i32,
    },
    /// A decompressed record says that it has fewer than no bytes.
    #[error("Invalid record size: {size} is negative.")]
    NegativeRecordSize {
        /// The length of the record.
        size: i32,
    },
    /// A decompressed record is larger than `max.decompressed.message.bytes`.
    #[error("Invalid record size: {size} exceeds the configured maximum record size of {max}.")]
    RecordTooLarge {
        /// The length of the record.
        size: i32,
        /// The limit.
        max: i32,
    },
    /// The fields of a record have not the length that the record says.
    #[error(
        "Invalid record size: expected to read {expected} bytes in record payload, but instead read {read}"
    )]
    RecordSizeMismatch {
        /// The length of the record.
        expected: i32,
        /// The length of its fields.
        read: usize,
    },
    /// The number of headers is negative.
    #[error("Found invalid number of record headers {count}")]
    NegativeHeaderCount {
        /// The count field.
        count: i32,
    },
    /// There cannot be as many headers as the record says.
    #[error(
        "Found invalid number of record headers. {count} is larger than the remaining size of the buffer"
    )]
    TooManyHeaders {
        /// The count field.
        count: i32,
    },
    /// A header has no key.
    #[error("Invalid negative header key size {size}")]
    NegativeHeaderKeySize {
        /// The length field.
        size: i32,
    },
    /// A field of a record passes its end, or a number is too long.
    #[error("Found invalid record structure")]
    InvalidRecordStructure,
    /// The length of a record is a number of more than five bytes.
    #[error(
        "Varint is too long, the most significant bit in the 5th byte is set, converted value: {value:x}"
    )]
    VarintTooLong {
        /// The bits of the first five bytes.
        value: u32,
    },
    /// A compressed magic 0 or 1 message with a codec that those never had.
    #[error("Invalid wrapper compressionType found in legacy deep record iterator {magic}")]
    InvalidWrapperCompression {
        /// The magic of the message.
        magic: i8,
    },
    /// A compressed magic 0 or 1 message without a value.
    #[error("Found invalid compressed record set with null value (magic = {magic})")]
    NullWrapperValue {
        /// The magic of the message.
        magic: i8,
    },
    /// A compressed magic 0 or 1 message with nothing in it.
    #[error("Found invalid compressed record set with no inner records")]
    NoInnerRecords,
    /// The offsets inside of a compressed magic 1 message pass its own.
    #[error(
        "Found invalid wrapper offset in compressed v1 message set, wrapper offset '{wrapper}' is less than the last \
         inner message offset '{inner}' and it is not zero."
    )]
    InvalidWrapperOffset {
        /// Offset of the message.
        wrapper: i64,
        /// Last offset within it.
        inner: i64,
    },
    /// A compressed message within a compressed message.
    #[error("Inner messages must not be compressed")]
    NestedCompression,
    /// The key of a control record is too short or of a negative version.
    #[error("Invalid version found for control record: {version}. May indicate data corruption")]
    InvalidControlKeyVersion {
        /// The version field.
        version: i16,
    },
    /// The key of a control record is shorter than version and type.
    #[error(
        "Invalid value size found for control record key. Must have at least 4 bytes, but found only {size}"
    )]
    ControlKeyTooShort {
        /// Bytes of the key.
        size: usize,
    },
    /// The value of a transaction marker is of a negative version.
    #[error("Invalid version found for end transaction marker: {version}. May indicate data corruption")]
    InvalidEndTxnVersion {
        /// The version field.
        version: i16,
    },
    /// The value of a transaction marker is shorter than its fields.
    #[error(
        "Invalid value size found for end transaction marker. Must have at least 6 bytes, but found only {size}"
    )]
    EndTxnTooShort {
        /// Bytes of the value.
        size: usize,
    },
    /// The content cannot be decompressed.
    #[error("Failed to decompress record stream: {0}")]
    Decompression(#[from] CompressionError),
}

impl RecordsError {
    /// Whether the batch itself is damaged (Kafka's `CorruptRecordException`, CORRUPT_MESSAGE), as opposed to a sound
    /// batch with impossible content (`InvalidRecordException`, INVALID_RECORD).
    pub fn is_corrupt(&self) -> bool {
        match self {
            RecordsError::SizeTooSmall { .. }
            | RecordsError::SizeTooLarge { .. }
            | RecordsError::InvalidMagic { .. }
            | RecordsError::BatchTooSmall { .. }
            | RecordsError::MessageTooSmall { .. }
            | RecordsError::CrcMismatch { .. } => true,
            RecordsError::UnknownCompression { .. }
            | RecordsError::InvalidCount { .. }
            | RecordsError::PrematureEnd
            | RecordsError::RecordsRemaining
            | RecordsError::RecordPastBatch { .. }
            | RecordsError::RecordPastContent { .. }
            | RecordsError::NegativeRecordSize { .. }
            | RecordsError::RecordTooLarge { .. }
            | RecordsError::RecordSizeMismatch { .. }
            | RecordsError::NegativeHeaderCount { .. }
            | RecordsError::TooManyHeaders { .. }
            | RecordsError::NegativeHeaderKeySize { .. }
            | RecordsError::InvalidRecordStructure
            | RecordsError::VarintTooLong { .. }
            | RecordsError::InvalidWrapperCompression { .. }
            | RecordsError::NullWrapperValue { .. }
            | RecordsError::NoInnerRecords
            | RecordsError::InvalidWrapperOffset { .. }
            | RecordsError::NestedCompression
            | RecordsError::InvalidControlKeyVersion { .. }
            | RecordsError::ControlKeyTooShort { .. }
            | RecordsError::InvalidEndTxnVersion { .. }
            | RecordsError::EndTxnTooShort { .. }
            | RecordsError::Decompression(_) => false,
        }
    }
}
