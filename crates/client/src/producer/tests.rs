use ottla_protocol::records::{BatchIter, Scratch};
use tokio::sync::{Semaphore, oneshot};

use super::accumulator::Accumulator;
use super::partitioner::{Partitioner, partition_of_key};
use super::{ProducerConfig, ProducerRecord, RecordMetadata};
use crate::{ClientConfig, ClientError, TopicPartition};

type Answer = oneshot::Receiver<Result<RecordMetadata, ClientError>>;

fn config(extra: &[(&str, &str)]) -> ProducerConfig {
    let mut config = ClientConfig::new();
    for (key, value) in extra {
        config.set(*key, *value);
    }
    ProducerConfig::new(&config).unwrap()
}

fn append(accumulator: &mut Accumulator, config: &ProducerConfig, value: &str) -> Answer {
    let memory = std::sync::Arc::new(Semaphore::new(1000)).try_acquire_many_owned(10).unwrap();
    let record = ProducerRecord {
        topic: "t".to_owned(),
        value: Some(bytes::Bytes::copy_from_slice(value.as_bytes())),
        ..Default::default()
    };
    let (reply, answer) = oneshot::channel();
    accumulator.append(config, &TopicPartition::new("t", 0), &record, 7, reply, memory);
    answer
}

#[test]
fn keys_go_where_kafka_puts_them() {
    // Source: Kafka `Utils.murmur2` and `BuiltInPartitioner.partitionForKey`, values of its own tests.
    for (key, hash) in
        [("21", -973932308i32), ("foobar", -790332482), ("a-little-bit-long-string", -985981536)]
    {
        assert_eq!(partition_of_key(key.as_bytes(), 1000), (hash & i32::MAX) % 1000, "{key}");
    }
}

#[test]
fn records_without_a_key_stick_to_a_partition_for_a_batch() {
    let mut partitioner = Partitioner::new(100, false);
    let record = ProducerRecord { topic: "t".to_owned(), ..Default::default() };
    let first = partitioner.choose(&record, 1000, 60);
    assert_eq!(partitioner.choose(&record, 1000, 60), first);
    let others: Vec<i32> = (0..20).map(|_| partitioner.choose(&record, 1000, 100)).collect();
    assert!(others.iter().any(|p| *p != first));
}

#[tokio::test]
async fn a_batch_that_is_sent_again_goes_before_those_after_it_and_keeps_its_sequence() {
    let config = config(&[("batch.size", "80"), ("linger.ms", "0")]);
    let mut accumulator = Accumulator::default();
    let mut answers: Vec<Answer> = ["a".repeat(70), "b".repeat(70), "c".repeat(70)]
        .iter()
        .map(|v| append(&mut accumulator, &config, v))
        .collect();
    let partition = TopicPartition::new("t", 0);
    let first = accumulator.take(&partition, true).unwrap();
    let second = accumulator.take(&partition, true).unwrap();
    assert_eq!((first.base_sequence, second.base_sequence), (Some(0), Some(1)));
    assert!(accumulator.has_older(&second));
    accumulator.put_back(second);
    accumulator.put_back(first);
    let mut again = accumulator.take(&partition, true).unwrap();
    assert_eq!(again.base_sequence, Some(0));
    let bytes = again.encode(42, 3).unwrap();
    let batch = BatchIter::new(&bytes).next().unwrap().unwrap();
    batch.ensure_valid().unwrap();
    assert_eq!(
        (batch.header().producer_id, batch.header().producer_epoch, batch.header().base_sequence),
        (42, 3, 0)
    );
    let mut scratch = Scratch::default();
    let record = batch.records(&mut scratch).unwrap().next().unwrap().unwrap();
    assert_eq!(record.value, Some("a".repeat(70).as_bytes()));
    accumulator.done(&again);
    again.succeed(100, -1);
    let metadata = answers.remove(0).await.unwrap().unwrap();
    assert_eq!((metadata.offset, metadata.timestamp), (100, 7));
    assert_eq!(accumulator.take(&partition, true).unwrap().base_sequence, Some(1));
}

#[test]
fn an_idempotent_producer_needs_acks_from_all() {
    let check = |pairs: &[(&str, &str)]| {
        let mut config = ClientConfig::new();
        for (key, value) in pairs {
            config.set(*key, *value);
        }
        ProducerConfig::new(&config).map(|c| c.idempotence)
    };
    assert!(check(&[]).unwrap());
    assert!(!check(&[("acks", "1")]).unwrap());
    assert!(check(&[("acks", "1"), ("enable.idempotence", "true")]).is_err());
    assert!(check(&[("transactional.id", "x"), ("enable.idempotence", "false")]).is_err());
    assert!(check(&[("max.in.flight.requests.per.connection", "6"), ("transactional.id", "x")]).is_err());
}
