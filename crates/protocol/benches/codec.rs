//! What a request costs before anything is done with it: requests and batches read and written, and their checksum.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ottla_protocol::compression::{Codec, Compression};
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{FetchRequest, FetchResponse, ProduceRequest};
use ottla_protocol::records::{Batch, BatchBuilder, BatchOptions, RecordsError, Scratch, crc32c};
use ottla_protocol::wire::{Message, Reader};

const PARTITIONS: i32 = 100;

/// A batch of so many records with values of so many bytes.
fn batch(records: usize, value_bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let value = vec![b'v'; value_bytes];
    for i in 0..records {
        builder.append(1_700_000_000_000 + i as i64, None, Some(&value), std::iter::empty());
    }
    builder.build().expect("no compression")
}

fn produce(partitions: i32, records: &Bytes) -> ProduceRequest {
    let part = |index| PartitionProduceData { index, records: Some(records.clone()), ..Default::default() };
    ProduceRequest {
        acks: 1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: "topic".into(),
            partition_data: (0..partitions).map(part).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn fetch_request() -> FetchRequest {
    let part = |partition| FetchPartition { partition, partition_max_bytes: 1 << 20, ..Default::default() };
    FetchRequest {
        topics: vec![FetchTopic {
            topic: "topic".into(),
            partitions: (0..PARTITIONS).map(part).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn fetch_response() -> FetchResponse {
    let part = |partition_index| PartitionData {
        partition_index,
        aborted_transactions: None,
        records: Some(Bytes::new()),
        ..Default::default()
    };
    FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic: "topic".into(),
            partitions: (0..PARTITIONS).map(part).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn decode<M: Message>(bytes: &Bytes, version: i16) -> M {
    M::decode(&mut Reader::new(bytes.clone()), version).expect("what was written can be read")
}

fn messages(c: &mut Criterion) {
    let mut group = c.benchmark_group("messages");
    let one = produce(1, &batch(1, 100));
    let one_bytes = one.to_bytes(12).expect("it can be written");
    group.throughput(Throughput::Elements(1));
    group.bench_function("decode Produce, one record", |b| {
        b.iter(|| decode::<ProduceRequest>(black_box(&one_bytes), 12));
    });
    group.throughput(Throughput::Elements(PARTITIONS as u64));
    let many = produce(PARTITIONS, &batch(10, 1024)).to_bytes(12).expect("it can be written");
    group.bench_function("decode Produce, a partition of 100", |b| {
        b.iter(|| decode::<ProduceRequest>(black_box(&many), 12));
    });
    let fetch = fetch_request();
    let fetch_bytes = fetch.to_bytes(12).expect("it can be written");
    group.bench_function("decode Fetch, a partition of 100", |b| {
        b.iter(|| decode::<FetchRequest>(black_box(&fetch_bytes), 12));
    });
    group.bench_function("encode Fetch, a partition of 100", |b| {
        b.iter(|| black_box(&fetch).to_bytes(12));
    });
    let response = fetch_response();
    group.bench_function("encode Fetch response, a partition of 100", |b| {
        b.iter(|| black_box(&response).to_bytes(12));
    });
    group.finish();
}

fn checksums(c: &mut Criterion) {
    let mut group = c.benchmark_group("crc32c");
    for size in [100, 1024, 64 << 10, 1 << 20] {
        let bytes = vec![0x5a; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(format!("{size} bytes"), |b| b.iter(|| crc32c(black_box(&bytes))));
    }
    group.finish();
}

fn batches(c: &mut Criterion) {
    let mut group = c.benchmark_group("batches");
    for (name, records, value_bytes) in [("1 record of 100 B", 1, 100), ("100 records of 1 KiB", 100, 1024)] {
        let bytes = batch(records, value_bytes);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("header and checksum, {name}"), |b| {
            b.iter(|| Batch::parse(black_box(&bytes)).and_then(|batch| batch.ensure_valid()));
        });
        let mut scratch = Scratch::default();
        group.bench_function(format!("records, {name}"), |b| {
            b.iter(|| {
                let batch = Batch::parse(black_box(&bytes)).expect("a batch");
                batch.records(&mut scratch).expect("records").filter(Result::is_ok).count()
            });
        });
        group.bench_function(format!("build, {name}"), |b| b.iter(|| batch(records, value_bytes)));
    }
    group.finish();
}

/// About half of it can be compressed away, as of records that people write.
fn text(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ seed;
    let mut out = Vec::with_capacity(bytes + 32);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(format!("customer\":{:x},\"status\"", state & 0xff_ffff).as_bytes());
    }
    out.truncate(bytes);
    out
}

/// What a broker does with a compressed batch: it looks at each record.
fn compressed(c: &mut Criterion) {
    const RECORDS: usize = 1_000;
    let mut group = c.benchmark_group("lz4 batch of 1,000 records of 1 KiB");
    let compression = Compression { codec: Codec::Lz4, level: Codec::Lz4.default_level() };
    let mut builder = BatchBuilder::new(BatchOptions { compression, ..Default::default() });
    for i in 0..RECORDS {
        builder.append(1_700_000_000_000, None, Some(&text(1024, i as u64)), std::iter::empty());
    }
    let bytes = builder.build().expect("compresses");
    let batch = Batch::parse(&bytes).expect("a batch");
    // Of the content, before compression.
    group.throughput(Throughput::Bytes(RECORDS as u64 * 1024));
    let mut scratch = Scratch::default();
    group.bench_function("records", |b| {
        b.iter(|| batch.records(&mut scratch).expect("records").filter(Result::is_ok).count());
    });
    group.bench_function("each_record", |b| {
        b.iter(|| {
            let mut count = 0;
            let end = batch.each_record(&mut scratch, |record| {
                count += usize::from(black_box(record).offset >= 0);
                Ok::<_, RecordsError>(())
            });
            end.map(|()| count)
        });
    });
    group.finish();
}

criterion_group!(benches, messages, checksums, batches, compressed);
criterion_main!(benches);
