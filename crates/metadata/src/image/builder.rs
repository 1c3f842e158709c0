//! Replaying a log into an image, with metadata transactions (KIP-868).

use super::{MetadataImage, Provenance, ReplayError};
use crate::record::Record;

/// An image under construction. Records of an open transaction are applied beside the last complete
/// image, which readers keep seeing until the transaction ends.
#[derive(Debug, Clone, Default)]
pub struct ImageBuilder {
    complete: MetadataImage,
    in_transaction: Option<MetadataImage>,
}

impl ImageBuilder {
    pub fn new(image: MetadataImage) -> Self {
        ImageBuilder { complete: image, in_transaction: None }
    }

    /// The last image outside of any transaction.
    pub fn image(&self) -> &MetadataImage {
        &self.complete
    }

    /// The image with the records of an open transaction.
    pub fn newest(&self) -> &MetadataImage {
        self.in_transaction.as_ref().unwrap_or(&self.complete)
    }

    pub fn is_in_transaction(&self) -> bool {
        self.in_transaction.is_some()
    }

    pub fn replay(&mut self, record: &Record) -> Result<(), ReplayError> {
        match record {
            Record::BeginTransaction(_) => {
                if self.in_transaction.is_some() {
                    return Err(ReplayError::Transaction("BeginTransaction"));
                }
                self.in_transaction = Some(self.complete.clone());
            }
            Record::EndTransaction(_) => {
                self.complete =
                    self.in_transaction.take().ok_or(ReplayError::Transaction("EndTransaction"))?;
            }
            Record::AbortTransaction(_) => {
                let aborted =
                    self.in_transaction.take().ok_or(ReplayError::Transaction("AbortTransaction"))?;
                self.complete.provenance = aborted.provenance;
            }
            record => self.newest_mut().replay(record)?,
        }
        Ok(())
    }

    /// Says what the last replayed record was.
    pub fn set_provenance(&mut self, provenance: Provenance) {
        self.newest_mut().provenance = provenance;
    }

    fn newest_mut(&mut self) -> &mut MetadataImage {
        self.in_transaction.as_mut().unwrap_or(&mut self.complete)
    }
}
