//! Transactional producers without a client: thousands of them on one connection, many requests on their way.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{
    EndTxnRequest, EndTxnResponse, FindCoordinatorRequest, FindCoordinatorResponse, InitProducerIdRequest,
    InitProducerIdResponse, ProduceRequest, ProduceResponse,
};
use ottla_protocol::records::BatchOptions;

use super::raw;
use super::rpc::Rpc;

const FIND_COORDINATOR: i16 = 4;
const INIT_PRODUCER_ID: i16 = 4;
/// The first that begins a transaction in a partition by itself (KIP-890), the last that names topics.
const TRANSACTIONAL_PRODUCE_VERSION: i16 = 12;
/// From this version on a transaction's partitions need not be named before, and its end tells the next epoch (KIP-890).
const END_TXN: i16 = 5;
const TRANSACTION: i8 = 1;
/// The most that brokers allow by default: no transaction is to be ended by them.
const TIMEOUT_MS: i32 = 900_000;

/// A producer: its transactional id, and what the coordinator has given it.
#[derive(Debug, Clone)]
pub struct Producer {
    name: String,
    id: i64,
    epoch: i16,
}

/// Makes so many.
pub fn init(rpc: &mut Rpc, prefix: &str, count: usize) -> Result<Vec<Producer>, String> {
    let mut producers: Vec<Producer> =
        (0..count).map(|i| Producer { name: format!("{prefix}-{i}"), id: -1, epoch: -1 }).collect();
    // Whoever asks for a coordinator first has the topic of transactions made.
    let find = |_| {
        Ok(FindCoordinatorRequest {
            key_type: TRANSACTION,
            coordinator_keys: vec![prefix.into()],
            ..Default::default()
        })
    };
    rpc.ask_all(ApiKey::FindCoordinator, FIND_COORDINATOR, 1, find, |_, a: FindCoordinatorResponse| {
        a.coordinators.first().map_or(0, |c| c.error_code)
    })?;
    let names: Vec<String> = producers.iter().map(|p| p.name.clone()).collect();
    let make = |i: usize| {
        Ok(InitProducerIdRequest {
            transactional_id: Some(names[i].as_str().into()),
            transaction_timeout_ms: TIMEOUT_MS,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        })
    };
    rpc.ask_all(ApiKey::InitProducerId, INIT_PRODUCER_ID, count, make, |i, a: InitProducerIdResponse| {
        (producers[i].id, producers[i].epoch) = (a.producer_id, a.producer_epoch);
        a.error_code
    })?;
    Ok(producers)
}

/// Begins a transaction of each producer with one batch of `records` records to partition 0.
pub fn begin(
    rpc: &mut Rpc,
    producers: &[Producer],
    topic: &str,
    value: &[u8],
    records: usize,
) -> Result<(), String> {
    let now_ms = raw::now_ms();
    let make = |i: usize| {
        let p = &producers[i];
        let options = BatchOptions {
            producer_id: p.id,
            producer_epoch: p.epoch,
            base_sequence: 0,
            transactional: true,
            ..Default::default()
        };
        Ok(ProduceRequest {
            transactional_id: Some(p.name.as_str().into()),
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: topic.into(),
                partition_data: vec![PartitionProduceData {
                    records: Some(raw::batch(options, now_ms, value, records)?),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        })
    };
    rpc.ask_all(
        ApiKey::Produce,
        TRANSACTIONAL_PRODUCE_VERSION,
        producers.len(),
        make,
        |_, a: ProduceResponse| {
            a.responses
                .iter()
                .flat_map(|t| &t.partition_responses)
                .map(|p| p.error_code)
                .find(|e| *e != 0)
                .unwrap_or(0)
        },
    )
}

/// Ends the transaction of each producer: a commit where `commits` says so. The markers come later.
pub fn end(rpc: &mut Rpc, producers: &mut [Producer], commits: fn(usize) -> bool) -> Result<(), String> {
    let asked = producers.to_vec();
    let make = |i: usize| {
        let p = &asked[i];
        Ok(EndTxnRequest {
            transactional_id: p.name.as_str().into(),
            producer_id: p.id,
            producer_epoch: p.epoch,
            committed: commits(i),
            ..Default::default()
        })
    };
    rpc.ask_all(ApiKey::EndTxn, END_TXN, asked.len(), make, |i, a: EndTxnResponse| {
        if a.error_code == 0 {
            (producers[i].id, producers[i].epoch) = (a.producer_id, a.producer_epoch);
        }
        a.error_code
    })
}
