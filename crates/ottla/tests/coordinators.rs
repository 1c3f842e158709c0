//! Clients that look for a coordinator before its internal topic exists.

mod support;

use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, InitProducerIdRequest, InitProducerIdResponse,
    JoinGroupRequest, JoinGroupResponse,
};
use ottla_protocol::types::Str;
use ottla_protocol::{ApiKey, ErrorCode};
use support::{Node, Wire};

fn find(wire: &mut Wire, key_type: i8, key: &str) -> ErrorCode {
    let request = FindCoordinatorRequest {
        key_type,
        coordinator_keys: vec![Str::from(key.to_owned())],
        ..Default::default()
    };
    let response: FindCoordinatorResponse = wire.call(ApiKey::FindCoordinator, 6, &request);
    ErrorCode::from_code(response.coordinators[0].error_code)
}

fn join(wire: &mut Wire, group: &str) -> ErrorCode {
    let request = JoinGroupRequest {
        group_id: Str::from(group.to_owned()),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 1_000,
        protocol_type: Str::from_static("consumer"),
        protocols: vec![JoinGroupRequestProtocol { name: Str::from_static("range"), ..Default::default() }],
        ..Default::default()
    };
    let response: JoinGroupResponse = wire.call(ApiKey::JoinGroup, 9, &request);
    ErrorCode::from_code(response.error_code)
}

#[test]
fn the_first_to_ask_for_a_coordinator_are_told_and_served_without_a_retry() {
    let node = Node::start(&[]);
    let members: Vec<_> = (0..8).map(|_| node.connect()).collect();
    std::thread::scope(|scope| {
        for mut wire in members {
            scope.spawn(move || {
                assert_eq!(find(&mut wire, 0, "team"), ErrorCode::None);
                assert_eq!(join(&mut wire, "team"), ErrorCode::MemberIdRequired);
            });
        }
    });
    let mut wire = node.connect();
    assert_eq!(find(&mut wire, 1, "tx"), ErrorCode::None);
    let request = InitProducerIdRequest {
        transactional_id: Some(Str::from_static("tx")),
        transaction_timeout_ms: 1_000,
        ..Default::default()
    };
    let response: InitProducerIdResponse = wire.call(ApiKey::InitProducerId, 5, &request);
    assert_eq!(ErrorCode::from_code(response.error_code), ErrorCode::None);
}

#[test]
fn a_coordinator_whose_topic_cannot_be_created_is_not_available() {
    let node = Node::start(&[("offsets.topic.replication.factor", "3")]);
    let mut wire = node.connect();
    assert_eq!(find(&mut wire, 0, "team"), ErrorCode::CoordinatorNotAvailable);
    node.wait_for_log(|line| line.contains("cannot create a topic that a client asked for"));
}
