//! Numbers, sequences and control records.

use proptest::prelude::*;

use super::control::{ControlRecordType, EndTxnMarker};
use super::varint::{varint, varlong};
use super::*;

proptest! {
    #[test]
    fn varints_round_trip(value: i32, long: i64) {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        prop_assert_eq!(out.len(), varint_size(value));
        put_varlong(&mut out, long);
        prop_assert_eq!(out.len(), varint_size(value) + varlong_size(long));
        let mut rest = &out[..];
        prop_assert_eq!(varint(&mut rest), Ok(value));
        prop_assert_eq!(varlong(&mut rest), Ok(long));
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn sequences_wrap_both_ways(sequence in 0..=i32::MAX, by in 0..=i32::MAX) {
        prop_assert_eq!(decrement_sequence(increment_sequence(sequence, by), by), sequence);
    }

    #[test]
    fn arbitrary_bytes_are_no_batch_or_a_batch(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut scratch = Scratch::with_budget(1 << 16);
        for batch in BatchIter::new(&bytes).flatten() {
            if let Ok(records) = batch.records(&mut scratch) {
                let _ = records.count();
            }
        }
    }
}

#[test]
fn sequences_wrap_to_zero() {
    assert_eq!(increment_sequence(i32::MAX, 1), 0);
    assert_eq!(increment_sequence(i32::MAX - 1, 3), 1);
    assert_eq!(decrement_sequence(0, 1), i32::MAX);
}

#[test]
fn a_marker_is_read_as_it_was_written() {
    let marker = EndTxnMarker { commit: true, coordinator_epoch: 77 };
    let bytes = marker.batch(501, 1_700_000_000_001, 12, 4711, 3);
    let batch = Batch::parse(&bytes).expect("parses");
    batch.ensure_valid().expect("valid");
    assert!(batch.header().is_control() && batch.header().is_transactional());
    let mut scratch = Scratch::default();
    let record = batch.records(&mut scratch).expect("records").next().expect("one").expect("good");
    assert_eq!(EndTxnMarker::parse(&record), Ok(Some(marker)));
    assert_eq!(ControlRecordType::parse_key(record.key), Ok(ControlRecordType::Commit));
    assert!(ControlRecordType::parse_key(Some(&[0xff, 0xff, 0, 1])).is_err());
    assert!(ControlRecordType::parse_key(None).is_err());
    assert_eq!(ControlRecordType::parse_key(Some(&[0, 1, 0, 9])), Ok(ControlRecordType::Unknown(9)));
}
