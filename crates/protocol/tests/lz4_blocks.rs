//! Records of an lz4 batch are found block by block as they are found in the whole content, whatever the blocks.

use bytes::Bytes;
use ottla_protocol::records::{Batch, BatchBuilder, BatchOptions, RecordsError, Scratch, layout};
use proptest::prelude::*;

const CODEC_LZ4: u8 = 3;
const INCOMPRESSIBLE: u32 = 0x8000_0000;
/// Magic, version 1 with independent blocks, blocks of up to 64 KiB, and the checksum of these two.
const FRAME_HEADER: [u8; 7] = [0x04, 0x22, 0x4D, 0x18, 0x60, 0x40, 0x82];

/// A frame whose blocks hold so many bytes of `content` each, over and over.
fn frame(content: &[u8], block_bytes: &[usize]) -> Vec<u8> {
    let mut frame = FRAME_HEADER.to_vec();
    let mut rest = content;
    for &size in block_bytes.iter().cycle() {
        let (block, more) = rest.split_at(size.min(rest.len()));
        if block.is_empty() {
            break;
        }
        rest = more;
        let packed = lz4::block::compress(block, None, false).expect("compresses");
        let (word, stored) = if packed.len() < block.len() {
            (packed.len() as u32, &packed[..])
        } else {
            (block.len() as u32 | INCOMPRESSIBLE, block)
        };
        frame.extend_from_slice(&word.to_le_bytes());
        frame.extend_from_slice(stored);
    }
    frame.extend_from_slice(&[0; 4]);
    frame
}

/// The records in an lz4 frame of such blocks, where their content is first changed by `spoil`.
fn batch(values: &[Vec<u8>], block_bytes: &[usize], spoil: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for (at, value) in values.iter().enumerate() {
        builder.append(at as i64, Some(&at.to_be_bytes()[..at % 8]), Some(value), std::iter::empty());
    }
    let plain: Bytes = builder.build().expect("builds");
    let mut content = plain[layout::RECORD_BATCH_OVERHEAD..].to_vec();
    spoil(&mut content);
    let mut bytes = plain[..layout::RECORD_BATCH_OVERHEAD].to_vec();
    bytes.extend_from_slice(&frame(&content, block_bytes));
    bytes[layout::ATTRIBUTES + 1] = CODEC_LZ4;
    let length = (bytes.len() - layout::LOG_OVERHEAD) as u32;
    bytes[layout::LENGTH..layout::LENGTH + 4].copy_from_slice(&length.to_be_bytes());
    bytes
}

type Seen = Vec<(i64, i64, Option<Vec<u8>>, Option<Vec<u8>>)>;

fn whole(batch: &Batch<'_>, scratch: &mut Scratch) -> (Seen, Result<(), RecordsError>) {
    let mut seen = Seen::new();
    let records = match batch.records(scratch) {
        Ok(records) => records,
        Err(error) => return (seen, Err(error)),
    };
    for record in records {
        match record {
            Ok(r) => seen.push((r.offset, r.timestamp, r.key.map(Into::into), r.value.map(Into::into))),
            Err(error) => return (seen, Err(error)),
        }
    }
    (seen, Ok(()))
}

fn by_blocks(batch: &Batch<'_>, scratch: &mut Scratch) -> (Seen, Result<(), RecordsError>) {
    let mut seen = Seen::new();
    let end = batch.each_record(scratch, |r| {
        seen.push((r.offset, r.timestamp, r.key.map(Into::into), r.value.map(Into::into)));
        Ok(())
    });
    (seen, end)
}

fn values() -> impl Strategy<Value = Vec<Vec<u8>>> {
    // Compressible and not, smaller and larger than the blocks.
    let value = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        (any::<u8>(), 0usize..3000).prop_map(|(byte, count)| vec![byte; count]),
    ];
    proptest::collection::vec(value, 1..20)
}

fn blocks() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(prop_oneof![1usize..40, 40usize..5000], 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_same_records(values in values(), blocks in blocks()) {
        let bytes = batch(&values, &blocks, |_| {});
        let batch = Batch::parse(&bytes).expect("parses");
        // The buffer is one that was used before, by either way.
        let mut scratch = Scratch::default();
        for _ in 0..2 {
            let (seen, end) = whole(&batch, &mut scratch);
            prop_assert_eq!(&end, &Ok(()));
            prop_assert_eq!(seen.len(), values.len());
            prop_assert_eq!(by_blocks(&batch, &mut scratch), (seen, end));
        }
    }

    #[test]
    fn the_same_error(
        values in values(),
        blocks in blocks(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
        more in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let bytes = batch(&values, &blocks, |content| {
            let at = at.index(content.len());
            if cut { content.truncate(at) } else { content[at] = byte }
            content.extend_from_slice(&more);
        });
        let batch = Batch::parse(&bytes).expect("parses");
        let mut scratch = Scratch::default();
        scratch.set_max_record_bytes(2500);
        let (seen, end) = whole(&batch, &mut scratch);
        let (seen_by_blocks, end_by_blocks) = by_blocks(&batch, &mut scratch);
        prop_assert_eq!(&end, &end_by_blocks);
        // Of the last record it is known only in the next block that something follows.
        let last = usize::from(end == Err(RecordsError::RecordsRemaining));
        prop_assert!(seen_by_blocks.starts_with(&seen) && seen_by_blocks.len() <= seen.len() + last);
    }

    #[test]
    fn a_spoilt_frame_gives_no_other_records(
        values in values(),
        blocks in blocks(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = batch(&values, &blocks, |_| {});
        let at = layout::RECORD_BATCH_OVERHEAD + at.index(bytes.len() - layout::RECORD_BATCH_OVERHEAD);
        bytes[at] = byte;
        let batch = Batch::parse(&bytes).expect("parses");
        let mut scratch = Scratch::with_budget(200_000);
        let (seen, end) = whole(&batch, &mut scratch);
        let (seen_by_blocks, end_by_blocks) = by_blocks(&batch, &mut scratch);
        if !matches!(end, Err(RecordsError::Decompression(_))) {
            prop_assert_eq!(end.is_ok(), end_by_blocks.is_ok());
            prop_assert!(seen_by_blocks.starts_with(&seen));
        } else {
            // What comes before the broken block is seen by then, and may be wrong itself.
            prop_assert!(end_by_blocks.is_err());
        }
    }
}

#[test]
fn the_budget_holds_for_blocks_too() {
    let bytes = batch(&[vec![0; 100_000], vec![1; 100_000]], &[60_000], |_| {});
    let batch = Batch::parse(&bytes).expect("parses");
    let (seen, end) = by_blocks(&batch, &mut Scratch::with_budget(150_000));
    assert_eq!(seen.len(), 1);
    assert!(matches!(end, Err(RecordsError::Decompression(_))), "{end:?}");
    let (seen, end) = by_blocks(&batch, &mut Scratch::with_budget(200_100));
    assert_eq!((seen.len(), end), (2, Ok(())));
}
