//! Reading a partition as a read_committed consumer does: what was aborted is left out by the broker's list of aborted
//! transactions and the markers in the log.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ottla_protocol::messages::fetch_response::AbortedTransaction;
use ottla_protocol::records::control::EndTxnMarker;
use ottla_protocol::records::{BatchIter, Scratch};

use super::fetch::fetch;
use super::rpc::{Isolation, Rpc};

/// What came of a read from the first offset to `end`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Read {
    /// Records that an application would be given.
    pub visible: u64,
    pub bytes: u64,
    pub elapsed: Duration,
}

/// Reads a partition from its start up to `end`, `max_bytes` at a time.
pub fn read(
    rpc: &mut Rpc,
    topic: &str,
    end: i64,
    max_bytes: i32,
    isolation: Isolation,
) -> Result<Read, String> {
    let began = Instant::now();
    let mut read = Read::default();
    let mut filter = Filter::default();
    let mut offset = 0;
    while offset < end {
        let part = fetch(rpc, topic, 0, offset, max_bytes, isolation)?;
        let records = part.records.as_deref().unwrap_or_default();
        filter.begin(part.aborted_transactions.unwrap_or_default());
        let before = offset;
        for batch in BatchIter::new(records) {
            let batch = batch.map_err(|e| format!("at {offset}: {e}"))?;
            let header = batch.header();
            read.visible += filter.visible(&batch)?;
            offset = header.next_offset();
        }
        if offset == before {
            return Err(format!("no records of {topic} at {offset}, although it ends at {end}"));
        }
        read.bytes += records.len() as u64;
    }
    read.elapsed = began.elapsed();
    Ok(read)
}

/// Which producers are inside an aborted transaction at the current offset.
#[derive(Debug, Default)]
struct Filter {
    /// Those of this response that begin behind the current offset; the first is at the end.
    ahead: Vec<AbortedTransaction>,
    inside: BTreeSet<i64>,
    scratch: Scratch,
}

impl Filter {
    /// A response names every aborted transaction that it has records of, also those that began before it.
    fn begin(&mut self, mut aborted: Vec<AbortedTransaction>) {
        aborted.sort_by_key(|a| std::cmp::Reverse(a.first_offset));
        self.ahead = aborted;
        self.inside.clear();
    }

    fn visible(&mut self, batch: &ottla_protocol::records::Batch<'_>) -> Result<u64, String> {
        let header = *batch.header();
        while let Some(next) = self.ahead.pop_if(|a| a.first_offset <= header.last_offset()) {
            self.inside.insert(next.producer_id);
        }
        if header.is_control() {
            let mut records = batch.records(&mut self.scratch).map_err(|e| e.to_string())?;
            let marker = match records.next() {
                Some(record) => {
                    let record = record.map_err(|e| e.to_string())?;
                    EndTxnMarker::parse(&record).map_err(|e| e.to_string())?
                }
                None => None,
            };
            if marker.is_some_and(|m| !m.commit) {
                self.inside.remove(&header.producer_id);
            }
            return Ok(0);
        }
        let hidden = header.is_transactional() && self.inside.contains(&header.producer_id);
        Ok(if hidden { 0 } else { header.records_count.max(0) as u64 })
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::fetch_response::AbortedTransaction;
    use ottla_protocol::records::control::EndTxnMarker;
    use ottla_protocol::records::{Batch, BatchBuilder, BatchOptions};

    use super::Filter;

    fn data(producer_id: i64, base_offset: i64, records: usize) -> Vec<u8> {
        let options = BatchOptions {
            base_offset,
            producer_id,
            producer_epoch: 0,
            base_sequence: 0,
            transactional: true,
            ..Default::default()
        };
        let mut batch = BatchBuilder::new(options);
        for _ in 0..records {
            batch.append(0, None, Some(b"x"), std::iter::empty());
        }
        batch.build().unwrap().to_vec()
    }

    fn marker(producer_id: i64, offset: i64, commit: bool) -> Vec<u8> {
        EndTxnMarker { commit, coordinator_epoch: 0 }.batch(offset, 0, 0, producer_id, 0).to_vec()
    }

    #[test]
    fn an_aborted_producer_is_hidden_until_its_marker() {
        let aborted = |producer_id, first_offset| AbortedTransaction {
            producer_id,
            first_offset,
            ..Default::default()
        };
        let mut filter = Filter::default();
        filter.begin(vec![aborted(7, 5), aborted(7, 0)]);
        let batches = [
            (data(7, 0, 2), 0),
            (data(8, 2, 1), 1),
            (marker(7, 3, false), 0),
            (marker(8, 4, true), 0),
            (data(7, 5, 2), 0),
            (marker(7, 7, false), 0),
            (data(7, 8, 3), 3),
        ];
        for (bytes, visible) in batches {
            assert_eq!(filter.visible(&Batch::parse(&bytes).unwrap()), Ok(visible));
        }
        // The next response names what it has records of.
        filter.begin(Vec::new());
        assert_eq!(filter.visible(&Batch::parse(&data(7, 20, 1)).unwrap()), Ok(1));
    }
}
