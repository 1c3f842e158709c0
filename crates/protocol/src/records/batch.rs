//! Batches in a buffer: walking them, checking them, reaching their records.

use super::header::{BatchHeader, layout, size_of_first};
use super::legacy::LegacyIter;
use super::record::{DefaultIter, Record, RecordIter};
use super::{RecordsError, crc32, crc32c};
use crate::compression::{Codec, Decompressor, HeaderChecksum, Lz4Blocks};

/// The decompression budget of [`Scratch::default`]: more than any `max.message.bytes` in use holds.
pub const DEFAULT_DECOMPRESSION_BUDGET_BYTES: usize = 256 << 20;
/// A scratch buffer larger than this is given back after use, so that one large batch is not paid for ever after.
const SCRATCH_KEEP_BYTES: usize = 4 << 20;

/// A decompression buffer with its budget, reused from batch to batch.
#[derive(Debug)]
pub struct Scratch {
    decompressor: Decompressor,
    buffer: Vec<u8>,
    budget_bytes: usize,
    max_record_bytes: i32,
}

/// The default of `max.decompressed.message.bytes`: the largest array that Java can have.
pub const DEFAULT_MAX_RECORD_BYTES: i32 = i32::MAX - 8;

impl Default for Scratch {
    fn default() -> Self {
        Scratch::with_budget(DEFAULT_DECOMPRESSION_BUDGET_BYTES)
    }
}

impl Scratch {
    /// A scratch that decompresses at most `budget_bytes` of a batch.
    pub fn with_budget(budget_bytes: usize) -> Self {
        Scratch {
            decompressor: Decompressor::default(),
            buffer: Vec::new(),
            budget_bytes,
            max_record_bytes: DEFAULT_MAX_RECORD_BYTES,
        }
    }

    /// Changes the largest size that a record may have when decompressed (`max.decompressed.message.bytes`).
    pub fn set_max_record_bytes(&mut self, max_record_bytes: i32) {
        self.max_record_bytes = max_record_bytes;
    }

    /// Changes the budget for the batches that follow.
    pub fn set_budget(&mut self, budget_bytes: usize) {
        self.budget_bytes = budget_bytes;
    }

    /// Gives back the room that an unusually large batch took.
    pub fn trim(&mut self) {
        if self.buffer.capacity() > SCRATCH_KEEP_BYTES {
            self.buffer = Vec::new();
        }
    }

    pub(super) fn decompress(
        &mut self,
        codec: Codec,
        magic: i8,
        input: &[u8],
    ) -> Result<&[u8], RecordsError> {
        self.trim();
        self.buffer.clear();
        if codec == Codec::Lz4 && magic == 0 {
            self.decompressor.decompress_lz4_without_header_checksum(
                input,
                self.budget_bytes,
                &mut self.buffer,
            )?;
        } else {
            self.decompressor.decompress(codec, input, self.budget_bytes, &mut self.buffer)?;
        }
        Ok(&self.buffer)
    }
}

/// One batch, whole, in a buffer.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    pub(super) header: BatchHeader,
    pub(super) bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The batch at the front of `bytes`.
    ///
    /// # Errors
    /// As [`BatchHeader::parse`]; fewer bytes than its length field says are [`RecordsError::PrematureEnd`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordsError> {
        let header = BatchHeader::parse(bytes)?;
        let bytes = bytes.get(..header.size).ok_or(RecordsError::PrematureEnd)?;
        Ok(Batch { header, bytes })
    }

    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The bytes of the batch.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of the batch.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// What the checksum should be.
    pub fn compute_crc(&self) -> u32 {
        if self.header.magic >= 2 {
            crc32c(&self.bytes[layout::ATTRIBUTES..])
        } else {
            crc32(&self.bytes[layout::MAGIC..])
        }
    }

    /// Checks the checksum. O(size).
    ///
    /// # Errors
    /// [`RecordsError::CrcMismatch`].
    pub fn ensure_valid(&self) -> Result<(), RecordsError> {
        let computed = self.compute_crc();
        if computed == self.header.crc {
            Ok(())
        } else {
            Err(RecordsError::CrcMismatch { stored: self.header.crc, computed })
        }
    }

    /// Offset of the first record. O(1) for magic 2; compressed magic 1 messages have to be opened for it.
    ///
    /// # Errors
    /// Only for magic 0 and 1, when the message cannot be read.
    pub fn first_offset(&self, scratch: &mut Scratch) -> Result<i64, RecordsError> {
        if self.header.magic >= 2 || !self.header.is_compressed() {
            return Ok(self.header.base_offset);
        }
        match self.records(scratch)?.next() {
            Some(record) => Ok(record?.offset),
            None => Ok(self.header.base_offset),
        }
    }

    /// The stored records: compressed as they are in the batch. Empty for magic 0 and 1.
    pub fn payload(&self) -> &'a [u8] {
        if self.header.magic >= 2 { &self.bytes[layout::RECORD_BATCH_OVERHEAD..] } else { &[] }
    }

    /// The records. They borrow from this batch, or from `scratch` where it is compressed.
    ///
    /// # Errors
    /// An unknown codec, content that does not decompress or passes the budget, a negative count. What is wrong with a
    /// record is found by the iterator.
    pub fn records<'s>(&self, scratch: &'s mut Scratch) -> Result<RecordIter<'s>, RecordsError>
    where
        'a: 's,
    {
        let codec = self.header.codec()?;
        if self.header.magic < 2 {
            return Ok(RecordIter::Legacy(LegacyIter::new(&self.header, self.bytes, codec, scratch)?));
        }
        if self.header.records_count <= 0 || codec == Codec::None {
            let max = scratch.max_record_bytes;
            return Ok(RecordIter::Default(DefaultIter::new(&self.header, self.payload(), max)?));
        }
        let max = scratch.max_record_bytes;
        let content = scratch.decompress(codec, self.header.magic, self.payload())?;
        Ok(RecordIter::Default(DefaultIter::new(&self.header, content, max)?))
    }
}

impl Batch<'_> {
    /// Hands each record to `seen`, which may end it with an error. Of lz4, whose blocks are independent, no more is
    /// decompressed than a block and the record that it ends within: what is looked at is still in the cache.
    ///
    /// # Errors
    /// As [`Batch::records`] and its iterator; records that come before what is wrong have been seen by then.
    pub fn each_record<E: From<RecordsError>>(
        &self,
        scratch: &mut Scratch,
        mut seen: impl FnMut(Record<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let header = &self.header;
        if header.magic < 2 || header.records_count <= 0 || header.codec()? != Codec::Lz4 {
            for record in self.records(scratch)? {
                seen(record?)?;
            }
            return Ok(());
        }
        scratch.trim();
        let mut left = DefaultIter::new(header, &[], scratch.max_record_bytes)?;
        let lz4 = |error| E::from(RecordsError::from(error));
        let mut blocks =
            Lz4Blocks::new(self.payload(), HeaderChecksum::Check, scratch.budget_bytes).map_err(lz4)?;
        let buffer = &mut scratch.buffer;
        let mut filled = 0;
        while let Some(written) = blocks.next_into(buffer, filled).map_err(lz4)? {
            filled += written;
            let mut records = left.in_window(&buffer[..filled]);
            while records.can_read()
                && let Some(record) = records.next()
            {
                seen(record?)?;
            }
            let (count, rest) = records.left();
            let unread = rest.len();
            if count == 0 && unread > 0 {
                return Err(RecordsError::RecordsRemaining.into());
            }
            left.set_left(count);
            // A record that goes on and on stays where it is: moving it for each of many small blocks would never end.
            if unread < filled {
                buffer.copy_within(filled - unread..filled, 0);
                filled = unread;
            }
        }
        // There is no more: what could not be read says what is wrong.
        for record in left.in_window(&buffer[..filled]) {
            seen(record?)?;
        }
        Ok(())
    }
}

/// The batches in a buffer, in order. An incomplete batch at the end is left out, as Kafka does; a length or magic
/// that cannot be ends the walk with an error.
#[derive(Debug, Clone)]
pub struct BatchIter<'a> {
    bytes: &'a [u8],
    position: usize,
    failed: bool,
}

impl<'a> BatchIter<'a> {
    /// Walks the batches of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        BatchIter { bytes, position: 0, failed: false }
    }

    /// Where the next batch starts.
    pub fn position(&self) -> usize {
        self.position
    }

    /// What has not been walked; after the end, the incomplete batch.
    pub fn remaining(&self) -> &'a [u8] {
        &self.bytes[self.position..]
    }
}

impl<'a> Iterator for BatchIter<'a> {
    type Item = Result<Batch<'a>, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let rest = self.remaining();
        match size_of_first(rest) {
            Ok(Some((size, _))) if size <= rest.len() => {}
            Ok(_) => return None,
            Err(error) => {
                self.failed = true;
                return Some(Err(error));
            }
        }
        let batch = Batch::parse(rest);
        match &batch {
            Ok(batch) => self.position += batch.size(),
            Err(_) => self.failed = true,
        }
        Some(batch)
    }
}
