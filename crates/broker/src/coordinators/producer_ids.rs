//! Producer ids out of blocks that the controller gives. Source: Kafka `RPCProducerIdManager`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ottla_coordinator::transaction::ProducerIdSource;
use ottla_protocol::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use ottla_protocol::{ApiKey, ErrorCode};
use tokio::sync::Notify;

use crate::state::Broker;

/// The next block is asked for when less than this share of the current one is left.
const PREFETCH_SHARE: i64 = 10;
const RETRY: Duration = Duration::from_millis(50);
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request waits for a block before it is told to come again.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Blocks {
    next: i64,
    end: i64,
    size: i64,
    /// The block after this one, if it is here already.
    following: Option<(i64, i64)>,
    asking: bool,
}

#[derive(Debug, Default)]
pub struct ProducerIds {
    blocks: Mutex<Blocks>,
    arrived: Notify,
}

impl ProducerIds {
    fn lock(&self) -> std::sync::MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next id, if there is one at hand.
    fn take(&self) -> Option<i64> {
        let mut blocks = self.lock();
        if blocks.next >= blocks.end
            && let Some((next, end)) = blocks.following.take()
        {
            (blocks.next, blocks.end, blocks.size) = (next, end, end - next);
        }
        (blocks.next < blocks.end).then(|| {
            blocks.next += 1;
            blocks.next - 1
        })
    }

    fn is_low(&self) -> bool {
        let blocks = self.lock();
        blocks.following.is_none() && (blocks.end - blocks.next) * PREFETCH_SHARE <= blocks.size
    }

    fn has_one(&self) -> bool {
        let blocks = self.lock();
        blocks.next < blocks.end || blocks.following.is_some()
    }

    /// Asks the controller for a block in the background, if one is needed and not asked for yet.
    pub fn prefetch(&self, broker: &Arc<Broker>) {
        if !self.is_low() || std::mem::replace(&mut self.lock().asking, true) {
            return;
        }
        let broker = Arc::downgrade(broker);
        tokio::spawn(async move {
            loop {
                let Some(b) = broker.upgrade() else { return };
                let ids = &b.transactions.producer_ids;
                match ask(&b).await {
                    Ok(block) => {
                        let mut blocks = ids.lock();
                        blocks.following = Some(block);
                        blocks.asking = false;
                        drop(blocks);
                        ids.arrived.notify_waiters();
                        return;
                    }
                    Err(error) => tracing::debug!(%error, "no block of producer ids yet"),
                }
                drop(b);
                tokio::time::sleep(RETRY).await;
            }
        });
    }

    /// Waits until an id is at hand, but not forever.
    pub async fn ready(&self, broker: &Arc<Broker>) {
        let waiting = async {
            loop {
                let arrived = self.arrived.notified();
                if self.has_one() {
                    return;
                }
                self.prefetch(broker);
                arrived.await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, waiting).await;
    }
}

async fn ask(b: &Broker) -> Result<(i64, i64), String> {
    let request = AllocateProducerIdsRequest {
        broker_id: b.node_id,
        broker_epoch: b.broker_epoch.load(std::sync::atomic::Ordering::Acquire),
        ..Default::default()
    };
    let response: AllocateProducerIdsResponse = b
        .controller
        .call(ApiKey::AllocateProducerIds, 0, &request, TIMEOUT)
        .await
        .map_err(|e| e.to_string())?;
    match ErrorCode::from_code(response.error_code) {
        ErrorCode::None => {
            Ok((response.producer_id_start, response.producer_id_start + i64::from(response.producer_id_len)))
        }
        code => Err(code.to_string()),
    }
}

/// The ids as a shard sees them during one call.
pub struct Source<'a>(pub &'a Arc<Broker>);

impl ProducerIdSource for Source<'_> {
    fn next_producer_id(&mut self) -> Result<i64, ErrorCode> {
        let ids = &self.0.transactions.producer_ids;
        let id = ids.take();
        ids.prefetch(self.0);
        id.ok_or(ErrorCode::CoordinatorLoadInProgress)
    }
}
