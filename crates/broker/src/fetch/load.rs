//! HOT: brings the bytes of what was read into memory, or sees that they are there.

use std::io;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_storage::dirs::DirState;
use ottla_storage::disk::{FetchSlice, Loaded};

use super::{ColdReaders, PartitionData, Records};
use crate::partition::Partition;

impl PartitionData {
    fn loaded(&mut self, mut slice: FetchSlice, loaded: io::Result<Loaded>) {
        self.records = match loaded {
            Ok(Loaded::Bytes(bytes)) => Records::Bytes(bytes),
            Ok(Loaded::File(len)) => {
                slice.len = len;
                Records::File(slice)
            }
            Err(error) => {
                let partition = self.partition.as_deref();
                tracing::error!(partition = partition.map(Partition::to_string), %error, "cannot read records");
                self.error = ErrorCode::KafkaStorageError;
                Records::None
            }
        };
    }

    fn dir(&self) -> Option<&Arc<DirState>> {
        self.partition.as_ref().map(|partition| partition.log.dir_state())
    }

    /// Loads what is in memory; gives back what is not.
    fn load_cached(&mut self, readers: &ColdReaders) -> Option<FetchSlice> {
        let Records::Found(slice) = &self.records else { return None };
        let result = slice.load_cached();
        let Records::Found(slice) = std::mem::take(&mut self.records) else { return None };
        match result {
            Ok(Some((loaded, ahead))) => {
                if let (Some(ahead), Some(dir)) = (ahead, self.dir()) {
                    readers.run_ahead(dir, || ahead.run());
                }
                self.loaded(slice, Ok(loaded));
                None
            }
            Ok(None) => {
                self.records = Records::Found(slice.clone());
                Some(slice)
            }
            Err(error) => {
                self.loaded(slice, Err(error));
                None
            }
        }
    }
}

/// Loads the records of every partition, as far as that takes no waiting for a disk. Returns whether all are loaded.
pub fn load_cached(readers: &ColdReaders, data: &mut [PartitionData]) -> bool {
    let mut all = true;
    for one in data {
        all &= one.load_cached(readers).is_none();
    }
    all
}

/// Loads the records of every partition. What is not in memory is read by the threads of its log directory, all of it at
/// the same time. A long slice may come back shorter.
pub async fn load(readers: &ColdReaders, data: &mut [PartitionData]) {
    let mut waiting = Vec::new();
    for (index, one) in data.iter_mut().enumerate() {
        let Some(slice) = one.load_cached(readers) else { continue };
        let Some(dir) = one.dir().map(Arc::clone) else {
            one.loaded(slice.clone(), slice.load());
            continue;
        };
        let job = slice.clone();
        let loading = match slice.is_catch_up() {
            true => readers.run_catch_up(&dir, move || job.load()),
            false => readers.run(&dir, move || job.load()),
        };
        waiting.push((index, slice, loading));
    }
    for (index, slice, loading) in waiting {
        let loaded = loading.await.unwrap_or_else(|_| Err(io::Error::other("the read was given up")));
        if let Some(one) = data.get_mut(index) {
            one.loaded(slice, loaded);
        }
    }
}
