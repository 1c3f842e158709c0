//! DescribeLogDirs: the log directories and what lies in them. Source: KIP-113, KIP-827, KIP-1066.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use ottla_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use ottla_protocol::types::Str;
use ottla_storage::{Log, TopicPartition};

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
    let log_dirs = b.partitions.log_dirs();
    let mut logs: Vec<(Arc<Log>, bool)> = log_dirs.all().into_iter().map(|log| (log, false)).collect();
    logs.extend(log_dirs.futures().into_iter().map(|log| (log, true)));
    let cordons = b.image.load().metadata_version().is_cordoned_log_dirs_supported();
    let results = log_dirs
        .dirs()
        .iter()
        .map(|dir| {
            let path = &dir.path;
            let mut result =
                DescribeLogDirsResult { log_dir: path.display().to_string().into(), ..Default::default() };
            if dir.offline {
                result.error_code = ErrorCode::KafkaStorageError.code();
                return result;
            }
            result.total_bytes = dir.total_bytes.map_or(-1, |b| b as i64);
            result.usable_bytes = dir.usable_bytes.map_or(-1, |b| b as i64);
            result.is_cordoned = cordons && dir.cordoned;
            let mut topics: BTreeMap<Str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
            for (log, is_future) in &logs {
                let TopicPartition { topic, partition } = log.partition();
                if log.dir_state().path() == path && wanted(topic, *partition) {
                    topics.entry(Str::from(&**topic)).or_default().push(DescribeLogDirsPartition {
                        partition_index: *partition,
                        partition_size: log.size() as i64,
                        offset_lag: lag(b, log, *is_future),
                        is_future_key: *is_future,
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

/// Offsets that a log is behind: a copy behind the log that it is of, a replica behind its high watermark; -1 when that is
/// not known.
fn lag(b: &Broker, log: &Log, is_future: bool) -> i64 {
    match b.partitions.log_dirs().get(log.partition()) {
        None => -1,
        Some(current) if is_future => current.log_end_offset() - log.log_end_offset(),
        Some(current) => (current.high_watermark() - log.log_end_offset()).max(0),
    }
}
