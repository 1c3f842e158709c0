//! From the bytes of a fetched partition to records: compression, control batches, aborted transactions.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::messages::fetch_response::AbortedTransaction;
use ottla_protocol::records::control::ControlRecordType;
use ottla_protocol::records::{Batch, BatchIter, RecordsError, Scratch, TimestampType};

use super::ConsumerRecord;
use crate::TopicPartition;

/// What a fetch brought for one partition.
#[derive(Debug)]
pub(super) struct Fetched {
    pub records: VecDeque<ConsumerRecord>,
    /// Where to fetch next: behind the last batch, whether its records count or not.
    pub next_offset: i64,
}

/// Aborted transactions of a response, by the offset at which they begin.
struct Aborted {
    waiting: VecDeque<AbortedTransaction>,
    open: BTreeSet<i64>,
}

impl Aborted {
    fn new(mut transactions: Vec<AbortedTransaction>) -> Aborted {
        transactions.sort_by_key(|t| t.first_offset);
        Aborted { waiting: transactions.into(), open: BTreeSet::new() }
    }

    /// Whether the batch belongs to a transaction that was aborted. Source: Kafka `CompletedFetch`.
    fn covers(&mut self, batch: &Batch<'_>) -> bool {
        let header = batch.header();
        while self.waiting.front().is_some_and(|t| t.first_offset <= header.last_offset()) {
            self.open.extend(self.waiting.pop_front().map(|t| t.producer_id));
        }
        header.is_transactional() && self.open.contains(&header.producer_id)
    }

    fn end(&mut self, producer_id: i64) {
        self.open.remove(&producer_id);
    }
}

/// Reads the records at `fetch_offset` and later. `aborted` is none for read_uncommitted.
///
/// # Errors
/// When a batch is damaged; what came before it is lost to the caller, who may seek.
pub(super) fn read(
    partition: &TopicPartition,
    topic: &Arc<str>,
    fetch_offset: i64,
    bytes: &Bytes,
    aborted: Option<Vec<AbortedTransaction>>,
    check_crcs: bool,
) -> Result<Fetched, RecordsError> {
    let mut fetched = Fetched { records: VecDeque::new(), next_offset: fetch_offset };
    let mut aborted = aborted.map(Aborted::new);
    let mut scratch = Scratch::default();
    for batch in BatchIter::new(bytes) {
        let batch = batch?;
        let header = *batch.header();
        if check_crcs {
            batch.ensure_valid()?;
        }
        if let Some(aborted) = &mut aborted {
            let covered = aborted.covers(&batch);
            if header.is_control() {
                if let Some(record) = batch.records(&mut scratch)?.next() {
                    let record = record?;
                    if ControlRecordType::parse_key(record.key)? == ControlRecordType::Abort {
                        aborted.end(header.producer_id);
                    }
                }
            } else if covered {
                fetched.next_offset = fetched.next_offset.max(header.next_offset());
                continue;
            }
        }
        if !header.is_control() {
            let append_time = header.timestamp_type() == TimestampType::LogAppendTime;
            for record in batch.records(&mut scratch)? {
                let record = record?;
                if record.offset < fetch_offset {
                    continue;
                }
                fetched.records.push_back(ConsumerRecord {
                    topic: Arc::clone(topic),
                    partition: partition.partition,
                    offset: record.offset,
                    timestamp: record.timestamp,
                    log_append_time: append_time,
                    leader_epoch: header.partition_leader_epoch,
                    key: record.key.map(|k| shared(bytes, k)),
                    value: record.value.map(|v| shared(bytes, v)),
                    headers: record
                        .headers
                        .iter()
                        .map(|h| {
                            (String::from_utf8_lossy(h.key).into_owned(), h.value.map(|v| shared(bytes, v)))
                        })
                        .collect(),
                });
            }
        }
        fetched.next_offset = fetched.next_offset.max(header.next_offset());
    }
    Ok(fetched)
}

/// A slice of the response where the bytes are part of it, a copy where they were compressed.
fn shared(response: &Bytes, part: &[u8]) -> Bytes {
    let range = response.as_ptr_range();
    let own = part.as_ptr_range();
    if !part.is_empty() && range.start <= own.start && own.end <= range.end {
        response.slice_ref(part)
    } else {
        Bytes::copy_from_slice(part)
    }
}

#[cfg(test)]
mod tests;
