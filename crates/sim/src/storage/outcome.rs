//! What came of a life.

/// What a seed did.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The hash of all that happened.
    pub trace: u64,
    /// Operations of the disk.
    pub operations: u64,
    /// Batches that were acknowledged.
    pub appends: u64,
    /// Starts after a stop, a kill or a power cut.
    pub recoveries: u64,
    /// Errors, full disks and crashes in the middle of an operation that struck.
    pub faults: u64,
    /// What went wrong, and when.
    pub failure: Option<String>,
    /// What was done, when it was asked for.
    pub story: Vec<String>,
}
