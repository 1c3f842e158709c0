//! One log of our own: appends, reads, producers, transactions, truncation, deletion, recovery.

use std::path::Path;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::compression::{Codec, Compression};
use ottla_protocol::records::control::EndTxnMarker;
use ottla_protocol::records::{BatchBuilder, BatchIter, BatchOptions, Scratch, TimestampType};
use ottla_storage::checkpoint::EpochEntry;
use ottla_storage::config::CompressionType;
use ottla_storage::dirs::DirState;
use ottla_storage::disk::{Disk, OsDisk};
use ottla_storage::log::{
    AbortedTransaction, AppendInfo, AppendOptions, FetchIsolation, Log, LogOptions, OffsetAndEpoch,
};
use ottla_storage::producer_state::{AppendOrigin, VerificationGuard};
use ottla_storage::{LogConfig, LogError, TopicPartition};

const NOW_MS: i64 = 1_700_000_000_000;

struct Setup {
    folder: tempfile::TempDir,
    disk: Arc<dyn Disk>,
    state: Arc<DirState>,
    config: LogConfig,
}

impl Setup {
    fn new(config: LogConfig) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let state = Arc::new(DirState::new(folder.path().to_path_buf()));
        Setup { folder, disk: Arc::new(OsDisk), state, config }
    }

    fn options(&self) -> LogOptions {
        let dir = self.folder.path().join("t-0");
        LogOptions {
            config: self.config.clone(),
            ..LogOptions::new(TopicPartition::new("t", 0), dir, NOW_MS)
        }
    }

    fn open(&self) -> Arc<Log> {
        Log::open(&self.disk, &self.state, self.options()).expect("opens")
    }

    /// Opens as after a kill, with nothing known to be durable.
    fn reopen_after_kill(&self) -> Arc<Log> {
        let options = LogOptions { had_clean_shutdown: false, ..self.options() };
        let log = Log::open(&self.disk, &self.state, options).expect("opens");
        log.update_high_watermark(log.log_end_offset());
        log
    }

    fn dir(&self) -> std::path::PathBuf {
        self.folder.path().join("t-0")
    }
}

#[derive(Clone, Copy)]
struct Spec {
    records: i64,
    timestamp: i64,
    codec: Codec,
    producer: Option<(i64, i16, i32)>,
    transactional: bool,
}

const PLAIN: Spec =
    Spec { records: 3, timestamp: NOW_MS, codec: Codec::None, producer: None, transactional: false };

fn batch(spec: Spec) -> Vec<u8> {
    let (producer_id, producer_epoch, base_sequence) = spec.producer.unwrap_or((-1, -1, -1));
    let mut builder = BatchBuilder::new(BatchOptions {
        compression: Compression::of(spec.codec),
        producer_id,
        producer_epoch,
        base_sequence,
        transactional: spec.transactional,
        ..BatchOptions::default()
    });
    for index in 0..spec.records {
        builder.append(spec.timestamp + index, Some(b"key"), Some(format!("value {index}").as_bytes()), []);
    }
    builder.build().expect("builds").to_vec()
}

fn options(origin: AppendOrigin) -> AppendOptions {
    AppendOptions::new(origin, 0, NOW_MS)
}

fn append(log: &Log, spec: Spec) -> Result<AppendInfo, LogError> {
    let info = log.append_as_leader(&batch(spec), &options(AppendOrigin::Client))?;
    log.maybe_increment_high_watermark(log.log_end_offset());
    Ok(info)
}

fn marker(
    log: &Log,
    producer_id: i64,
    epoch: i16,
    commit: bool,
    version: i16,
) -> Result<AppendInfo, LogError> {
    let bytes =
        EndTxnMarker { commit, coordinator_epoch: 1 }.batch(0, NOW_MS, 0, producer_id, epoch).to_vec();
    let options = AppendOptions { transaction_version: version, ..options(AppendOrigin::Coordinator) };
    let info = log.append_as_leader(&bytes, &options)?;
    log.maybe_increment_high_watermark(log.log_end_offset());
    Ok(info)
}

fn offsets(log: &Log, from: i64, max_bytes: usize, isolation: FetchIsolation) -> Vec<i64> {
    let read = log.read(from, max_bytes, isolation, true).expect("reads");
    let bytes = read.slice.to_vec().expect("reads");
    let mut scratch = Scratch::default();
    let mut found = Vec::new();
    for batch in BatchIter::new(&bytes) {
        let batch = batch.expect("a batch");
        batch.ensure_valid().expect("a good checksum");
        found
            .extend(batch.records(&mut scratch).expect("records").map(|record| record.expect("good").offset));
    }
    found
}

fn all_offsets(log: &Log) -> Vec<i64> {
    let mut next = log.log_start_offset();
    let mut all = Vec::new();
    while next < log.log_end_offset() {
        let found = offsets(log, next, 2000, FetchIsolation::LogEnd);
        let Some(last) = found.last() else { break };
        next = last + 1;
        all.extend(found);
    }
    all
}

fn verified(log: &Log, producer_id: i64, sequence: i32, epoch: i16) -> VerificationGuard {
    log.maybe_start_transaction_verification(producer_id, sequence, epoch, false, NOW_MS).expect("verifies")
}

fn transactional(log: &Log, producer_id: i64, epoch: i16, sequence: i32) -> Result<AppendInfo, LogError> {
    let guard = verified(log, producer_id, sequence, epoch);
    let spec = Spec { producer: Some((producer_id, epoch, sequence)), transactional: true, ..PLAIN };
    let options = AppendOptions { verification_guard: guard, ..options(AppendOrigin::Client) };
    let info = log.append_as_leader(&batch(spec), &options)?;
    log.maybe_increment_high_watermark(log.log_end_offset());
    Ok(info)
}

#[test]
fn appended_records_are_read_up_to_the_high_watermark() {
    let setup = Setup::new(LogConfig::default());
    let log = setup.open();
    let info = log.append_as_leader(&batch(PLAIN), &options(AppendOrigin::Client)).expect("appends");
    assert_eq!((info.first_offset, info.last_offset, info.log_append_time), (0, 2, -1));
    assert_eq!(info.max_timestamp, NOW_MS + 2);
    assert_eq!((log.log_end_offset(), log.high_watermark()), (3, 0));
    assert!(offsets(&log, 0, 1000, FetchIsolation::HighWatermark).is_empty());
    assert_eq!(offsets(&log, 0, 1000, FetchIsolation::LogEnd), [0, 1, 2]);
    assert_eq!(log.maybe_increment_high_watermark(3), Some(0));
    append(&log, Spec { codec: Codec::Zstd, ..PLAIN }).expect("appends");
    log.append_as_leader(&batch(PLAIN), &options(AppendOrigin::Client)).expect("appends");
    assert_eq!(offsets(&log, 0, 1000, FetchIsolation::HighWatermark), [0, 1, 2, 3, 4, 5]);
    assert_eq!(
        offsets(&log, 4, 1, FetchIsolation::HighWatermark),
        [3, 4, 5],
        "the whole batch that holds it"
    );
    assert_eq!(log.read(4, 1, FetchIsolation::HighWatermark, false).expect("reads").slice.len, 1);
    assert_eq!(log.update_high_watermark(100), 9, "never above the end");
    let error = log.read(10, 1000, FetchIsolation::LogEnd, true).expect_err("behind the end");
    assert_eq!(error.error_code(), ErrorCode::OffsetOutOfRange);
    assert_eq!(
        error.to_string(),
        "Received request for offset 10 for partition t-0, but we only have log segments upto 9."
    );
}

#[test]
fn a_topics_codec_and_clock_are_put_in_place() {
    let setup = Setup::new(LogConfig {
        compression_type: CompressionType::Codec(Codec::Lz4),
        message_timestamp_type: TimestampType::LogAppendTime,
        ..LogConfig::default()
    });
    let log = setup.open();
    let info = append(&log, Spec { timestamp: 5, codec: Codec::Gzip, ..PLAIN }).expect("appends");
    assert_eq!((info.log_append_time, info.max_timestamp), (NOW_MS, NOW_MS));
    let bytes =
        log.read(0, 1000, FetchIsolation::LogEnd, true).expect("reads").slice.to_vec().expect("reads");
    let batch = BatchIter::new(&bytes).next().expect("one").expect("good");
    assert_eq!(batch.header().codec(), Ok(Codec::Lz4));
    let mut scratch = Scratch::default();
    assert!(
        batch.records(&mut scratch).expect("records").all(|record| record.expect("good").timestamp == NOW_MS)
    );
}

#[test]
fn batches_that_are_too_large_or_do_not_start_at_zero_are_refused() {
    let setup = Setup::new(LogConfig { max_message_bytes: 80, ..LogConfig::default() });
    let log = setup.open();
    let size = batch(PLAIN).len();
    let error = append(&log, PLAIN).expect_err("too large");
    assert_eq!(error.error_code(), ErrorCode::MessageTooLarge);
    assert_eq!(
        error.to_string(),
        format!(
            "The record batch size in the append to t-0 is {size} bytes which exceeds the maximum configured value \
             of 80)."
        )
    );
    log.update_config(LogConfig { segment_bytes: 90, ..LogConfig::default() });
    assert_eq!(append(&log, PLAIN).expect_err("too large").error_code(), ErrorCode::RecordListTooLarge);
    log.update_config(LogConfig::default());
    let mut shifted = batch(PLAIN);
    shifted[7] = 9;
    let error = log.append_as_leader(&shifted, &options(AppendOrigin::Client)).expect_err("not at zero");
    assert_eq!(
        error.to_string(),
        "The baseOffset of the record batch in the append to t-0 should be 0, but it is 9"
    );
    let mut flipped = batch(PLAIN);
    flipped[70] ^= 1;
    let error = log.append_as_leader(&flipped, &options(AppendOrigin::Client)).expect_err("corrupt");
    assert_eq!(error.error_code(), ErrorCode::CorruptMessage);
    assert_eq!(log.log_end_offset(), 0);
    assert!(!setup.state.is_offline());
}

#[test]
fn the_last_five_batches_of_a_producer_are_known_again() {
    let setup = Setup::new(LogConfig::default());
    let log = setup.open();
    let spec = |sequence| Spec { producer: Some((9, 0, sequence)), ..PLAIN };
    for index in 0..7 {
        append(&log, spec(index * 3)).expect("in order");
    }
    for index in 2..7 {
        let info = append(&log, spec(index * 3)).expect("a duplicate is no error");
        assert!(info.duplicate);
        assert_eq!(info.first_offset, i64::from(index) * 3);
        assert_eq!(info.last_offset, i64::from(index) * 3 + 2);
    }
    assert_eq!(log.log_end_offset(), 21, "nothing was appended");
    let error = append(&log, spec(3)).expect_err("too old to be known");
    assert_eq!(error.error_code(), ErrorCode::OutOfOrderSequenceNumber);
    let error = append(&log, spec(24)).expect_err("a gap");
    assert_eq!(
        error.to_string(),
        "Out of order sequence number for producer 9 at offset 21 in partition t-0: 24 (incoming seq. number), 20 \
         (current end sequence number)"
    );
    append(&log, Spec { producer: Some((9, 1, 0)), ..PLAIN }).expect("a new epoch starts at 0");
    let error = append(&log, spec(21)).expect_err("an old epoch");
    assert_eq!(error.error_code(), ErrorCode::InvalidProducerEpoch);
    assert_eq!(
        error.to_string(),
        "Epoch of producer 9 at offset 24 in t-0 is 0, which is < the last seen epoch 1 (TV-1)"
    );
    let error = append(&log, Spec { producer: Some((9, 2, 5)), ..PLAIN }).expect_err("not at 0");
    assert_eq!(error.error_code(), ErrorCode::OutOfOrderSequenceNumber);
}

#[test]
fn transactions_hold_back_committed_readers_and_aborted_ones_are_named() {
    let setup = Setup::new(LogConfig::default());
    let log = setup.open();
    transactional(&log, 1, 0, 0).expect("0..2");
    transactional(&log, 2, 0, 0).expect("3..5");
    append(&log, PLAIN).expect("6..8");
    assert_eq!((log.high_watermark(), log.last_stable_offset()), (9, 0));
    assert_eq!(log.first_undecided_offset(), Some(0));
    marker(&log, 1, 0, false, 0).expect("aborts at 9");
    assert_eq!(log.last_stable_offset(), 3, "the second one is open");
    assert_eq!(offsets(&log, 0, 10_000, FetchIsolation::TxnCommitted), [0, 1, 2]);
    marker(&log, 2, 0, true, 0).expect("commits at 10");
    assert_eq!(log.last_stable_offset(), 11);
    let read = log.read(0, 10_000, FetchIsolation::TxnCommitted, true).expect("reads");
    assert_eq!(read.aborted_transactions, Some(vec![AbortedTransaction { producer_id: 1, first_offset: 0 }]));
    let later = log.read(10, 10_000, FetchIsolation::TxnCommitted, true).expect("reads");
    assert_eq!(later.aborted_transactions, Some(Vec::new()));
    let txns = log.collect_aborted_transactions(0, 11).expect("collects");
    assert_eq!((txns[0].last_offset, txns[0].last_stable_offset), (9, 3));
    let error = marker(&log, 1, -1, true, 0).expect_err("an old epoch");
    assert_eq!(error.error_code(), ErrorCode::InvalidProducerEpoch);
}

#[test]
fn a_follower_that_takes_several_transactions_at_once_knows_each_as_aborted() {
    let leader_setup = Setup::new(LogConfig::default());
    let leader = leader_setup.open();
    for transaction in 0..8 {
        transactional(&leader, 1, 0, transaction * 3).expect("three records");
        marker(&leader, 1, 0, false, 0).expect("aborts");
    }
    transactional(&leader, 2, 0, 0).expect("stays open");
    let bytes = leader.read(0, 1 << 20, FetchIsolation::LogEnd, true).expect("reads").slice.to_vec();
    let follower_setup = Setup::new(LogConfig::default());
    let follower = follower_setup.open();
    follower.append_as_follower(&bytes.expect("reads"), 0, NOW_MS).expect("appends");
    follower.maybe_increment_high_watermark(follower.log_end_offset());
    let all = leader.collect_aborted_transactions(0, 32).expect("collects");
    assert_eq!(all.len(), 8);
    for from in 0..32 {
        for to in from + 1..=32 {
            let told = |log: &Log| log.collect_aborted_transactions(from, to).expect("collects");
            assert_eq!(told(&follower), told(&leader), "{from}..{to}");
            let concerned: Vec<_> =
                all.iter().filter(|txn| txn.last_offset >= from && txn.first_offset < to).copied().collect();
            assert_eq!(told(&leader), concerned, "{from}..{to}");
        }
    }
}

#[test]
fn a_transactional_batch_needs_its_verification() {
    let setup = Setup::new(LogConfig::default());
    let log = setup.open();
    let spec = Spec { producer: Some((1, 3, 0)), transactional: true, ..PLAIN };
    let error = append(&log, spec).expect_err("not verified");
    assert_eq!(error.error_code(), ErrorCode::InvalidTxnState);
    assert_eq!(error.to_string(), "Record was not part of an ongoing transaction");
    transactional(&log, 1, 3, 0).expect("verified");
    assert_eq!(verified(&log, 1, 3, 3), VerificationGuard::SENTINEL, "the transaction is open");
    append(&log, Spec { producer: Some((1, 3, 3)), ..spec }).expect("and goes on");
    let error = append(&log, Spec { producer: Some((1, 3, 6)), transactional: false, ..spec })
        .expect_err("not transactional within a transaction");
    assert_eq!(error.error_code(), ErrorCode::InvalidTxnState);
    marker(&log, 1, 3, true, 0).expect("commits");
    let error = log
        .maybe_start_transaction_verification(1, 0, 2, false, NOW_MS)
        .expect_err("an old epoch is told so before anything is asked");
    assert_eq!(error.error_code(), ErrorCode::InvalidProducerEpoch);
}

#[test]
fn a_marker_ends_the_verification_that_was_asked_for_before_it() {
    let setup = Setup::new(LogConfig::default());
    let log = setup.open();
    transactional(&log, 1, 3, 0).expect("a transaction that is ending");
    // The next one is verified while the coordinator still writes the markers of the last.
    let spec = Spec { producer: Some((1, 3, 3)), transactional: true, ..PLAIN };
    marker(&log, 1, 3, true, 0).expect("commits");
    let early = verified(&log, 1, 3, 3);
    marker(&log, 1, 3, true, 0).expect("the marker again");
    let append = |guard| {
        let options = AppendOptions { verification_guard: guard, ..options(AppendOrigin::Client) };
        log.append_as_leader(&batch(spec), &options)
    };
    let error = append(early).expect_err("a marker took the verification with it");
    assert_eq!(error.error_code(), ErrorCode::InvalidTxnState);
    let again = verified(&log, 1, 3, 3);
    assert_ne!(again, early);
    append(again).expect("verified again");
}

#[test]
fn a_marker_of_transaction_version_two_needs_a_higher_epoch_or_a_closed_transaction() {
    let setup = Setup::new(LogConfig::default());
    let log = setup.open();
    transactional(&log, 1, 0, 0).expect("appends");
    let error = marker(&log, 1, 0, true, 2).expect_err("the same epoch");
    assert_eq!(
        error.to_string(),
        "Epoch of producer 1 at offset 3 in t-0 is 0, which is <= the last seen epoch 0 (TV2)"
    );
    marker(&log, 1, 1, true, 2).expect("a bumped epoch");
    marker(&log, 1, 1, true, 2).expect("the same marker again, after its answer was lost");
    let stale = EndTxnMarker { commit: true, coordinator_epoch: 0 };
    let bytes = stale.batch(0, NOW_MS, 0, 1, 1).to_vec();
    let options = AppendOptions { transaction_version: 0, ..options(AppendOrigin::Coordinator) };
    let error = log.append_as_leader(&bytes, &options).expect_err("an old coordinator");
    assert_eq!(error.error_code(), ErrorCode::TransactionCoordinatorFenced);
}

fn small_segments() -> LogConfig {
    LogConfig {
        segment_bytes: 1000,
        index_interval_bytes: 200,
        segment_index_bytes: 1200,
        ..LogConfig::default()
    }
}

#[test]
fn segments_are_closed_by_size_age_and_full_indexes() {
    let setup = Setup::new(small_segments());
    let log = setup.open();
    for _ in 0..30 {
        append(&log, PLAIN).expect("appends");
    }
    assert!(log.segment_count() > 3);
    assert!(log.segment_sizes().iter().all(|(_, size)| *size <= 1000));
    assert_eq!(all_offsets(&log), (0..90).collect::<Vec<_>>());
    assert_eq!(offsets(&log, 45, 100_000, FetchIsolation::LogEnd)[0] / 3, 15);

    let setup = Setup::new(LogConfig { segment_ms: 1000, ..LogConfig::default() });
    let log = setup.open();
    append(&log, PLAIN).expect("appends");
    append(&log, Spec { timestamp: NOW_MS + 900, ..PLAIN }).expect("appends");
    assert_eq!(log.segment_count(), 1);
    assert!(append(&log, Spec { timestamp: NOW_MS + 1001, ..PLAIN }).expect("appends").rolled);
    assert_eq!(log.segment_count(), 2);

    let setup =
        Setup::new(LogConfig { segment_index_bytes: 24, index_interval_bytes: 0, ..LogConfig::default() });
    let log = setup.open();
    for _ in 0..20 {
        append(&log, PLAIN).expect("appends");
    }
    assert!(log.segment_count() > 5);
    assert_eq!(all_offsets(&log), (0..60).collect::<Vec<_>>());
}

#[test]
fn offsets_are_found_by_timestamp() {
    let setup = Setup::new(small_segments());
    let log = setup.open();
    assert_eq!(log.max_timestamp_offset().expect("looks").map(|found| found.offset), None);
    for index in 0..50i64 {
        append(&log, Spec { timestamp: NOW_MS + index * 10, codec: Codec::Zstd, ..PLAIN }).expect("appends");
    }
    for index in 0..50i64 {
        let found = log.offset_for_timestamp(NOW_MS + index * 10 + 1).expect("looks").expect("finds");
        assert_eq!((found.timestamp, found.offset), (NOW_MS + index * 10 + 1, index * 3 + 1));
        assert_eq!(found.leader_epoch, Some(0));
    }
    assert_eq!(log.offset_for_timestamp(NOW_MS + 10_000).expect("looks"), None);
    assert_eq!(log.offset_for_timestamp(0).expect("looks").expect("finds").offset, 0);
    assert_eq!(log.max_timestamp_offset().expect("looks").expect("finds").offset, 149);
    assert_eq!((log.earliest_offset().offset, log.latest_offset().offset), (0, 150));
    log.delete_records(75).expect("deletes");
    assert_eq!(log.offset_for_timestamp(0).expect("looks").expect("finds").offset, 75);
}

#[test]
fn records_are_deleted_from_the_start_and_segments_follow() {
    let setup = Setup::new(small_segments());
    let log = setup.open();
    for _ in 0..40 {
        append(&log, PLAIN).expect("appends");
    }
    let before = log.segment_count();
    assert_eq!(log.delete_records(50).expect("deletes"), 50);
    assert_eq!(log.segment_count(), before, "files go later");
    let error = log.read(49, 100, FetchIsolation::LogEnd, true).expect_err("deleted");
    assert_eq!(error.error_code(), ErrorCode::OffsetOutOfRange);
    assert_eq!(log.delete_records(121).expect_err("too far").error_code(), ErrorCode::OffsetOutOfRange);
    let deleted = log.delete_old_segments(NOW_MS).expect("deletes");
    assert!(deleted > 0 && log.segment_count() == before - deleted);
    let names = |dir: &Path| -> Vec<String> {
        std::fs::read_dir(dir)
            .expect("lists")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect()
    };
    assert!(names(&setup.dir()).iter().any(|name| name.ends_with(".log.deleted")));
    log.maintain(NOW_MS + 60_000).expect("maintains");
    assert!(!names(&setup.dir()).iter().any(|name| name.ends_with(".deleted")));
    assert_eq!(all_offsets(&log).last(), Some(&119));
    assert_eq!(log.delete_records(-1).expect("deletes"), 120);
    log.close(NOW_MS).expect("closes");
    let log = Log::open(&setup.disk, &setup.state, LogOptions { log_start_offset: 120, ..setup.options() })
        .expect("opens");
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (120, 120));
}

#[test]
fn retention_takes_old_segments_below_the_high_watermark_only() {
    let setup = Setup::new(LogConfig { retention_bytes: 3000, retention_ms: -1, ..small_segments() });
    let log = setup.open();
    for _ in 0..60 {
        log.append_as_leader(&batch(PLAIN), &options(AppendOrigin::Client)).expect("appends");
    }
    assert_eq!(log.delete_old_segments(NOW_MS).expect("deletes"), 0, "nothing is replicated");
    log.update_high_watermark(180);
    assert!(log.delete_old_segments(NOW_MS).expect("deletes") > 0);
    assert!(log.size() >= 3000 && log.size() < 4000, "{}", log.size());
    assert_eq!(log.log_start_offset(), log.segment_sizes()[0].0);

    log.update_config(LogConfig { retention_ms: 1000, ..small_segments() });
    log.delete_old_segments(NOW_MS + 5000).expect("deletes");
    assert_eq!((log.segment_count(), log.log_start_offset(), log.log_end_offset()), (1, 180, 180));
    append(&log, PLAIN).expect("goes on");
    assert_eq!(all_offsets(&log), [180, 181, 182]);
}

#[test]
fn a_log_is_truncated_with_its_epochs_and_producers() {
    let setup = Setup::new(small_segments());
    let log = setup.open();
    for index in 0..30i32 {
        let bytes = batch(Spec { producer: Some((5, 0, index * 3)), ..PLAIN });
        let options = AppendOptions { leader_epoch: index / 10, ..options(AppendOrigin::Client) };
        log.append_as_leader(&bytes, &options).expect("appends");
    }
    let entry = |epoch, start_offset| EpochEntry { epoch, start_offset };
    assert_eq!(log.epoch_entries(), [entry(0, 0), entry(1, 30), entry(2, 60)]);
    let end = |offset, leader_epoch| Some(OffsetAndEpoch { offset, leader_epoch });
    assert_eq!(log.end_offset_for_epoch(0), end(30, 0));
    assert_eq!(log.end_offset_for_epoch(2), end(90, 2));
    assert_eq!(log.end_offset_for_epoch(3), None);
    assert_eq!(log.epoch_for_offset(59), Some(1));

    assert!(!log.truncate_to(90, NOW_MS).expect("nothing to do"));
    assert!(log.truncate_to(46, NOW_MS).expect("truncates"), "to the batch that holds the offset");
    log.update_high_watermark(46);
    assert_eq!(log.epoch_entries(), [entry(0, 0), entry(1, 30)]);
    assert_eq!(log.log_end_offset(), 46);
    assert_eq!(all_offsets(&log), (0..45).collect::<Vec<_>>());
    assert_eq!(log.active_producers()[0].last_sequence, 44);
    log.truncate_fully_and_start_at(500, None, NOW_MS).expect("truncates");
    assert_eq!((log.log_start_offset(), log.log_end_offset(), log.high_watermark()), (500, 500, 500));
    assert_eq!(log.active_producers(), []);
    append(&log, PLAIN).expect("goes on");
    assert_eq!(all_offsets(&log), [500, 501, 502]);
}

#[test]
fn a_follower_takes_offsets_as_they_are() {
    let leader_setup = Setup::new(small_segments());
    let leader = leader_setup.open();
    for _ in 0..20 {
        append(&leader, PLAIN).expect("appends");
    }
    let follower_setup = Setup::new(small_segments());
    let follower = follower_setup.open();
    while follower.log_end_offset() < leader.log_end_offset() {
        let read = leader.read(follower.log_end_offset(), 700, FetchIsolation::LogEnd, true).expect("reads");
        let bytes = read.slice.to_vec().expect("reads");
        follower.append_as_follower(&bytes, 0, NOW_MS).expect("appends");
    }
    assert_eq!(all_offsets(&follower), all_offsets(&leader));
    assert_eq!(follower.epoch_entries(), leader.epoch_entries());
    let bytes =
        leader.read(6, 100, FetchIsolation::LogEnd, true).expect("reads").slice.to_vec().expect("reads");
    let error = follower.append_as_follower(&bytes, 0, NOW_MS).expect_err("again");
    assert!(matches!(error, LogError::UnexpectedAppendOffset { first_offset: 6, last_offset: 8, .. }));
    let newer = AppendOptions { leader_epoch: 7, ..options(AppendOrigin::Client) };
    leader.append_as_leader(&batch(PLAIN), &newer).expect("appends");
    let bytes =
        leader.read(60, 100, FetchIsolation::LogEnd, true).expect("reads").slice.to_vec().expect("reads");
    follower.append_as_follower(&bytes, 6, NOW_MS).expect("leaves out what is of a later epoch");
    assert_eq!(follower.log_end_offset(), 60);
}

#[test]
fn a_raft_leader_sets_offsets_and_epochs_itself() {
    let setup = Setup::new(LogConfig::default());
    let log = setup.open();
    let build = |base_offset, partition_leader_epoch| {
        let options = BatchOptions { base_offset, partition_leader_epoch, ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        builder.append(NOW_MS, None, Some(b"record"), []);
        builder.build().expect("builds").to_vec()
    };
    let raft = |epoch| AppendOptions { leader_epoch: epoch, ..options(AppendOrigin::RaftLeader) };
    log.append_as_leader(&build(0, 4), &raft(4)).expect("appends");
    log.append_as_leader(&build(1, 4), &raft(4)).expect("appends");
    assert_eq!((log.log_end_offset(), log.latest_epoch()), (2, Some(4)));
    let error = log.append_as_leader(&build(2, 3), &raft(4)).expect_err("another epoch");
    assert_eq!(error.error_code(), ErrorCode::InvalidRecord);
    assert!(log.append_as_leader(&build(1, 4), &raft(4)).is_err(), "an offset that is taken");
}

fn file_with(dir: &Path, suffix: &str) -> std::path::PathBuf {
    let mut found: Vec<_> = std::fs::read_dir(dir)
        .expect("lists")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .collect();
    found.sort();
    found.pop().expect("a file")
}

#[test]
fn after_a_kill_a_torn_tail_goes_and_everything_else_stays() {
    let setup = Setup::new(small_segments());
    let log = setup.open();
    for index in 0..40i32 {
        append(&log, Spec { producer: Some((5, 0, index * 3)), ..PLAIN }).expect("appends");
    }
    transactional(&log, 1, 0, 0).expect("120..122");
    marker(&log, 1, 0, false, 0).expect("123");
    transactional(&log, 1, 0, 3).expect("124..126");
    let producers = log.active_producers();
    let expected = all_offsets(&log);
    drop(log);

    // The batch that was being written when the power went.
    let last = file_with(&setup.dir(), ".log");
    let whole = std::fs::read(&last).expect("reads");
    let mut torn = whole.clone();
    torn.extend_from_slice(&batch(PLAIN)[..50]);
    std::fs::write(&last, &torn).expect("writes");
    let log = setup.reopen_after_kill();
    assert_eq!(all_offsets(&log), expected);
    assert_eq!(log.active_producers(), producers);
    assert_eq!(log.last_stable_offset(), 124, "the transaction is open still");
    assert_eq!(std::fs::metadata(&last).expect("is there").len(), whole.len() as u64);
    assert_eq!(log.collect_aborted_transactions(0, 127).expect("collects").len(), 1);
    append(&log, Spec { producer: Some((5, 0, 120)), ..PLAIN }).expect("goes on where it was");
    drop(log);

    // Garbage and zeros after the end, lost indexes, a lost producer snapshot.
    for garbage in [vec![0u8; 4096], vec![0xffu8; 100], b"\0\0\0\0\0\0\0\x7f\0\0\0\x10aaaabcccc".to_vec()] {
        let last = file_with(&setup.dir(), ".log");
        let mut bytes = std::fs::read(&last).expect("reads");
        bytes.extend_from_slice(&garbage);
        std::fs::write(&last, &bytes).expect("writes");
        std::fs::remove_file(file_with(&setup.dir(), ".index")).expect("removes");
        std::fs::write(file_with(&setup.dir(), ".timeindex"), b"nonsense").expect("writes");
        std::fs::write(file_with(&setup.dir(), ".snapshot"), b"nonsense").expect("writes");
        let log = setup.reopen_after_kill();
        assert_eq!(all_offsets(&log), (0..130).collect::<Vec<_>>());
        assert_eq!(log.offset_for_timestamp(NOW_MS + 2).expect("looks").expect("finds").offset, 2);
        assert_eq!(
            log.active_producers().iter().find(|one| one.producer_id == 5).map(|one| one.last_sequence),
            Some(122)
        );
    }
}

#[test]
fn a_bad_batch_in_the_middle_ends_the_log_there() {
    let setup = Setup::new(small_segments());
    let log = setup.open();
    for _ in 0..40 {
        append(&log, PLAIN).expect("appends");
    }
    let (base_offset, _) = log.segment_sizes()[2];
    drop(log);
    let path = setup.dir().join(format!("{base_offset:020}.log"));
    let mut bytes = std::fs::read(&path).expect("reads");
    let size = batch(PLAIN).len();
    bytes[size + 80] ^= 0x10;
    std::fs::write(&path, &bytes).expect("writes");
    let log = setup.reopen_after_kill();
    assert_eq!(log.log_end_offset(), base_offset + 3);
    assert_eq!(all_offsets(&log), (0..base_offset + 3).collect::<Vec<_>>());
    append(&log, PLAIN).expect("goes on");
    log.close(NOW_MS).expect("closes");
    let log = setup.open();
    assert_eq!(log.log_end_offset(), base_offset + 6);
}

#[test]
fn a_clean_stop_leaves_trimmed_indexes_and_a_snapshot_and_needs_no_scan() {
    let setup = Setup::new(small_segments());
    let log = setup.open();
    for index in 0..20i32 {
        append(&log, Spec { producer: Some((5, 0, index * 3)), ..PLAIN }).expect("appends");
    }
    let index = file_with(&setup.dir(), ".index");
    assert_eq!(std::fs::metadata(&index).expect("is there").len(), 1200, "preallocated");
    log.close(NOW_MS).expect("closes");
    assert!(std::fs::metadata(&index).expect("is there").len() < 100);
    assert!(setup.dir().join("00000000000000000060.snapshot").exists());
    assert!(matches!(append(&log, PLAIN), Err(LogError::Closed { .. })));
    let log = setup.open();
    assert_eq!((log.log_end_offset(), log.recovery_point()), (60, 60));
    log.update_high_watermark(60);
    assert!(append(&log, Spec { producer: Some((5, 0, 57)), ..PLAIN }).expect("known").duplicate);
    append(&log, Spec { producer: Some((5, 0, 60)), ..PLAIN }).expect("goes on");
}

#[test]
fn readers_see_whole_batches_while_a_writer_appends_and_rolls() {
    let setup =
        Setup::new(LogConfig { segment_bytes: 4000, index_interval_bytes: 300, ..LogConfig::default() });
    let log = setup.open();
    std::thread::scope(|scope| {
        let log = &log;
        scope.spawn(move || {
            for index in 0..600 {
                let codec = if index % 2 == 0 { Codec::None } else { Codec::Lz4 };
                append(log, Spec { codec, ..PLAIN }).expect("appends");
            }
        });
        for _ in 0..2 {
            scope.spawn(move || {
                let mut next = 0;
                while next < 1800 {
                    let found = offsets(log, next, 3000, FetchIsolation::HighWatermark);
                    // A fetch can end within a batch, which is then left out.
                    for offset in found {
                        assert!(offset <= next);
                        next = next.max(offset + 1);
                    }
                }
            });
        }
    });
    assert_eq!(all_offsets(&log), (0..1800).collect::<Vec<_>>());
}
