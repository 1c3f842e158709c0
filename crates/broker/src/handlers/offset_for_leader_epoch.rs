//! OffsetForLeaderEpoch: where an epoch ends. Source: KIP-320.

use std::sync::Arc;

use ottla_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use ottla_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::now;
use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    _: &RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> Answer<OffsetForLeaderEpochResponse> {
    let image = b.image.load();
    let topics = request
        .topics
        .into_iter()
        .map(|topic| {
            let partitions = topic
                .partitions
                .into_iter()
                .map(|asked| {
                    let found = b.partitions.leader(&image, &topic.topic, asked.partition).and_then(|p| {
                        p.check_leader_epoch(asked.current_leader_epoch)?;
                        Ok(p.log.end_offset_for_epoch(asked.leader_epoch))
                    });
                    let mut end = EpochEndOffset { partition: asked.partition, ..Default::default() };
                    match found {
                        Ok(Some(found)) => {
                            end.leader_epoch = found.leader_epoch;
                            end.end_offset = found.offset;
                        }
                        Ok(None) => {}
                        Err(code) => end.error_code = code.code(),
                    }
                    end
                })
                .collect();
            OffsetForLeaderTopicResult { topic: topic.topic, partitions, ..Default::default() }
        })
        .collect();
    now(OffsetForLeaderEpochResponse { topics, ..Default::default() })
}
