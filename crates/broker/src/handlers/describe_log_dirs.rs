//! DescribeLogDirs: the log directories and what lies in them. Source: KIP-113, KIP-827, KIP-1066.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use ottla_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use ottla_protocol::types::Str;

use super::now;
use crate::request::{Answer, RequestContext};
use crate::state::Broker;

pub fn handle(
    b: &Arc<Broker>,
    _: &RequestContext,
    request: DescribeLogDirsRequest,
) -> Answer<DescribeLogDirsResponse> {
    let wanted = |topic: &str, index: i32| match &request.topics {
        None => true,
        Some(topics) => topics.iter().any(|t| *t.topic == *topic && t.partitions.contains(&index)),
    };
    let results = b
        .partitions
        .dirs()
        .iter()
        .map(|dir| {
            let path = &dir.path;
            let mut result = DescribeLogDirsResult {
                log_dir: path.display().to_string().into(),
                total_bytes: dir.total_bytes.map_or(-1, |b| b as i64),
                usable_bytes: dir.usable_bytes.map_or(-1, |b| b as i64),
                ..Default::default()
            };
            if dir.offline {
                result.error_code = ErrorCode::KafkaStorageError.code();
                return result;
            }
            let mut topics: BTreeMap<Str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
            for partition in b.partitions.all() {
                if partition.log.dir_state().path() == path && wanted(&partition.topic, partition.index) {
                    topics.entry(partition.topic.clone()).or_default().push(DescribeLogDirsPartition {
                        partition_index: partition.index,
                        partition_size: partition.log.size() as i64,
                        offset_lag: (partition.log.log_end_offset() - partition.log.high_watermark()).max(0),
                        is_future_key: false,
                        ..Default::default()
                    });
                }
            }
            result.topics = topics
                .into_iter()
                .map(|(name, partitions)| DescribeLogDirsTopic { name, partitions, ..Default::default() })
                .collect();
            result
        })
        .collect();
    now(DescribeLogDirsResponse { results, ..Default::default() })
}
