//! Verifies with the transaction coordinator that partitions belong to a transaction, or adds them, before
//! anything transactional is appended. Source: KIP-890, Kafka `AddPartitionsToTxnManager`.

use std::sync::Arc;
use std::time::Duration;

use ottla_coordinator::transaction::{TxnRequest, TxnResponse};
use ottla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_protocol::messages::add_partitions_to_txn_response::AddPartitionsToTxnResult;
use ottla_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, ProduceRequest};
use ottla_protocol::types::{Str, Uuid};
use ottla_protocol::{ApiKey, ErrorCode};
use ottla_storage::producer_state::VerificationGuard;

use crate::handlers::produce::{Guards, first_batch};
use crate::request::RequestContext;
use crate::state::{Broker, wall_clock_ms};
use crate::topics::TRANSACTION_STATE;

/// Brokers speak this version; from 4 on it is theirs.
const ADD_PARTITIONS_VERSION: i16 = 5;
const TIMEOUT: Duration = Duration::from_secs(30);

/// What the version of a client's request lets the broker do and say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// The client adds partitions itself and knows few errors.
    Verify,
    /// As `Verify`, and the client knows TRANSACTION_ABORTABLE.
    VerifyAbortable,
    /// The broker adds the partitions (`transaction.version` 2).
    Add,
}

impl Support {
    pub fn of_produce(version: i16) -> Support {
        match version {
            ..=10 => Support::Verify,
            11 => Support::VerifyAbortable,
            _ => Support::Add,
        }
    }

    pub fn of_txn_offset_commit(version: i16) -> Support {
        match version {
            ..=3 => Support::Verify,
            4 => Support::VerifyAbortable,
            _ => Support::Add,
        }
    }
}

/// One partition whose place in the transaction has to be confirmed.
struct Wanted {
    topic_id: Uuid,
    topic: Str,
    partition: i32,
    /// First sequence number of what is to be appended, -1 for offsets.
    sequence: i32,
    guard: VerificationGuard,
}

/// A question to the coordinator of one transaction.
pub struct Verification {
    transactional_id: Str,
    producer_id: i64,
    producer_epoch: i16,
    support: Support,
    wanted: Vec<Wanted>,
    failed: Guards,
}

impl Verification {
    /// What has to be asked before the batches of a transactional Produce may be appended; None when nothing has.
    pub fn needed(b: &Broker, ctx: &RequestContext, request: &ProduceRequest) -> Option<Verification> {
        let transactional_id = request.transactional_id.clone()?;
        let support = Support::of_produce(ctx.version);
        let mut verification: Option<Verification> = None;
        let image = b.image.load();
        for topic in &request.topic_data {
            let known = if ctx.version >= 13 {
                image.topics.by_id(&topic.topic_id)
            } else {
                image.topics.by_name(&topic.name)
            };
            let Some(known) = known else { continue };
            for data in &topic.partition_data {
                let Some(partition) = b.partitions.get(&known.id, data.index) else { continue };
                let header = data.records.as_deref().and_then(first_batch);
                let Some(header) = header.filter(|h| h.is_transactional()) else { continue };
                let v = verification.get_or_insert_with(|| Verification {
                    transactional_id: transactional_id.clone(),
                    producer_id: header.producer_id,
                    producer_epoch: header.producer_epoch,
                    support,
                    wanted: Vec::new(),
                    failed: Guards::default(),
                });
                let started = partition.log.maybe_start_transaction_verification(
                    header.producer_id,
                    header.base_sequence,
                    header.producer_epoch,
                    support == Support::Add,
                    wall_clock_ms(),
                );
                match started {
                    Ok(VerificationGuard::SENTINEL) => {}
                    Ok(guard) => v.wanted.push(Wanted {
                        topic_id: known.id,
                        topic: known.name.clone(),
                        partition: data.index,
                        sequence: header.base_sequence,
                        guard,
                    }),
                    Err(error) => v.failed.0.push(((known.id, data.index), Err(error.error_code()))),
                }
            }
        }
        verification.filter(|v| !v.wanted.is_empty() || !v.failed.0.is_empty())
    }

    /// Asks, and says for each partition what the append needs to know.
    pub async fn run(mut self, b: &Arc<Broker>) -> Guards {
        if self.wanted.is_empty() {
            return self.failed;
        }
        let mut topics: Vec<AddPartitionsToTxnTopic> = Vec::new();
        for wanted in &self.wanted {
            match topics.iter_mut().find(|t| t.name == wanted.topic) {
                Some(topic) => topic.partitions.push(wanted.partition),
                None => topics.push(AddPartitionsToTxnTopic {
                    name: wanted.topic.clone(),
                    partitions: vec![wanted.partition],
                    ..Default::default()
                }),
            }
        }
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: self.transactional_id.clone(),
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            verify_only: self.support != Support::Add,
            topics,
            ..Default::default()
        };
        let result = self.ask_with_retries(b, transaction).await;
        let mut guards = self.failed;
        for wanted in self.wanted {
            let code = match &result {
                Ok(result) => result
                    .topic_results
                    .iter()
                    .filter(|t| t.name == wanted.topic)
                    .flat_map(|t| &t.results_by_partition)
                    .find(|p| p.partition_index == wanted.partition)
                    .map_or(ErrorCode::UnknownServerError, |p| ErrorCode::from_code(p.partition_error_code)),
                Err(code) => *code,
            };
            let outcome = match code {
                ErrorCode::None => Ok(wanted.guard),
                code => Err(for_client(code, self.support)),
            };
            guards.0.push(((wanted.topic_id, wanted.partition), outcome));
        }
        guards
    }

    /// A transaction that is just ending is waited for, for a moment.
    async fn ask_with_retries(
        &mut self,
        b: &Arc<Broker>,
        transaction: AddPartitionsToTxnTransaction,
    ) -> Result<AddPartitionsToTxnResult, ErrorCode> {
        let config = b.config.load_full();
        let ms = |key: &str, least: i32| Duration::from_millis(config.get_int(key).max(least) as u64);
        let backoff = ms("add.partitions.to.txn.retry.backoff.ms", 1);
        let max = ms("add.partitions.to.txn.retry.backoff.max.ms", 0);
        let started = tokio::time::Instant::now();
        loop {
            let result = ask(b, transaction.clone()).await;
            let concurrent = match &result {
                Ok(result) => result
                    .topic_results
                    .iter()
                    .flat_map(|t| &t.results_by_partition)
                    .any(|p| p.partition_error_code == ErrorCode::ConcurrentTransactions.code()),
                Err(code) => *code == ErrorCode::ConcurrentTransactions,
            };
            if !concurrent || started.elapsed() + backoff > max {
                return result;
            }
            tokio::time::sleep(backoff).await;
            self.start_again(b);
        }
    }

    /// The marker of the transaction that was ending took the verification of its producer with it.
    fn start_again(&mut self, b: &Broker) {
        for wanted in &mut self.wanted {
            let Some(partition) = b.partitions.get(&wanted.topic_id, wanted.partition) else { continue };
            let started = partition.log.maybe_start_transaction_verification(
                self.producer_id,
                wanted.sequence,
                self.producer_epoch,
                self.support == Support::Add,
                wall_clock_ms(),
            );
            // An epoch that is over meanwhile is refused by the append.
            if let Ok(guard) = started {
                wanted.guard = guard;
            }
        }
    }

    /// The same for a commit of offsets: one partition of the offsets topic.
    pub async fn of_offsets(
        b: &Arc<Broker>,
        transactional_id: Str,
        producer: (i64, i16),
        topic: &str,
        partition: i32,
        support: Support,
    ) -> Result<VerificationGuard, ErrorCode> {
        let leader = b.partitions.leader(&b.image.load(), topic, partition)?;
        let started = leader.log.maybe_start_transaction_verification(
            producer.0,
            -1,
            producer.1,
            support == Support::Add,
            wall_clock_ms(),
        );
        let guard = started.map_err(|e| e.error_code())?;
        if guard == VerificationGuard::SENTINEL {
            return Ok(guard);
        }
        let wanted =
            Wanted { topic_id: leader.topic_id, topic: leader.topic.clone(), partition, sequence: -1, guard };
        let verification = Verification {
            transactional_id,
            producer_id: producer.0,
            producer_epoch: producer.1,
            support,
            wanted: vec![wanted],
            failed: Guards::default(),
        };
        let guards = verification.run(b).await;
        guards.0.into_iter().next().map_or(Ok(VerificationGuard::SENTINEL), |(_, guard)| guard)
    }
}

/// What a client of this kind is told. Source: Kafka `ReplicaManager.maybeSendPartitionsToTransactionCoordinator`.
fn for_client(code: ErrorCode, support: Support) -> ErrorCode {
    match code {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if support == Support::Verify => ErrorCode::InvalidTxnState,
        // Old clients do not retry these on a Produce, but they do retry this.
        ErrorCode::ConcurrentTransactions
        | ErrorCode::NetworkException
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => ErrorCode::NotEnoughReplicas,
        other => other,
    }
}

async fn ask(
    b: &Arc<Broker>,
    transaction: AddPartitionsToTxnTransaction,
) -> Result<AddPartitionsToTxnResult, ErrorCode> {
    let id = transaction.transactional_id.clone();
    let index = b.transactions.partition_of(b, &id).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let leader = {
        let image = b.image.load();
        let topic = image.topics.by_name(TRANSACTION_STATE).ok_or(ErrorCode::CoordinatorNotAvailable)?;
        topic.partition(index).map_or(-1, |p| p.leader)
    };
    if leader == b.node_id {
        let waiting = b.transactions.request(
            b,
            &id,
            TxnRequest::AddPartitionsToTxn(transaction),
            ADD_PARTITIONS_VERSION,
        );
        return match waiting.await {
            TxnResponse::AddPartitionsToTxn(result) => Ok(result),
            _ => Err(ErrorCode::UnknownServerError),
        };
    }
    let request = AddPartitionsToTxnRequest { transactions: vec![transaction], ..Default::default() };
    let response: AddPartitionsToTxnResponse = b
        .peers
        .call(b, leader, ApiKey::AddPartitionsToTxn, ADD_PARTITIONS_VERSION, &request, TIMEOUT)
        .await
        .map_err(|_| ErrorCode::NetworkException)?;
    match ErrorCode::from_code(response.error_code) {
        ErrorCode::None => {
            response.results_by_transaction.into_iter().next().ok_or(ErrorCode::UnknownServerError)
        }
        code => Err(code),
    }
}
