use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::compression::{Codec, Compression};
use ottla_protocol::messages::fetch_response::AbortedTransaction;
use ottla_protocol::records::control::{ControlRecordType, EndTxnMarker};
use ottla_protocol::records::{BatchBuilder, BatchOptions, Header};

use super::read;
use crate::TopicPartition;

fn batch(base_offset: i64, producer_id: i64, codec: Codec, values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset,
        producer_id,
        producer_epoch: if producer_id < 0 { -1 } else { 0 },
        base_sequence: if producer_id < 0 { -1 } else { 0 },
        transactional: producer_id >= 0,
        compression: Compression::of(codec),
        ..Default::default()
    });
    for value in values {
        let header = Header { key: b"h", value: None };
        builder.append(1, None, Some(value.as_bytes()), [header]);
    }
    builder.build().unwrap().to_vec()
}

fn marker(offset: i64, producer_id: i64, kind: ControlRecordType) -> Vec<u8> {
    let control = EndTxnMarker { commit: kind == ControlRecordType::Commit, coordinator_epoch: 0 };
    let options = BatchOptions {
        base_offset: offset,
        producer_id,
        producer_epoch: 0,
        transactional: true,
        control: true,
        ..Default::default()
    };
    let mut builder = BatchBuilder::new(options);
    builder.append(1, Some(&kind.key()), Some(&control.value()), []);
    builder.build().unwrap().to_vec()
}

/// Values as `offset:text`, and where to go on.
fn check(bytes: &[u8], from: i64, aborted: Option<Vec<(i64, i64)>>, expected: &[&str], next: i64) {
    let aborted = aborted.map(|list| {
        list.into_iter()
            .map(|(producer_id, first_offset)| AbortedTransaction {
                producer_id,
                first_offset,
                ..Default::default()
            })
            .collect()
    });
    let topic: Arc<str> = Arc::from("t");
    let bytes = Bytes::copy_from_slice(bytes);
    let fetched = read(&TopicPartition::new("t", 0), &topic, from, &bytes, aborted, true).unwrap();
    let texts: Vec<String> = fetched
        .records
        .iter()
        .map(|r| format!("{}:{}", r.offset, String::from_utf8_lossy(r.value.as_deref().unwrap_or_default())))
        .collect();
    assert_eq!(texts, expected);
    assert_eq!(fetched.next_offset, next);
}

#[test]
fn records_before_the_fetch_offset_are_left_out() {
    let mut bytes = batch(10, -1, Codec::None, &["a", "b", "c"]);
    bytes.extend(batch(13, -1, Codec::Lz4, &["d"]));
    check(&bytes, 11, None, &["11:b", "12:c", "13:d"], 14);
    // A batch that is cut off is not there.
    check(&bytes[..bytes.len() - 1], 11, None, &["11:b", "12:c"], 13);
}

#[test]
fn read_committed_skips_aborted_transactions_and_goes_on_behind_them() {
    let mut bytes = batch(0, 7, Codec::None, &["lost", "lost"]);
    bytes.extend(batch(2, 8, Codec::None, &["kept"]));
    bytes.extend(marker(3, 7, ControlRecordType::Abort));
    bytes.extend(batch(4, 7, Codec::Gzip, &["again"]));
    bytes.extend(marker(5, 7, ControlRecordType::Commit));
    check(&bytes, 0, Some(vec![(7, 0)]), &["2:kept", "4:again"], 6);
    check(&bytes, 0, None, &["0:lost", "1:lost", "2:kept", "4:again"], 6);
    // Nothing but control records still moves the position.
    check(&marker(5, 7, ControlRecordType::Commit), 5, Some(vec![]), &[], 6);
}

#[test]
fn damage_is_an_error_wherever_it_is() {
    let good = batch(0, -1, Codec::Zstd, &["some value", "another value"]);
    let topic: Arc<str> = Arc::from("t");
    for at in 17..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let result = read(&TopicPartition::new("t", 0), &topic, 0, &Bytes::from(bad), None, true);
        assert!(result.is_err(), "byte {at}");
    }
}
