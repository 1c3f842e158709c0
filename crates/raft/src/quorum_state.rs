//! The file `quorum-state`: what a node must not forget about elections.

use ottla_protocol::messages::file::quorum_state_data::QuorumStateData;
use ottla_protocol::types::Uuid;
use serde_json::Value;

/// Epoch, leader and vote of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ElectionState {
    pub epoch: i32,
    pub leader_id: Option<i32>,
    /// Whom the node voted for in the epoch, with the directory that it named.
    pub voted: Option<(i32, Uuid)>,
}

/// A file that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuorumStateError {
    #[error("quorum-state is not a JSON object")]
    NotJson,
    #[error("quorum-state has no valid {0}")]
    Field(&'static str),
    #[error("quorum-state has data_version {0}, expected 0 or 1")]
    Version(i64),
}

impl ElectionState {
    /// The file's content. `kraft.version` 0 keeps the voters, later ones the voted directory.
    pub fn to_json(&self, kraft_version: i16, voters: &[i32]) -> String {
        let leader = self.leader_id.unwrap_or(-1);
        let voted = self.voted.map_or(-1, |v| v.0);
        if kraft_version == 0 {
            let voters: Vec<String> = voters.iter().map(|id| format!("{{\"voterId\":{id}}}")).collect();
            return format!(
                "{{\"clusterId\":\"\",\"leaderId\":{leader},\"leaderEpoch\":{},\"votedId\":{voted},\
                 \"appliedOffset\":0,\"currentVoters\":[{}],\"data_version\":0}}",
                self.epoch,
                voters.join(",")
            );
        }
        let directory = self.voted.map_or(Uuid::ZERO, |v| v.1);
        format!(
            "{{\"leaderId\":{leader},\"leaderEpoch\":{},\"votedId\":{voted},\"votedDirectoryId\":\"{directory}\",\
             \"data_version\":1}}",
            self.epoch
        )
    }

    /// Reads a file of either version.
    pub fn from_json(text: &str) -> Result<Self, QuorumStateError> {
        let value: Value = serde_json::from_str(text).map_err(|_| QuorumStateError::NotJson)?;
        let Value::Object(fields) = value else {
            return Err(QuorumStateError::NotJson);
        };
        let number = |name: &'static str| {
            fields.get(name).and_then(Value::as_i64).ok_or(QuorumStateError::Field(name))
        };
        let int =
            |name: &'static str| i32::try_from(number(name)?).map_err(|_| QuorumStateError::Field(name));
        let version = number("data_version")?;
        if !(0..=1).contains(&version) {
            return Err(QuorumStateError::Version(version));
        }
        let directory = match fields.get("votedDirectoryId") {
            Some(Value::String(text)) => {
                text.parse().map_err(|_| QuorumStateError::Field("votedDirectoryId"))?
            }
            _ => Uuid::ZERO,
        };
        let voted = int("votedId")?;
        let leader = int("leaderId")?;
        Ok(ElectionState {
            epoch: int("leaderEpoch")?,
            leader_id: (leader >= 0).then_some(leader),
            voted: (voted >= 0).then_some((voted, directory)),
        })
    }

    /// The same as a message, for tools that print it.
    pub fn to_message(&self) -> QuorumStateData {
        QuorumStateData {
            leader_id: self.leader_id.unwrap_or(-1),
            leader_epoch: self.epoch,
            voted_id: self.voted.map_or(-1, |v| v.0),
            voted_directory_id: self.voted.map_or(Uuid::ZERO, |v| v.1),
            ..Default::default()
        }
    }
}
