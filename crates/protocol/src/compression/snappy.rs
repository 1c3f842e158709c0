//! Snappy in the framing of `snappy-java` ("xerial"), and bare snappy blocks where the framing is missing.
//!
//! The frame: 8 bytes of magic, two int32 versions, then chunks of an int32 length and a snappy block.

use super::{Codec, CompressionError};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const VERSION: i32 = 1;
const HEADER_LEN: usize = 16;
/// Content bytes of a chunk: `snappy-java`'s default block size.
const BLOCK_SIZE: usize = 32 * 1024;

const fn corrupt(reason: &'static str) -> CompressionError {
    CompressionError::Corrupt { codec: Codec::Snappy, reason }
}

pub(super) fn decompress(
    decoder: &mut snap::raw::Decoder,
    input: &[u8],
    budget_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let mut left = budget_bytes;
    let Some((header, mut rest)) = input.split_first_chunk::<HEADER_LEN>() else {
        return decompress_block(decoder, input, budget_bytes, &mut left, out);
    };
    if header[..8] != MAGIC {
        return decompress_block(decoder, input, budget_bytes, &mut left, out);
    }
    let version = i32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    if version < VERSION {
        return Err(corrupt("incompatible framing version"));
    }
    // An incomplete length at the end is the end, as for `SnappyInputStream`.
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        // A stream may follow another one, header and all.
        if after.len() >= HEADER_LEN - 4 && rest.starts_with(&MAGIC) {
            rest = &rest[HEADER_LEN..];
            continue;
        }
        let length = u32::from_be_bytes(*length) as usize;
        let Some((block, after)) = after.split_at_checked(length) else {
            return Err(corrupt("chunk is longer than the data"));
        };
        decompress_block(decoder, block, budget_bytes, &mut left, out)?;
        rest = after;
    }
    Ok(())
}

fn decompress_block(
    decoder: &mut snap::raw::Decoder,
    block: &[u8],
    budget_bytes: usize,
    left: &mut usize,
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let length = snap::raw::decompress_len(block).map_err(|_| corrupt("invalid block length"))?;
    if length > *left {
        return Err(CompressionError::BudgetExceeded { budget_bytes });
    }
    // A snappy copy element makes at most 64 bytes of 2; a longer claim is a lie that must not be allocated.
    if length > block.len().saturating_mul(64) {
        return Err(corrupt("block length cannot be reached"));
    }
    let start = out.len();
    out.resize(start + length, 0);
    let written = decoder.decompress(block, &mut out[start..]).map_err(|_| corrupt("invalid block"))?;
    out.truncate(start + written);
    *left -= written;
    Ok(())
}

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
    let failed = || CompressionError::CompressFailed { codec: Codec::Snappy };
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&VERSION.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in input.chunks(BLOCK_SIZE) {
        let length_at = out.len();
        let start = length_at + 4;
        out.resize(start + snap::raw::max_compress_len(block.len()), 0);
        let written = encoder.compress(block, &mut out[start..]).map_err(|_| failed())?;
        out.truncate(start + written);
        let length = u32::try_from(written).map_err(|_| failed())?;
        out[length_at..start].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}
