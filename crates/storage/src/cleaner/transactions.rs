//! The transactions that a cleaning is in the midst of, as it walks through the log.
//!
//! Source: Kafka `CleanedTransactionMetadata`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use ottla_protocol::records::control::ControlRecordType;
use ottla_protocol::records::{Batch, BatchHeader, RecordsError, Scratch};

use crate::index::AbortedTxn;

/// What becomes of a control batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MarkerFate {
    /// Nothing of its transaction is left before it.
    pub(super) can_discard: bool,
    /// The entry of the transaction index that has to stay with the marker.
    pub(super) aborted: Option<AbortedTxn>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ByFirstOffset(AbortedTxn);

impl PartialOrd for ByFirstOffset {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByFirstOffset {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |txn: &AbortedTxn| (txn.first_offset, txn.last_offset, txn.producer_id);
        key(&self.0).cmp(&key(&other.0))
    }
}

#[derive(Debug)]
struct Aborted {
    txn: AbortedTxn,
    /// Whether a batch of it was seen.
    observed: bool,
}

/// The transactions that a cleaning is in the midst of. Aborted ones are known ahead, because nothing is cleaned above
/// the last stable offset; all others are committed.
#[derive(Debug, Default)]
pub(super) struct CleanedTransactions {
    /// To come, by first offset.
    ahead: BinaryHeap<Reverse<ByFirstOffset>>,
    aborted: HashMap<i64, Aborted>,
    committed: HashSet<i64>,
}

impl CleanedTransactions {
    /// Adds aborted transactions that reach into what comes next.
    pub(super) fn add_aborted(&mut self, txns: Vec<AbortedTxn>) {
        self.ahead.extend(txns.into_iter().map(|txn| Reverse(ByFirstOffset(txn))));
    }

    fn consume_up_to(&mut self, offset: i64) {
        while let Some(Reverse(ByFirstOffset(txn))) = self.ahead.peek().copied() {
            if txn.first_offset > offset {
                return;
            }
            self.ahead.pop();
            self.aborted.entry(txn.producer_id).or_insert(Aborted { txn, observed: false });
        }
    }

    /// Takes note of a control batch.
    ///
    /// # Errors
    /// A control record that cannot be read.
    pub(super) fn on_control_batch(
        &mut self,
        batch: &Batch<'_>,
        scratch: &mut Scratch,
    ) -> Result<MarkerFate, RecordsError> {
        let header = *batch.header();
        self.consume_up_to(header.last_offset());
        let Some(record) = batch.records(scratch)?.next() else {
            // Emptied by an earlier cleaning.
            return Ok(MarkerFate { can_discard: true, aborted: None });
        };
        Ok(match ControlRecordType::parse_key(record?.key)? {
            ControlRecordType::Abort => match self.aborted.remove(&header.producer_id) {
                // The marker stays until every batch of the transaction is gone.
                Some(Aborted { txn, observed: true }) => {
                    MarkerFate { can_discard: false, aborted: Some(txn) }
                }
                _ => MarkerFate { can_discard: true, aborted: None },
            },
            ControlRecordType::Commit => {
                MarkerFate { can_discard: !self.committed.remove(&header.producer_id), aborted: None }
            }
            _ => MarkerFate { can_discard: false, aborted: None },
        })
    }

    /// Takes note of a batch of data. Returns whether it belongs to an aborted transaction, so that it can go.
    pub(super) fn on_batch(&mut self, header: &BatchHeader) -> bool {
        self.consume_up_to(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some(aborted) => {
                aborted.observed = true;
                true
            }
            None => {
                self.committed.insert(header.producer_id);
                false
            }
        }
    }
}
