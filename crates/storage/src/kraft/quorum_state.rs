//! `quorum-state`: the vote and the leader that a voter remembers.
//!
//! Source: Kafka `FileQuorumStateStore`, `QuorumStateData.json`; KIP-595, KIP-853.

use std::io;
use std::path::Path;

use ottla_protocol::types::Uuid;
use serde_json::{Value, json};
use thiserror::Error;

use crate::disk::Disk;
use crate::error::CorruptFile;

/// Name of the file in the metadata log's directory.
pub const QUORUM_STATE_FILE: &str = "quorum-state";
const MAX_BYTES: u64 = 1 << 20;

/// Why a `quorum-state` cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QuorumStateError {
    /// The file is no JSON object.
    #[error("quorum-state is no JSON object")]
    NotJson,
    /// The version is missing or is neither 0 nor 1.
    #[error("unknown data_version in quorum-state")]
    UnknownVersion,
    /// A field is missing or of another type.
    #[error("missing or invalid {field} in quorum-state")]
    Invalid {
        /// The field.
        field: &'static str,
    },
}

/// The content of `quorum-state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumState {
    /// 0 while `kraft.version` is 0, then 1.
    pub data_version: i16,
    /// The leader of the epoch, -1 when it is not known.
    pub leader_id: i32,
    /// The epoch.
    pub leader_epoch: i32,
    /// Whom this node gave its vote, -1 for nobody.
    pub voted_id: i32,
    /// The directory of whom it gave its vote; version 1 only.
    pub voted_directory_id: Uuid,
    /// The voters, by id; version 0 only, where null is possible.
    pub current_voters: Option<Vec<i32>>,
}

impl Default for QuorumState {
    fn default() -> Self {
        QuorumState {
            data_version: 1,
            leader_id: -1,
            leader_epoch: 0,
            voted_id: -1,
            voted_directory_id: Uuid::ZERO,
            current_voters: None,
        }
    }
}

impl QuorumState {
    /// Parses the file.
    ///
    /// # Errors
    /// [`QuorumStateError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, QuorumStateError> {
        let json: Value = serde_json::from_slice(bytes).map_err(|_| QuorumStateError::NotJson)?;
        let json = json.as_object().ok_or(QuorumStateError::NotJson)?;
        let int = |field: &'static str| {
            json.get(field)
                .and_then(Value::as_i64)
                .and_then(|value| i32::try_from(value).ok())
                .ok_or(QuorumStateError::Invalid { field })
        };
        let data_version = match json.get("data_version").and_then(Value::as_i64) {
            Some(version @ 0..=1) => version as i16,
            _ => return Err(QuorumStateError::UnknownVersion),
        };
        let mut state = QuorumState {
            data_version,
            leader_id: int("leaderId")?,
            leader_epoch: int("leaderEpoch")?,
            voted_id: int("votedId")?,
            ..QuorumState::default()
        };
        if data_version == 0 {
            let invalid = QuorumStateError::Invalid { field: "currentVoters" };
            state.current_voters = match json.get("currentVoters") {
                None => return Err(invalid),
                Some(Value::Null) => None,
                Some(Value::Array(voters)) => {
                    let ids = voters.iter().map(|voter| {
                        voter.get("voterId").and_then(Value::as_i64).and_then(|id| i32::try_from(id).ok())
                    });
                    Some(ids.collect::<Option<Vec<i32>>>().ok_or(invalid)?)
                }
                Some(_) => return Err(invalid),
            };
        } else {
            state.voted_directory_id = json
                .get("votedDirectoryId")
                .and_then(Value::as_str)
                .and_then(|id| id.parse().ok())
                .ok_or(QuorumStateError::Invalid { field: "votedDirectoryId" })?;
        }
        Ok(state)
    }

    /// The text of the file.
    pub fn render(&self) -> String {
        let (leader, epoch, voted) = (self.leader_id, self.leader_epoch, self.voted_id);
        if self.data_version == 0 {
            let voters = match &self.current_voters {
                None => Value::Null,
                Some(ids) => ids.iter().map(|id| json!({ "voterId": id })).collect(),
            };
            format!(
                "{{\"clusterId\":\"\",\"leaderId\":{leader},\"leaderEpoch\":{epoch},\"votedId\":{voted},\
                 \"appliedOffset\":0,\"currentVoters\":{voters},\"data_version\":0}}"
            )
        } else {
            format!(
                "{{\"leaderId\":{leader},\"leaderEpoch\":{epoch},\"votedId\":{voted},\"votedDirectoryId\":\"{}\",\
                 \"data_version\":1}}",
                self.voted_directory_id
            )
        }
    }

    /// Reads the file of the metadata log's directory; none when there is none.
    ///
    /// # Errors
    /// The disk; [`io::ErrorKind::InvalidData`] with a [`QuorumStateError`].
    pub fn read(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Self>> {
        match disk.read(&dir.join(QUORUM_STATE_FILE), MAX_BYTES)? {
            Some(bytes) => Self::parse(&bytes)
                .map(Some)
                .map_err(|error| CorruptFile::error(&dir.join(QUORUM_STATE_FILE), None, error)),
            None => Ok(None),
        }
    }

    /// Writes the file, durably: on return a vote is not forgotten.
    ///
    /// # Errors
    /// The disk.
    pub fn write(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        disk.write_atomic(&dir.join(QUORUM_STATE_FILE), self.render().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_kafka_are_read_and_written_alike() {
        let v0 = "{\"clusterId\":\"\",\"leaderId\":1,\"leaderEpoch\":2,\"votedId\":-1,\"appliedOffset\":0,\
                  \"currentVoters\":[{\"voterId\":1}],\"data_version\":0}";
        let state = QuorumState::parse(v0.as_bytes()).expect("parses");
        assert_eq!(state.current_voters, Some(vec![1]));
        assert_eq!(state.render(), v0);
        let v1 = "{\"leaderId\":3,\"leaderEpoch\":9,\"votedId\":3,\"votedDirectoryId\":\"1TJk90aHPgGnQUkjwWfhHQ\",\
                  \"data_version\":1}";
        assert_eq!(QuorumState::parse(v1.as_bytes()).expect("parses").render(), v1);
        for bad in ["", "[]", "{}", "{\"data_version\":2}", "{\"data_version\":1,\"leaderId\":1}"] {
            assert!(QuorumState::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
