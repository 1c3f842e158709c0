//! Reads a partition of an internal topic from start to end, record by record.

use std::io;
use std::sync::Arc;

use ottla_protocol::records::control::EndTxnMarker;
use ottla_protocol::records::{BatchIter, RecordsError, Scratch};

use crate::fetch::ColdReaders;
use crate::partition::{Partition, ReadError};

/// What a log of an internal topic consists of.
pub enum Event<'a> {
    Record { key: &'a [u8], value: Option<&'a [u8]>, producer_id: Option<i64> },
    EndTxn { producer_id: i64, commit: bool },
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("at offset {offset}: {source}")]
    Records { offset: i64, source: RecordsError },
}

/// Hands every record up to the log end offset at the time of the call to `visit`, in order.
///
/// Reads chunks of `buffer_bytes` on a thread that may wait for the disk.
pub async fn load(
    readers: &ColdReaders,
    partition: &Arc<Partition>,
    buffer_bytes: i32,
    mut visit: impl FnMut(Event<'_>),
) -> Result<(), LoadError> {
    let end = partition.log_end_offset();
    let mut offset = partition.log_start_offset();
    let mut scratch = Scratch::default();
    while offset < end {
        let reader = Arc::clone(partition);
        let chunk = readers
            .run(partition.log.dir_state(), move || reader.read_chunk(offset, buffer_bytes.max(1) as usize));
        let chunk = chunk.await.unwrap_or_else(|_| Err(io::Error::other("the read was given up").into()))?;
        let before = offset;
        for batch in BatchIter::new(&chunk) {
            let batch = batch.map_err(|source| LoadError::Records { offset, source })?;
            let header = *batch.header();
            if header.next_offset() <= offset {
                continue;
            }
            let broken = |source| LoadError::Records { offset: header.base_offset, source };
            let transactional = header.is_transactional().then_some(header.producer_id);
            for record in batch.records(&mut scratch).map_err(broken)? {
                let record = record.map_err(broken)?;
                if header.is_control() {
                    if let Some(marker) = EndTxnMarker::parse(&record).map_err(broken)? {
                        visit(Event::EndTxn { producer_id: header.producer_id, commit: marker.commit });
                    }
                } else if let Some(key) = record.key {
                    visit(Event::Record { key, value: record.value, producer_id: transactional });
                }
            }
            offset = header.next_offset();
        }
        if offset == before {
            // Nothing readable between here and the end: a gap that compaction left.
            break;
        }
    }
    Ok(())
}
