//! LZ4 frames as Kafka reads and writes them: independent blocks of at most 4 MiB, written in blocks of 64 KiB.
//!
//! Source: Kafka `Lz4BlockInputStream` and `Lz4BlockOutputStream`. Dependent blocks are refused there and here; the
//! content checksum is skipped there and here. The library that works on blocks is the one that Kafka uses.

use lz4::block::CompressionMode;

use super::{Codec, CompressionError};

const MAGIC: u32 = 0x184D_2204;
const FLAG_VERSION_1: u8 = 0b0100_0000;
const FLAG_INDEPENDENT: u8 = 0b0010_0000;
const FLAG_BLOCK_CHECKSUM: u8 = 0b0001_0000;
const FLAG_CONTENT_SIZE: u8 = 0b0000_1000;
const FLAG_CONTENT_CHECKSUM: u8 = 0b0000_0100;
const FLAG_RESERVED: u8 = 0b0000_0011;
const INCOMPRESSIBLE: u32 = 0x8000_0000;
/// Block descriptor for blocks of 64 KiB.
const BD_64_KIB: u8 = 4 << 4;
const BLOCK_SIZE: usize = 64 * 1024;

/// What to do about the checksum of the frame header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderChecksum {
    Check,
    /// Magic 0 messages carry a wrong one.
    Ignore,
}

const fn corrupt(reason: &'static str) -> CompressionError {
    CompressionError::Corrupt { codec: Codec::Lz4, reason }
}

const FAILED: CompressionError = CompressionError::CompressFailed { codec: Codec::Lz4 };

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], CompressionError> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(corrupt("premature end of stream"))?;
        self.0 = rest;
        Ok(head)
    }

    fn u8(&mut self) -> Result<u8, CompressionError> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<u32, CompressionError> {
        let (head, rest) = self.0.split_first_chunk::<4>().ok_or(corrupt("premature end of stream"))?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*head))
    }
}

/// The blocks of a frame, in order.
#[derive(Debug)]
pub(crate) struct Blocks<'a> {
    rest: &'a [u8],
    flags: u8,
    max_block_bytes: usize,
    budget_bytes: usize,
    /// Of the budget.
    left_bytes: usize,
}

/// A block as it is stored.
struct Block<'a> {
    stored: &'a [u8],
    compressed: bool,
    /// The most that its content takes.
    grown_bytes: usize,
    /// Of that, what the budget leaves.
    room_bytes: usize,
}

impl Block<'_> {
    /// None when the block is damaged, or its content needs more room.
    fn decompress_into(&self, room: &mut [u8]) -> Option<usize> {
        let room_bytes = i32::try_from(room.len()).ok();
        lz4::block::decompress_to_buffer(self.stored, Some(room_bytes?), room).ok()
    }

    /// Whether the room was all that was wrong.
    fn is_sound(&self) -> bool {
        self.room_bytes < self.grown_bytes && self.decompress_into(&mut vec![0; self.grown_bytes]).is_some()
    }
}

impl<'a> Blocks<'a> {
    /// Reads the header of the frame. At most `budget_bytes` of content are given out.
    pub(crate) fn new(
        input: &'a [u8],
        header_checksum: HeaderChecksum,
        budget_bytes: usize,
    ) -> Result<Self, CompressionError> {
        let mut cursor = Cursor(input);
        if cursor.u32()? != MAGIC {
            return Err(corrupt("unknown frame magic"));
        }
        let descriptor = cursor.0;
        let flags = cursor.u8()?;
        if flags & 0b1100_0000 != FLAG_VERSION_1 {
            return Err(corrupt("unsupported frame version"));
        }
        if flags & FLAG_INDEPENDENT == 0 {
            return Err(corrupt("dependent blocks are not supported"));
        }
        if flags & FLAG_RESERVED != 0 {
            return Err(corrupt("reserved bits are set"));
        }
        let bd = cursor.u8()?;
        if bd & 0b1000_1111 != 0 {
            return Err(corrupt("reserved bits are set"));
        }
        let max_block_bytes = match bd >> 4 {
            code @ 4..=7 => 1usize << (2 * u32::from(code) + 8),
            _ => return Err(corrupt("invalid block size")),
        };
        if flags & FLAG_CONTENT_SIZE != 0 {
            cursor.take(8)?;
        }
        let described = &descriptor[..descriptor.len() - cursor.0.len()];
        let expected = (xxh32(described) >> 8) as u8;
        if cursor.u8()? != expected && header_checksum == HeaderChecksum::Check {
            return Err(corrupt("frame descriptor checksum mismatch"));
        }
        Ok(Blocks { rest: cursor.0, flags, max_block_bytes, budget_bytes, left_bytes: budget_bytes })
    }

    fn next(&mut self) -> Result<Option<Block<'a>>, CompressionError> {
        let mut cursor = Cursor(self.rest);
        let word = cursor.u32()?;
        let size = (word & !INCOMPRESSIBLE) as usize;
        if size == 0 {
            if self.flags & FLAG_CONTENT_CHECKSUM != 0 {
                cursor.u32()?;
            }
            return Ok(None);
        }
        if size > self.max_block_bytes {
            return Err(corrupt("block is larger than the frame allows"));
        }
        let stored = cursor.take(size)?;
        if self.flags & FLAG_BLOCK_CHECKSUM != 0 && cursor.u32()? != xxh32(stored) {
            return Err(corrupt("block checksum mismatch"));
        }
        self.rest = cursor.0;
        let compressed = word & INCOMPRESSIBLE == 0;
        // A block grows by at most 255 times, so a small block never makes a large buffer.
        let grown_bytes = if compressed { self.max_block_bytes.min(size.saturating_mul(255)) } else { size };
        let room_bytes = grown_bytes.min(self.left_bytes);
        Ok(Some(Block { stored, compressed, grown_bytes, room_bytes }))
    }

    /// Puts the content of the next block behind the first `filled` bytes of `buffer`, which grows where it is too small and
    /// is never shortened. Returns how many bytes these were; None at the end of the frame.
    ///
    /// # Errors
    /// As [`super::Decompressor::decompress`].
    pub(crate) fn next_into(
        &mut self,
        buffer: &mut Vec<u8>,
        filled: usize,
    ) -> Result<Option<usize>, CompressionError> {
        let exceeded = CompressionError::BudgetExceeded { budget_bytes: self.budget_bytes };
        let Some(block) = self.next()? else { return Ok(None) };
        let end = filled + block.room_bytes;
        if buffer.len() < end {
            buffer.resize(end, 0);
        }
        let room = &mut buffer[filled..end];
        let written = if block.compressed {
            match block.decompress_into(room) {
                Some(written) => written,
                None if block.is_sound() => return Err(exceeded),
                None => return Err(corrupt("invalid block")),
            }
        } else if block.stored.len() > room.len() {
            return Err(exceeded);
        } else {
            room.copy_from_slice(block.stored);
            room.len()
        };
        self.left_bytes -= written;
        Ok(Some(written))
    }
}

pub(super) fn decompress(
    input: &[u8],
    header_checksum: HeaderChecksum,
    budget_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let mut blocks = Blocks::new(input, header_checksum, budget_bytes)?;
    loop {
        let start = out.len();
        let written = blocks.next_into(out, start);
        out.truncate(start + *written.as_ref().ok().and_then(Option::as_ref).unwrap_or(&0));
        if written?.is_none() {
            return Ok(());
        }
    }
}

/// The default level is the fast compressor; every other one is a search of that depth (lz4 HC), as in Kafka's
/// `Lz4BlockOutputStream`.
fn compress_block(level: i32, block: &[u8], out: &mut [u8]) -> Result<usize, CompressionError> {
    let mode = if level == Codec::Lz4.default_level() {
        CompressionMode::DEFAULT
    } else {
        CompressionMode::HIGHCOMPRESSION(level)
    };
    lz4::block::compress_to_buffer(block, Some(mode), false, out).map_err(|_| FAILED)
}

pub(super) fn compress(level: i32, input: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
    let descriptor = [FLAG_VERSION_1 | FLAG_INDEPENDENT, BD_64_KIB];
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&descriptor);
    out.push((xxh32(&descriptor) >> 8) as u8);
    for block in input.chunks(BLOCK_SIZE) {
        let word_at = out.len();
        let start = word_at + 4;
        out.resize(start + lz4::block::compress_bound(block.len()).map_err(|_| FAILED)?, 0);
        let written = compress_block(level, block, &mut out[start..])?;
        let word = if written < block.len() {
            out.truncate(start + written);
            written as u32
        } else {
            out.truncate(start);
            out.extend_from_slice(block);
            block.len() as u32 | INCOMPRESSIBLE
        };
        out[word_at..start].copy_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&0u32.to_le_bytes());
    Ok(())
}

/// XXH32 with seed 0, the checksum of LZ4 frames.
fn xxh32(input: &[u8]) -> u32 {
    const P1: u32 = 0x9E37_79B1;
    const P2: u32 = 0x85EB_CA77;
    const P3: u32 = 0xC2B2_AE3D;
    const P4: u32 = 0x27D4_EB2F;
    const P5: u32 = 0x1656_67B1;
    let mut stripes = input.chunks_exact(16);
    let mut hash = if input.len() >= 16 {
        let mut lanes = [P1.wrapping_add(P2), P2, 0, 0u32.wrapping_sub(P1)];
        for stripe in stripes.by_ref() {
            for (lane, word) in lanes.iter_mut().zip(stripe.chunks_exact(4)) {
                let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
                *lane = lane.wrapping_add(word.wrapping_mul(P2)).rotate_left(13).wrapping_mul(P1);
            }
        }
        lanes[0]
            .rotate_left(1)
            .wrapping_add(lanes[1].rotate_left(7))
            .wrapping_add(lanes[2].rotate_left(12))
            .wrapping_add(lanes[3].rotate_left(18))
    } else {
        P5
    };
    hash = hash.wrapping_add(input.len() as u32);
    let mut words = stripes.remainder().chunks_exact(4);
    for word in words.by_ref() {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        hash = hash.wrapping_add(word.wrapping_mul(P3)).rotate_left(17).wrapping_mul(P4);
    }
    for &byte in words.remainder() {
        hash = hash.wrapping_add(u32::from(byte).wrapping_mul(P5)).rotate_left(11).wrapping_mul(P1);
    }
    hash ^= hash >> 15;
    hash = hash.wrapping_mul(P2);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(P3);
    hash ^ (hash >> 16)
}
