//! gzip streams, one member or several.

use std::io::{Read, Write};

use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;

use super::{Codec, CompressionError};

/// Bytes added to the output between two looks at the budget.
const STEP: usize = 16 * 1024;

const fn corrupt(reason: &'static str) -> CompressionError {
    CompressionError::Corrupt { codec: Codec::Gzip, reason }
}

pub(super) fn decompress(
    input: &[u8],
    budget_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let mut rest = input;
    let mut produced = 0;
    loop {
        let mut decoder = GzDecoder::new(rest);
        read_to_end(&mut decoder, budget_bytes, &mut produced, out)?;
        rest = decoder.into_inner();
        // `java.util.zip.GZIPInputStream` goes on with another member and takes anything else for the end.
        if !rest.starts_with(&[0x1f, 0x8b]) {
            return Ok(());
        }
    }
}

fn read_to_end(
    decoder: &mut impl Read,
    budget_bytes: usize,
    produced: &mut usize,
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    loop {
        let start = out.len();
        out.resize(start + STEP, 0);
        let read = decoder.read(&mut out[start..]);
        let count = match read {
            Ok(count) => count,
            Err(_) => {
                out.truncate(start);
                return Err(corrupt("invalid or truncated stream"));
            }
        };
        out.truncate(start + count);
        *produced += count;
        if *produced > budget_bytes {
            return Err(CompressionError::BudgetExceeded { budget_bytes });
        }
        if count == 0 {
            return Ok(());
        }
    }
}

pub(super) fn compress(level: i32, input: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
    let level = match u32::try_from(level) {
        Ok(level @ 0..=9) => flate2::Compression::new(level),
        _ => flate2::Compression::default(),
    };
    let mut encoder = GzEncoder::new(out, level);
    encoder.write_all(input).map_err(|_| CompressionError::CompressFailed { codec: Codec::Gzip })?;
    encoder.finish().map_err(|_| CompressionError::CompressFailed { codec: Codec::Gzip })?;
    Ok(())
}
