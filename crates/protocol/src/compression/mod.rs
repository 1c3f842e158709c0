//! The codecs of record batches: gzip, snappy (xerial framing), lz4 frames and zstd, as Kafka writes and reads them.
//!
//! Decompression always works under a byte budget that the caller gives: what a few hostile bytes can make grow is
//! bounded before anything is allocated. Compressed bytes depend on the compressor; only the content is a promise.
//!
//! Source: Kafka `org.apache.kafka.common.compress`, KIP-110 (zstd), KIP-390 (levels).

mod codec;
mod gzip;
mod lz4;
mod snappy;
mod zstd;

#[cfg(test)]
mod tests;

pub use codec::{Codec, Compression};
pub(crate) use lz4::{Blocks as Lz4Blocks, HeaderChecksum};

use thiserror::Error;

/// Why a block could not be compressed or decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CompressionError {
    /// The content is larger than the caller's budget.
    #[error("decompressed content exceeds the budget of {budget_bytes} bytes")]
    BudgetExceeded {
        /// The budget, in bytes.
        budget_bytes: usize,
    },
    /// The bytes are no valid stream of the codec.
    #[error("corrupt {codec} data: {reason}")]
    Corrupt {
        /// The codec that the bytes claim.
        codec: Codec,
        /// What is wrong with them.
        reason: &'static str,
    },
    /// The compressor refused, which no input should cause.
    #[error("{codec} compression failed")]
    CompressFailed {
        /// The codec that was asked for.
        codec: Codec,
    },
}

/// Decompression contexts that are kept between calls, so that a hot path does not set them up each time.
///
/// One value belongs to one thread; it holds no state of any input between calls.
#[derive(Default)]
pub struct Decompressor {
    zstd: Option<::zstd::zstd_safe::DCtx<'static>>,
    snappy: Option<snap::raw::Decoder>,
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor").finish_non_exhaustive()
    }
}

impl Decompressor {
    /// Appends the content of `input` to `out`, at most `budget_bytes` of it.
    ///
    /// Bytes after the end of the stream are ignored for gzip, snappy and lz4 and are an error for zstd, as in Kafka.
    ///
    /// # Errors
    /// [`CompressionError::BudgetExceeded`] when the content is larger than the budget, [`CompressionError::Corrupt`]
    /// when `input` is not a complete stream of `codec`. `out` then holds an unspecified part of the content.
    pub fn decompress(
        &mut self,
        codec: Codec,
        input: &[u8],
        budget_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CompressionError> {
        match codec {
            Codec::None => {
                if input.len() > budget_bytes {
                    return Err(CompressionError::BudgetExceeded { budget_bytes });
                }
                out.extend_from_slice(input);
                Ok(())
            }
            Codec::Gzip => gzip::decompress(input, budget_bytes, out),
            Codec::Snappy => snappy::decompress(
                self.snappy.get_or_insert_with(snap::raw::Decoder::new),
                input,
                budget_bytes,
                out,
            ),
            Codec::Lz4 => lz4::decompress(input, lz4::HeaderChecksum::Check, budget_bytes, out),
            Codec::Zstd => zstd::decompress(&mut self.zstd, input, budget_bytes, out),
        }
    }

    /// Like [`Decompressor::decompress`] for lz4 inside of a magic 0 message, whose frame header carries the wrong
    /// checksum of early Kafka producers.
    ///
    /// # Errors
    /// As [`Decompressor::decompress`].
    pub fn decompress_lz4_without_header_checksum(
        &mut self,
        input: &[u8],
        budget_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CompressionError> {
        lz4::decompress(input, lz4::HeaderChecksum::Ignore, budget_bytes, out)
    }
}

/// Decompresses `input` into a new buffer of at most `budget_bytes`.
///
/// # Errors
/// As [`Decompressor::decompress`].
pub fn decompress(codec: Codec, input: &[u8], budget_bytes: usize) -> Result<Vec<u8>, CompressionError> {
    let mut out = Vec::new();
    Decompressor::default().decompress(codec, input, budget_bytes, &mut out)?;
    Ok(out)
}

/// Compresses `input` and appends the stream to `out`.
///
/// # Errors
/// [`CompressionError::CompressFailed`] when the codec's library refuses.
pub fn compress(compression: Compression, input: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
    match compression.codec {
        Codec::None => {
            out.extend_from_slice(input);
            Ok(())
        }
        Codec::Gzip => gzip::compress(compression.level, input, out),
        Codec::Snappy => snappy::compress(input, out),
        Codec::Lz4 => lz4::compress(compression.level, input, out),
        Codec::Zstd => zstd::compress(compression.level, input, out),
    }
}
