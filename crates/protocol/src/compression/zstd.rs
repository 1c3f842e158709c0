//! Zstandard streams.

use zstd::zstd_safe::{CCtx, DCtx, DParameter, InBuffer, OutBuffer};

use super::{Codec, CompressionError};

/// Bytes added to the output between two looks at the budget: the size of a zstd block.
const STEP: usize = 128 * 1024;
/// The largest window that a frame may ask for, 128 MiB: the limit of Kafka's library, so level 22 stays readable.
const WINDOW_LOG_MAX: u32 = 27;

const fn corrupt(reason: &'static str) -> CompressionError {
    CompressionError::Corrupt { codec: Codec::Zstd, reason }
}

pub(super) fn decompress(
    context: &mut Option<DCtx<'static>>,
    input: &[u8],
    budget_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let context = match context {
        Some(context) => context,
        None => {
            let mut created = DCtx::try_create().ok_or(corrupt("no memory for a context"))?;
            created
                .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
                .map_err(|_| corrupt("cannot bound the window"))?;
            context.insert(created)
        }
    };
    context.init().map_err(|_| corrupt("cannot reset the context"))?;
    let first = out.len();
    let mut source = InBuffer::around(input);
    loop {
        let start = out.len();
        out.resize(start + STEP, 0);
        let (result, written) = {
            let mut target = OutBuffer::around(&mut out[start..]);
            let result = context.decompress_stream(&mut target, &mut source);
            (result, target.pos())
        };
        out.truncate(start + written);
        let hint = result.map_err(|_| corrupt("invalid frame"))?;
        if out.len() - first > budget_bytes {
            return Err(CompressionError::BudgetExceeded { budget_bytes });
        }
        if source.pos == input.len() {
            if hint == 0 {
                return Ok(());
            }
            if written < STEP {
                return Err(corrupt("truncated frame"));
            }
        }
    }
}

pub(super) fn compress(level: i32, input: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
    let failed = || CompressionError::CompressFailed { codec: Codec::Zstd };
    let start = out.len();
    out.resize(start + zstd::zstd_safe::compress_bound(input.len()), 0);
    let mut context = CCtx::try_create().ok_or_else(failed)?;
    let written = context.compress(&mut out[start..], input, level).map_err(|_| failed())?;
    out.truncate(start + written);
    Ok(())
}
