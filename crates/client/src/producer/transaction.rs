//! Producer ids and transactions. Source: Kafka `TransactionManager`, KIP-98, KIP-360, KIP-447, KIP-890.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use ottla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
};
use ottla_protocol::types::Str;

use super::{Producer, ProducerConfig, Shared, locked};
use crate::{ClientError, Target, TopicPartition};

/// What a consumer says of itself when its offsets become part of a transaction (KIP-447).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMetadata {
    pub group_id: String,
    pub generation_or_epoch: i32,
    pub member_id: String,
    pub instance_id: Option<String>,
}

impl GroupMetadata {
    /// Offsets of a group without a member.
    pub fn of_group(group_id: impl Into<String>) -> GroupMetadata {
        GroupMetadata {
            group_id: group_id.into(),
            generation_or_epoch: -1,
            member_id: String::new(),
            instance_id: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not transactional.
    Plain,
    Uninitialized,
    Ready,
    InTransaction,
    /// A send failed: only abort is left.
    Abortable,
    /// Another producer took over, or worse: nothing works any more.
    Fatal,
}

/// The producer id and the state of the transaction.
#[derive(Debug)]
pub(super) struct TransactionState {
    phase: Phase,
    pub producer_id: i64,
    pub epoch: i16,
    /// KIP-890: the server adds partitions by itself, and every transaction has its own epoch.
    pub version_2: bool,
    added: BTreeSet<TopicPartition>,
    touched: bool,
    failure: Option<String>,
}

impl TransactionState {
    pub fn new(config: &ProducerConfig) -> TransactionState {
        TransactionState {
            phase: if config.transactional_id.is_some() { Phase::Uninitialized } else { Phase::Plain },
            producer_id: -1,
            epoch: -1,
            version_2: false,
            added: BTreeSet::new(),
            touched: false,
            failure: None,
        }
    }

    pub fn check_can_send(&self) -> Result<(), ClientError> {
        match self.phase {
            Phase::Plain | Phase::InTransaction => Ok(()),
            Phase::Uninitialized | Phase::Ready => Err(invalid(
                "Cannot perform send because at least one previous transactional or idempotent request has failed \
                 with errors, or no transaction is in progress.",
            )),
            Phase::Abortable | Phase::Fatal => Err(invalid(
                self.failure
                    .as_deref()
                    .unwrap_or("Cannot execute transactional method because we are in an error state"),
            )),
        }
    }

    /// A batch was lost.
    pub fn on_failure(&mut self, error: &ClientError) {
        self.failure = Some(error.to_string());
        let fatal = matches!(
            error.code(),
            ErrorCode::ProducerFenced
                | ErrorCode::InvalidProducerEpoch
                | ErrorCode::TransactionalIdAuthorizationFailed
                | ErrorCode::InvalidProducerIdMapping
        );
        self.phase = match self.phase {
            Phase::Plain => Phase::Plain,
            _ if fatal => Phase::Fatal,
            Phase::InTransaction => Phase::Abortable,
            other => other,
        };
    }

    /// Partitions that the transaction does not know yet (KIP-98; since KIP-890 the server finds out by itself).
    pub fn not_added(&mut self, partitions: &[TopicPartition]) -> Vec<TopicPartition> {
        if self.phase == Phase::Plain {
            return Vec::new();
        }
        self.touched |= !partitions.is_empty();
        if self.version_2 {
            return Vec::new();
        }
        partitions.iter().filter(|p| !self.added.contains(p)).cloned().collect()
    }
}

fn invalid(text: &str) -> ClientError {
    ClientError::InvalidState(text.to_owned())
}

/// Gets a producer id, for a transactional id when there is one.
pub(super) async fn init_producer_id(shared: &Shared) -> Result<(), ClientError> {
    let id = shared.config.transactional_id.clone();
    let (old_id, old_epoch) = {
        let state = locked(&shared.transaction);
        (state.producer_id, state.epoch)
    };
    let request = InitProducerIdRequest {
        transactional_id: id.as_deref().map(Str::from),
        transaction_timeout_ms: i32::try_from(shared.config.transaction_timeout.as_millis())
            .unwrap_or(i32::MAX),
        producer_id: if id.is_some() { old_id } else { -1 },
        producer_epoch: if id.is_some() { old_epoch } else { -1 },
        ..Default::default()
    };
    let target = id.map_or(Target::Any, Target::Transaction);
    let response = shared
        .client
        .call_checked(&target, &request, |r: &InitProducerIdResponse| ErrorCode::from_code(r.error_code))
        .await?;
    ClientError::check(response.error_code, None)?;
    let features = shared.client.any_api_versions().await?;
    let version_2 = features
        .finalized_features
        .iter()
        .any(|f| f.name.as_str() == "transaction.version" && f.max_version_level >= 2);
    locked(&shared.accumulator).restart_sequences();
    let mut state = locked(&shared.transaction);
    state.producer_id = response.producer_id;
    state.epoch = response.producer_epoch;
    state.version_2 = version_2;
    Ok(())
}

/// Tells the coordinator of partitions before records go to them.
pub(super) async fn add_partitions(
    shared: &Shared,
    partitions: &[TopicPartition],
) -> Result<(), ClientError> {
    /// Newer versions are between brokers (KIP-890).
    const CLIENT_VERSION: i16 = 3;
    let Some(id) = shared.config.transactional_id.clone() else { return Ok(()) };
    let (producer_id, epoch) = {
        let state = locked(&shared.transaction);
        (state.producer_id, state.epoch)
    };
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for p in partitions {
        topics.entry(&p.topic).or_default().push(p.partition);
    }
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: Str::from(id.as_str()),
        v3_and_below_producer_id: producer_id,
        v3_and_below_producer_epoch: epoch,
        v3_and_below_topics: topics
            .into_iter()
            .map(|(name, partitions)| AddPartitionsToTxnTopic {
                name: Str::from(name),
                partitions,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let first_error = |r: &AddPartitionsToTxnResponse| {
        let results = r.results_by_topic_v3_and_below.iter().flat_map(|t| &t.results_by_partition);
        let code = results.map(|p| p.partition_error_code).find(|c| *c != 0).unwrap_or(0);
        ErrorCode::from_code(code)
    };
    let limit = shared.client.api_timeout();
    let response = shared
        .client
        .call_capped(&Target::Transaction(id), &request, CLIENT_VERSION, limit, first_error)
        .await?;
    ClientError::check(first_error(&response).code(), None)?;
    locked(&shared.transaction).added.extend(partitions.iter().cloned());
    Ok(())
}

impl Producer {
    /// Takes over the transactional id: earlier producers with it are fenced, their transactions ended.
    pub async fn init_transactions(&self) -> Result<(), ClientError> {
        if self.shared.config.transactional_id.is_none() {
            return Err(invalid(
                "Cannot use transactional methods without enabling transactions by setting the transactional.id \
                 configuration property",
            ));
        }
        init_producer_id(&self.shared).await?;
        locked(&self.shared.transaction).phase = Phase::Ready;
        Ok(())
    }

    pub fn begin_transaction(&self) -> Result<(), ClientError> {
        let mut state = locked(&self.shared.transaction);
        if state.phase != Phase::Ready {
            return Err(invalid("TransactionalId: Invalid transition attempted to state IN_TRANSACTION"));
        }
        state.phase = Phase::InTransaction;
        state.added.clear();
        state.touched = false;
        state.failure = None;
        Ok(())
    }

    /// Makes a group's offsets part of the transaction. Offsets are those of the next records to read.
    pub async fn send_offsets_to_transaction(
        &self,
        offsets: &[(TopicPartition, i64)],
        group: &GroupMetadata,
    ) -> Result<(), ClientError> {
        let Some(id) = self.shared.config.transactional_id.clone() else {
            return Err(invalid("not a transactional producer"));
        };
        let (producer_id, epoch, version_2) = {
            let mut state = locked(&self.shared.transaction);
            state.check_can_send()?;
            state.touched = true;
            (state.producer_id, state.epoch, state.version_2)
        };
        let client = &self.shared.client;
        if !version_2 {
            let request = AddOffsetsToTxnRequest {
                transactional_id: Str::from(id.as_str()),
                producer_id,
                producer_epoch: epoch,
                group_id: Str::from(group.group_id.as_str()),
                ..Default::default()
            };
            let error = |r: &AddOffsetsToTxnResponse| ErrorCode::from_code(r.error_code);
            let limit = client.api_timeout();
            let target = Target::Transaction(id.clone());
            let response = client.call_capped(&target, &request, 3, limit, error).await?;
            ClientError::check(response.error_code, None)?;
        }
        let mut topics: BTreeMap<&str, Vec<TxnOffsetCommitRequestPartition>> = BTreeMap::new();
        for (p, offset) in offsets {
            topics.entry(&p.topic).or_default().push(TxnOffsetCommitRequestPartition {
                partition_index: p.partition,
                committed_offset: *offset,
                committed_leader_epoch: -1,
                committed_metadata: Some(Str::EMPTY),
                ..Default::default()
            });
        }
        let request = TxnOffsetCommitRequest {
            transactional_id: Str::from(id.as_str()),
            group_id: Str::from(group.group_id.as_str()),
            producer_id,
            producer_epoch: epoch,
            generation_id_or_member_epoch: group.generation_or_epoch,
            member_id: Str::from(group.member_id.as_str()),
            group_instance_id: group.instance_id.as_deref().map(Str::from),
            topics: topics
                .into_iter()
                .map(|(name, partitions)| TxnOffsetCommitRequestTopic {
                    name: Str::from(name),
                    partitions,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        let first_error = |r: &TxnOffsetCommitResponse| {
            let codes = r.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code);
            ErrorCode::from_code(codes.into_iter().find(|c| *c != 0).unwrap_or(0))
        };
        // Version 5 is the one of KIP-890, older ones need the coordinator to be told before; 6 names topics by id.
        let version = if version_2 { 5 } else { 4 };
        let target = Target::Group(group.group_id.clone());
        let limit = client.api_timeout();
        let response = client.call_capped(&target, &request, version, limit, first_error).await?;
        ClientError::check(first_error(&response).code(), None)
    }

    /// Flushes and commits; every record and offset of the transaction becomes visible, or none.
    pub async fn commit_transaction(&self) -> Result<(), ClientError> {
        self.flush().await;
        locked(&self.shared.transaction).check_can_send()?;
        self.end(true).await
    }

    /// Drops what has not been sent and aborts.
    pub async fn abort_transaction(&self) -> Result<(), ClientError> {
        {
            let state = locked(&self.shared.transaction);
            if !matches!(state.phase, Phase::InTransaction | Phase::Abortable) {
                return Err(invalid(
                    "TransactionalId: Invalid transition attempted to state ABORTING_TRANSACTION",
                ));
            }
        }
        let unsent = locked(&self.shared.accumulator).take_unsent();
        for batch in unsent {
            batch.fail(&invalid("Failing batch since transaction was aborted"));
        }
        self.flush().await;
        self.end(false).await
    }

    async fn end(&self, committed: bool) -> Result<(), ClientError> {
        let Some(id) = self.shared.config.transactional_id.clone() else {
            return Err(invalid("not a transactional producer"));
        };
        let (producer_id, epoch, version_2, touched) = {
            let state = locked(&self.shared.transaction);
            (state.producer_id, state.epoch, state.version_2, state.touched)
        };
        if touched {
            let request = EndTxnRequest {
                transactional_id: Str::from(id.as_str()),
                producer_id,
                producer_epoch: epoch,
                committed,
                ..Default::default()
            };
            let client = &self.shared.client;
            let error = |r: &EndTxnResponse| ErrorCode::from_code(r.error_code);
            let version = if version_2 { 5 } else { 4 };
            let limit = client.api_timeout();
            let response =
                client.call_capped(&Target::Transaction(id), &request, version, limit, error).await?;
            if let Err(error) = ClientError::check(response.error_code, None) {
                locked(&self.shared.transaction).on_failure(&error);
                return Err(error);
            }
            if version_2 && response.producer_id >= 0 {
                locked(&self.shared.accumulator).restart_sequences();
                let mut state = locked(&self.shared.transaction);
                state.producer_id = response.producer_id;
                state.epoch = response.producer_epoch;
            }
        }
        let mut state = locked(&self.shared.transaction);
        state.phase = Phase::Ready;
        state.failure = None;
        Ok(())
    }
}
