//! The voters of the quorum, from configuration or from the log (KIP-853).

use std::collections::BTreeMap;

use ottla_protocol::messages::control_record::kraft_version_record::KRaftVersionRecord;
use ottla_protocol::messages::control_record::voters_record::{
    Endpoint, KRaftVersionFeature, Voter, VotersRecord,
};
use ottla_protocol::records::BatchIter;
use ottla_protocol::records::Scratch;
use ottla_protocol::records::control::ControlRecordType;
use ottla_protocol::types::{Str, Uuid};
use ottla_protocol::wire::Message;

use crate::batches::LogReadError;

/// The newest `kraft.version` that this program speaks.
pub const KRAFT_VERSION_MAX: i16 = 1;

/// Where a listener of a voter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerAddress {
    /// The listener's name, upper case.
    pub name: String,
    pub host: String,
    pub port: u16,
}

/// One voter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoterNode {
    pub id: i32,
    /// Of the metadata log directory; `None` in a static quorum.
    pub directory_id: Option<Uuid>,
    pub endpoints: Vec<ListenerAddress>,
    /// Range of `kraft.version` that the voter speaks.
    pub kraft_versions: (i16, i16),
}

impl VoterNode {
    pub fn address(&self, listener: &str) -> Option<&ListenerAddress> {
        self.endpoints.iter().find(|e| e.name == listener)
    }
}

/// Voters by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VoterSet {
    pub voters: BTreeMap<i32, VoterNode>,
}

impl VoterSet {
    /// The voters of `controller.quorum.voters`, all behind one listener.
    pub fn from_static<'a>(listener: &str, voters: impl Iterator<Item = (i32, &'a str, u16)>) -> Self {
        let voters = voters
            .map(|(id, host, port)| {
                let node = VoterNode {
                    id,
                    directory_id: None,
                    endpoints: vec![ListenerAddress {
                        name: listener.to_owned(),
                        host: host.to_owned(),
                        port,
                    }],
                    kraft_versions: (0, KRAFT_VERSION_MAX),
                };
                (id, node)
            })
            .collect();
        VoterSet { voters }
    }

    pub fn from_record(record: &VotersRecord) -> Self {
        let voters = record
            .voters
            .iter()
            .map(|v| {
                let directory = Some(v.voter_directory_id).filter(|d| !d.is_zero());
                let feature = &v.kraft_version_feature;
                let node = VoterNode {
                    id: v.voter_id,
                    directory_id: directory,
                    endpoints: v
                        .endpoints
                        .iter()
                        .map(|e| ListenerAddress {
                            name: e.name.to_string(),
                            host: e.host.to_string(),
                            port: e.port,
                        })
                        .collect(),
                    kraft_versions: (feature.min_supported_version, feature.max_supported_version),
                };
                (v.voter_id, node)
            })
            .collect();
        VoterSet { voters }
    }

    pub fn to_record(&self) -> VotersRecord {
        VotersRecord {
            version: 0,
            voters: self
                .voters
                .values()
                .map(|v| Voter {
                    voter_id: v.id,
                    voter_directory_id: v.directory_id.unwrap_or(Uuid::ZERO),
                    endpoints: v
                        .endpoints
                        .iter()
                        .map(|e| Endpoint {
                            name: Str::from(e.name.as_str()),
                            host: Str::from(e.host.as_str()),
                            port: e.port,
                            ..Default::default()
                        })
                        .collect(),
                    kraft_version_feature: KRaftVersionFeature {
                        min_supported_version: v.kraft_versions.0,
                        max_supported_version: v.kraft_versions.1,
                        ..Default::default()
                    },
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }
    }

    /// Whether a node is a voter. With directory ids the directory must fit too.
    pub fn contains(&self, id: i32, directory: Uuid) -> bool {
        self.voters.get(&id).is_some_and(|v| v.directory_id.is_none_or(|d| d == directory))
    }

    pub fn is_only(&self, id: i32, directory: Uuid) -> bool {
        self.voters.len() == 1 && self.contains(id, directory)
    }

    pub fn ids(&self) -> impl Iterator<Item = i32> {
        self.voters.keys().copied()
    }
}

/// What the control records of a log and its snapshot say about the quorum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ControlHistory {
    /// `(offset, level)`, in order of offsets. Those of a snapshot stand at its end offset minus one.
    kraft_versions: Vec<(i64, i16)>,
    voters: Vec<(i64, VoterSet)>,
}

impl ControlHistory {
    pub fn new() -> Self {
        Self::default()
    }

    /// 0 where the log does not say.
    pub fn kraft_version(&self) -> i16 {
        self.kraft_versions.last().map_or(0, |v| v.1)
    }

    /// The voters that the log names, with the offset of the record.
    pub fn voters(&self) -> Option<(i64, &VoterSet)> {
        self.voters.last().map(|(offset, set)| (*offset, set))
    }

    /// Reads the control records of batches of the log.
    pub fn replay_log(&mut self, batches: &[u8]) -> Result<(), LogReadError> {
        self.replay(batches, None)
    }

    /// Reads the control records of a snapshot, whose own offsets mean nothing. Those of the
    /// bootstrap snapshot (end offset 0) count as being at -1.
    pub fn replay_snapshot(&mut self, batches: &[u8], end_offset: i64) -> Result<(), LogReadError> {
        self.replay(batches, Some(end_offset - 1))
    }

    /// Forgets what was said at or after an offset, which the log has truncated.
    pub fn truncate_to(&mut self, offset: i64) {
        self.kraft_versions.retain(|v| v.0 < offset);
        self.voters.retain(|v| v.0 < offset);
    }

    fn replay(&mut self, batches: &[u8], at: Option<i64>) -> Result<(), LogReadError> {
        let mut scratch = Scratch::default();
        for batch in BatchIter::new(batches) {
            let batch = batch?;
            if !batch.header().is_control() {
                continue;
            }
            for record in batch.records(&mut scratch)? {
                let record = record?;
                let offset = at.unwrap_or(record.offset);
                let value = bytes::Bytes::copy_from_slice(record.value.unwrap_or_default());
                match ControlRecordType::parse_key(record.key)? {
                    ControlRecordType::KRaftVersion => {
                        let r = KRaftVersionRecord::from_bytes(value, 0)?;
                        self.kraft_versions.push((offset, r.kraft_version));
                    }
                    ControlRecordType::KRaftVoters => {
                        let r = VotersRecord::from_bytes(value, 0)?;
                        self.voters.push((offset, VoterSet::from_record(&r)));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
