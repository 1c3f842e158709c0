//! The hand-written encoder of Fetch responses against the generated one, and against a file.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ottla_net::{Response, Segment};
use ottla_protocol::messages::FetchResponse;
use ottla_protocol::messages::fetch_response::{
    AbortedTransaction as WireAborted, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint,
    PartitionData as WirePartition,
};
use ottla_protocol::types::{Str, Uuid};
use ottla_protocol::{ApiKey, ErrorCode, frame};
use ottla_replication::fetch_session::PartitionKey;
use ottla_storage::disk::{Disk, DiskFile, FetchSlice, OpenMode, OsDisk};
use ottla_storage::log::AbortedTransaction;

use super::super::{FetchHead, PartitionData, Records, encode};

fn slice(file: &Arc<dyn DiskFile>, position: u64, len: usize) -> FetchSlice {
    FetchSlice::new(Arc::clone(file), position, len)
}

/// The bytes that would go over the wire.
fn flatten(response: Response) -> Bytes {
    let mut out = BytesMut::new();
    for segment in response.segments {
        match segment {
            Segment::Bytes(bytes) => out.extend_from_slice(&bytes),
            Segment::File(range) => {
                let path = format!("/proc/self/fd/{}", range.file.as_raw_fd());
                let all = std::fs::read(path).expect("the file is open");
                out.extend_from_slice(&all[range.position as usize..range.position as usize + range.len]);
            }
        }
    }
    out.freeze()
}

#[test]
fn the_response_is_what_the_generated_encoder_writes() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("records");
    let content: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
    std::fs::write(&path, &content).expect("written");
    let file = OsDisk.open(&path, OpenMode::Read).expect("opened");
    let (small, large) = ((5u64, 1_000usize), (77u64, 150_000usize));
    for version in 4..=18i16 {
        let topic = Uuid([9; 16]);
        let key = |name: &str, partition| PartitionKey { topic_id: topic, topic: name.into(), partition };
        let data =
            |error, records: Option<(u64, usize)>, aborted: Option<Vec<AbortedTransaction>>| PartitionData {
                error,
                high_watermark: 7,
                last_stable_offset: 6,
                log_start_offset: 1,
                aborted,
                records: match records {
                    None => Records::None,
                    Some((p, n)) if n < 64 * 1024 => {
                        Records::Bytes(slice(&file, p, n).to_vec().expect("read").into())
                    }
                    Some((p, n)) => Records::File(slice(&file, p, n)),
                },
                ..Default::default()
            };
        let aborted = vec![AbortedTransaction { producer_id: 3, first_offset: 4 }];
        let mut moved = data(ErrorCode::NotLeaderOrFollower, None, None);
        if version >= 12 {
            moved.current_leader = Some((2, 11));
        }
        let mut entries = vec![
            (key("t", 0), data(ErrorCode::None, Some(small), Some(aborted))),
            (key("t", 1), data(ErrorCode::None, Some(large), Some(Vec::new()))),
            (key("t", 2), moved),
        ];
        let endpoints = vec![NodeEndpoint {
            node_id: 2,
            host: "h".into(),
            port: 9,
            rack: Some("r".into()),
            ..Default::default()
        }];
        let head = FetchHead { version, correlation_id: 42, error: ErrorCode::None, session_id: 5 };
        let got = flatten(encode(&head, &mut entries, &endpoints).expect("encoded"));

        let bytes = |(p, n): (u64, usize)| Some(Bytes::copy_from_slice(&content[p as usize..p as usize + n]));
        let wire = |index, error: ErrorCode, aborted, records| WirePartition {
            partition_index: index,
            error_code: error.code(),
            high_watermark: 7,
            last_stable_offset: 6,
            log_start_offset: if version >= 5 { 1 } else { -1 },
            aborted_transactions: aborted,
            records,
            ..Default::default()
        };
        let mut last = wire(2, ErrorCode::NotLeaderOrFollower, None, Some(Bytes::new()));
        if version >= 12 {
            last.current_leader = LeaderIdAndEpoch { leader_id: 2, leader_epoch: 11, ..Default::default() };
        }
        let first = WireAborted { producer_id: 3, first_offset: 4, ..Default::default() };
        let want = FetchResponse {
            session_id: if version >= 7 { 5 } else { 0 },
            responses: vec![FetchableTopicResponse {
                topic: if version <= 12 { "t".into() } else { Str::EMPTY },
                topic_id: if version >= 13 { topic } else { Uuid::ZERO },
                partitions: vec![
                    wire(0, ErrorCode::None, Some(vec![first]), bytes(small)),
                    wire(1, ErrorCode::None, Some(Vec::new()), bytes(large)),
                    last,
                ],
                ..Default::default()
            }],
            node_endpoints: if version >= 16 { endpoints } else { Vec::new() },
            ..Default::default()
        };
        let want = frame::response_frame(ApiKey::Fetch, version, 42, &want).expect("encoded");
        assert!(got == want, "version {version}: {} bytes instead of {}", got.len(), want.len());
    }
}
