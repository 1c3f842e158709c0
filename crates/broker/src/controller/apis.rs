//! Requests that the active controller decides: bytes in, records and bytes out.

use bytes::Bytes;
use ottla_metadata::controller::{ApiError, Context, Controller, Decision, KRaftVersion, Random};
use ottla_metadata::record::VersionedRecord;
use ottla_protocol::messages as m;
use ottla_protocol::types::Str;
use ottla_protocol::wire::Message;
use ottla_protocol::{ApiKey, ErrorCode};

use crate::request::decode;

/// A decision whose response is encoded already.
pub struct Decided {
    pub records: Vec<VersionedRecord>,
    pub response: Bytes,
    pub atomic: bool,
    pub kraft_upgrade: Option<i16>,
}

/// Why a request got no response at all: it is malformed, or not one for a controller.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error(transparent)]
    Decode(#[from] ottla_protocol::wire::DecodeError),
    #[error(transparent)]
    Encode(#[from] ottla_protocol::wire::EncodeError),
    #[error("{0} is not decided by the controller")]
    NotServed(ApiKey),
}

/// Whether the active controller decides requests of this API.
pub fn is_decided_here(api: ApiKey) -> bool {
    matches!(
        api,
        ApiKey::CreateTopics
            | ApiKey::DeleteTopics
            | ApiKey::CreatePartitions
            | ApiKey::AlterConfigs
            | ApiKey::IncrementalAlterConfigs
            | ApiKey::AlterPartition
            | ApiKey::BrokerRegistration
            | ApiKey::BrokerHeartbeat
            | ApiKey::UnregisterBroker
            | ApiKey::AlterClientQuotas
            | ApiKey::AlterPartitionReassignments
            | ApiKey::ListPartitionReassignments
            | ApiKey::AlterUserScramCredentials
            | ApiKey::CreateDelegationToken
            | ApiKey::RenewDelegationToken
            | ApiKey::ExpireDelegationToken
            | ApiKey::AllocateProducerIds
            | ApiKey::CreateAcls
            | ApiKey::DeleteAcls
            | ApiKey::ElectLeaders
            | ApiKey::UpdateFeatures
            | ApiKey::ControllerRegistration
            | ApiKey::UnregisterController
            | ApiKey::AssignReplicasToDirs
    )
}

fn code_of(e: &ApiError) -> i16 {
    e.code.code()
}

fn text_of(e: &ApiError) -> Option<Str> {
    e.message.clone().map(Str::from)
}

/// A request whose time was over when it came. Source: Kafka `ControllerRequestContext.deadlineNs`.
fn in_time(timeout_ms: i32) -> Result<(), ApiError> {
    if timeout_ms < 0 { Err(ApiError::silent(ErrorCode::RequestTimedOut)) } else { Ok(()) }
}

/// Decodes, decides, encodes. `on_error` makes the response for an error that concerns the whole request.
fn run<Req: Message, Resp: Message>(
    body: Bytes,
    version: i16,
    decide: impl FnOnce(&Req) -> Result<Decision<Resp>, ApiError>,
    on_error: impl FnOnce(&Req, &ApiError) -> Resp,
) -> Result<Decided, RequestError> {
    let request: Req = decode(body, version)?;
    let decision = match decide(&request) {
        Ok(decision) => decision,
        Err(error) => Decision {
            records: Vec::new(),
            response: on_error(&request, &error),
            atomic: false,
            kraft_upgrade: None,
        },
    };
    Ok(Decided {
        records: decision.records,
        response: decision.response.to_bytes(version)?,
        atomic: decision.atomic,
        kraft_upgrade: decision.kraft_upgrade,
    })
}

/// Responses that have nothing but an error code (and a message).
macro_rules! failed {
    ($response:ident) => {
        |_, e| m::$response { error_code: code_of(e), ..Default::default() }
    };
    ($response:ident, message) => {
        |_, e| m::$response { error_code: code_of(e), error_message: text_of(e), ..Default::default() }
    };
}

/// Decides one request.
pub fn decide(
    c: &mut Controller,
    ctx: &Context<'_>,
    api: ApiKey,
    body: Bytes,
    random: &mut dyn Random,
    kraft_version: KRaftVersion,
) -> Result<Decided, RequestError> {
    let v = ctx.version;
    match api {
        ApiKey::BrokerRegistration => {
            run(body, v, |r| c.decide_broker_registration(ctx, r), failed!(BrokerRegistrationResponse))
        }
        ApiKey::BrokerHeartbeat => {
            run(body, v, |r| c.decide_broker_heartbeat(ctx, r), failed!(BrokerHeartbeatResponse))
        }
        ApiKey::ControllerRegistration => run(
            body,
            v,
            |r| c.decide_controller_registration(r),
            failed!(ControllerRegistrationResponse, message),
        ),
        ApiKey::UnregisterBroker => run(
            body,
            v,
            |r: &m::UnregisterBrokerRequest| with_default(c.decide_unregister_broker(r.broker_id)),
            failed!(UnregisterBrokerResponse, message),
        ),
        ApiKey::UnregisterController => run(
            body,
            v,
            |r: &m::UnregisterControllerRequest| {
                with_default(c.decide_unregister_controller(r.controller_id))
            },
            failed!(UnregisterControllerResponse, message),
        ),
        ApiKey::CreateTopics => run(
            body,
            v,
            |r| in_time(r.timeout_ms).and_then(|()| c.decide_create_topics(ctx, r, random)),
            create_topics_failed,
        ),
        ApiKey::DeleteTopics => run(
            body,
            v,
            |r| in_time(r.timeout_ms).and_then(|()| c.decide_delete_topics(ctx, r)),
            delete_topics_failed,
        ),
        ApiKey::CreatePartitions => run(
            body,
            v,
            |r| in_time(r.timeout_ms).and_then(|()| c.decide_create_partitions(r, random)),
            create_partitions_failed,
        ),
        ApiKey::AlterPartition => {
            run(body, v, |r| c.decide_alter_partition(ctx, r), failed!(AlterPartitionResponse))
        }
        ApiKey::ElectLeaders => run(
            body,
            v,
            |r: &m::ElectLeadersRequest| in_time(r.timeout_ms).and_then(|()| c.decide_elect_leaders(r)),
            |r, e| elect_leaders_failed(r, v, e),
        ),
        ApiKey::AssignReplicasToDirs => {
            run(body, v, |r| c.decide_assign_replicas_to_dirs(r), failed!(AssignReplicasToDirsResponse))
        }
        ApiKey::AlterPartitionReassignments => run(
            body,
            v,
            |r: &m::AlterPartitionReassignmentsRequest| {
                in_time(r.timeout_ms).and_then(|()| c.decide_alter_partition_reassignments(r))
            },
            alter_partition_reassignments_failed,
        ),
        ApiKey::ListPartitionReassignments => run(
            body,
            v,
            |r| {
                Ok(Decision {
                    records: Vec::new(),
                    response: c.list_partition_reassignments(r),
                    atomic: false,
                    kraft_upgrade: None,
                })
            },
            failed!(ListPartitionReassignmentsResponse, message),
        ),
        ApiKey::AllocateProducerIds => {
            run(body, v, |r| c.decide_allocate_producer_ids(r), failed!(AllocateProducerIdsResponse))
        }
        ApiKey::AlterClientQuotas => {
            run(body, v, |r| c.decide_alter_client_quotas(r), alter_client_quotas_failed)
        }
        ApiKey::AlterUserScramCredentials => run(
            body,
            v,
            |r| Ok(c.decide_alter_user_scram_credentials(r)),
            |_, _| m::AlterUserScramCredentialsResponse::default(),
        ),
        ApiKey::CreateAcls => run(body, v, |r| c.decide_create_acls(r, random), create_acls_failed),
        ApiKey::DeleteAcls => run(body, v, |r| c.decide_delete_acls(r), delete_acls_failed),
        ApiKey::AlterConfigs => run(body, v, |r| c.decide_alter_configs(ctx, r), alter_configs_failed),
        ApiKey::IncrementalAlterConfigs => {
            run(body, v, |r| c.decide_incremental_alter_configs(ctx, r), incremental_alter_configs_failed)
        }
        ApiKey::UpdateFeatures => run(
            body,
            v,
            |r| c.decide_update_features(ctx, r, kraft_version),
            failed!(UpdateFeaturesResponse, message),
        ),
        ApiKey::CreateDelegationToken => run(
            body,
            v,
            |r| Ok(c.decide_create_delegation_token(ctx, r)),
            failed!(CreateDelegationTokenResponse),
        ),
        ApiKey::RenewDelegationToken => run(
            body,
            v,
            |_: &m::RenewDelegationTokenRequest| Ok(c.decide_renew_delegation_token()),
            failed!(RenewDelegationTokenResponse),
        ),
        ApiKey::ExpireDelegationToken => run(
            body,
            v,
            |_: &m::ExpireDelegationTokenRequest| Ok(c.decide_expire_delegation_token()),
            failed!(ExpireDelegationTokenResponse),
        ),
        _ => Err(RequestError::NotServed(api)),
    }
}

fn with_default<R: Default>(decision: Result<Decision<()>, ApiError>) -> Result<Decision<R>, ApiError> {
    decision.map(|d| Decision {
        records: d.records,
        response: R::default(),
        atomic: d.atomic,
        kraft_upgrade: d.kraft_upgrade,
    })
}

fn create_topics_failed(r: &m::CreateTopicsRequest, e: &ApiError) -> m::CreateTopicsResponse {
    m::CreateTopicsResponse {
        topics: r
            .topics
            .iter()
            .map(|t| m::create_topics_response::CreatableTopicResult {
                name: t.name.clone(),
                error_code: code_of(e),
                error_message: text_of(e),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

fn elect_leaders_failed(r: &m::ElectLeadersRequest, version: i16, e: &ApiError) -> m::ElectLeadersResponse {
    use ottla_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
    let partition = |id: &i32| PartitionResult {
        partition_id: *id,
        error_code: code_of(e),
        error_message: text_of(e),
        ..Default::default()
    };
    let topics = r.topic_partitions.iter().flatten();
    m::ElectLeadersResponse {
        // Version 0 knows no error of the whole request.
        error_code: if version >= 1 { code_of(e) } else { 0 },
        replica_election_results: topics
            .map(|t| ReplicaElectionResult {
                topic: t.topic.clone(),
                partition_result: t.partitions.iter().map(partition).collect(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

fn alter_partition_reassignments_failed(
    r: &m::AlterPartitionReassignmentsRequest,
    e: &ApiError,
) -> m::AlterPartitionReassignmentsResponse {
    use ottla_protocol::messages::alter_partition_reassignments_response::{
        ReassignablePartitionResponse, ReassignableTopicResponse,
    };
    m::AlterPartitionReassignmentsResponse {
        error_code: code_of(e),
        error_message: text_of(e),
        responses: r
            .topics
            .iter()
            .map(|t| ReassignableTopicResponse {
                name: t.name.clone(),
                partitions: t
                    .partitions
                    .iter()
                    .map(|p| ReassignablePartitionResponse {
                        partition_index: p.partition_index,
                        error_code: code_of(e),
                        error_message: text_of(e),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

fn delete_topics_failed(r: &m::DeleteTopicsRequest, e: &ApiError) -> m::DeleteTopicsResponse {
    let result = |name: Option<Str>, topic_id| m::delete_topics_response::DeletableTopicResult {
        name,
        topic_id,
        error_code: code_of(e),
        error_message: text_of(e),
        ..Default::default()
    };
    let by_name = r.topic_names.iter().map(|n| result(Some(n.clone()), Default::default()));
    let both = r.topics.iter().map(|t| result(t.name.clone(), t.topic_id));
    m::DeleteTopicsResponse { responses: by_name.chain(both).collect(), ..Default::default() }
}

fn create_partitions_failed(r: &m::CreatePartitionsRequest, e: &ApiError) -> m::CreatePartitionsResponse {
    m::CreatePartitionsResponse {
        results: r
            .topics
            .iter()
            .map(|t| m::create_partitions_response::CreatePartitionsTopicResult {
                name: t.name.clone(),
                error_code: code_of(e),
                error_message: text_of(e),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

fn alter_client_quotas_failed(r: &m::AlterClientQuotasRequest, e: &ApiError) -> m::AlterClientQuotasResponse {
    m::AlterClientQuotasResponse {
        entries: r
            .entries
            .iter()
            .map(|entry| m::alter_client_quotas_response::EntryData {
                error_code: code_of(e),
                error_message: text_of(e),
                entity: entry
                    .entity
                    .iter()
                    .map(|x| m::alter_client_quotas_response::EntityData {
                        entity_type: x.entity_type.clone(),
                        entity_name: x.entity_name.clone(),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

fn create_acls_failed(r: &m::CreateAclsRequest, e: &ApiError) -> m::CreateAclsResponse {
    let result = m::create_acls_response::AclCreationResult {
        error_code: code_of(e),
        error_message: text_of(e),
        ..Default::default()
    };
    m::CreateAclsResponse { results: vec![result; r.creations.len()], ..Default::default() }
}

fn delete_acls_failed(r: &m::DeleteAclsRequest, e: &ApiError) -> m::DeleteAclsResponse {
    let result = m::delete_acls_response::DeleteAclsFilterResult {
        error_code: code_of(e),
        error_message: text_of(e),
        ..Default::default()
    };
    m::DeleteAclsResponse { filter_results: vec![result; r.filters.len()], ..Default::default() }
}

fn alter_configs_failed(r: &m::AlterConfigsRequest, e: &ApiError) -> m::AlterConfigsResponse {
    m::AlterConfigsResponse {
        responses: r
            .resources
            .iter()
            .map(|x| m::alter_configs_response::AlterConfigsResourceResponse {
                error_code: code_of(e),
                error_message: text_of(e),
                resource_type: x.resource_type,
                resource_name: x.resource_name.clone(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

fn incremental_alter_configs_failed(
    r: &m::IncrementalAlterConfigsRequest,
    e: &ApiError,
) -> m::IncrementalAlterConfigsResponse {
    m::IncrementalAlterConfigsResponse {
        responses: r
            .resources
            .iter()
            .map(|x| m::incremental_alter_configs_response::AlterConfigsResourceResponse {
                error_code: code_of(e),
                error_message: text_of(e),
                resource_type: x.resource_type,
                resource_name: x.resource_name.clone(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

/// The response to a request that reached a node which is not the active controller; None for an API
/// that has no place for an error.
pub fn error_response(
    api: ApiKey,
    version: i16,
    body: Bytes,
    error: &ApiError,
) -> Result<Bytes, RequestError> {
    fn make<Req: Message, Resp: Message>(
        body: Bytes,
        version: i16,
        error: &ApiError,
        on_error: impl FnOnce(&Req, &ApiError) -> Resp,
    ) -> Result<Bytes, RequestError> {
        Ok(on_error(&decode::<Req>(body, version)?, error).to_bytes(version)?)
    }
    macro_rules! plain {
        ($request:ident, $response:ident) => {
            make(body, version, error, |_: &m::$request, e| m::$response {
                error_code: code_of(e),
                ..Default::default()
            })
        };
    }
    match api {
        ApiKey::CreateTopics => make(body, version, error, create_topics_failed),
        ApiKey::DeleteTopics => make(body, version, error, delete_topics_failed),
        ApiKey::CreatePartitions => make(body, version, error, create_partitions_failed),
        ApiKey::AlterClientQuotas => make(body, version, error, alter_client_quotas_failed),
        ApiKey::CreateAcls => make(body, version, error, create_acls_failed),
        ApiKey::DeleteAcls => make(body, version, error, delete_acls_failed),
        ApiKey::AlterConfigs => make(body, version, error, alter_configs_failed),
        ApiKey::IncrementalAlterConfigs => make(body, version, error, incremental_alter_configs_failed),
        ApiKey::BrokerRegistration => plain!(BrokerRegistrationRequest, BrokerRegistrationResponse),
        ApiKey::BrokerHeartbeat => plain!(BrokerHeartbeatRequest, BrokerHeartbeatResponse),
        ApiKey::ControllerRegistration => {
            plain!(ControllerRegistrationRequest, ControllerRegistrationResponse)
        }
        ApiKey::UnregisterBroker => plain!(UnregisterBrokerRequest, UnregisterBrokerResponse),
        ApiKey::UnregisterController => plain!(UnregisterControllerRequest, UnregisterControllerResponse),
        ApiKey::AlterPartition => plain!(AlterPartitionRequest, AlterPartitionResponse),
        ApiKey::ElectLeaders => make(body, version, error, |r, e| elect_leaders_failed(r, version, e)),
        ApiKey::AssignReplicasToDirs => plain!(AssignReplicasToDirsRequest, AssignReplicasToDirsResponse),
        ApiKey::AlterPartitionReassignments => {
            make(body, version, error, alter_partition_reassignments_failed)
        }
        ApiKey::ListPartitionReassignments => {
            plain!(ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse)
        }
        ApiKey::AllocateProducerIds => plain!(AllocateProducerIdsRequest, AllocateProducerIdsResponse),
        ApiKey::UpdateFeatures => plain!(UpdateFeaturesRequest, UpdateFeaturesResponse),
        ApiKey::DescribeQuorum => plain!(DescribeQuorumRequest, DescribeQuorumResponse),
        ApiKey::CreateDelegationToken => plain!(CreateDelegationTokenRequest, CreateDelegationTokenResponse),
        ApiKey::RenewDelegationToken => plain!(RenewDelegationTokenRequest, RenewDelegationTokenResponse),
        ApiKey::ExpireDelegationToken => plain!(ExpireDelegationTokenRequest, ExpireDelegationTokenResponse),
        ApiKey::AlterUserScramCredentials => {
            make(body, version, error, |r: &m::AlterUserScramCredentialsRequest, e| {
                m::AlterUserScramCredentialsResponse {
                    results: r
                        .upsertions
                        .iter()
                        .map(|u| &u.name)
                        .chain(r.deletions.iter().map(|d| &d.name))
                        .map(|user| {
                            m::alter_user_scram_credentials_response::AlterUserScramCredentialsResult {
                                user: user.clone(),
                                error_code: code_of(e),
                                error_message: text_of(e),
                                ..Default::default()
                            }
                        })
                        .collect(),
                    ..Default::default()
                }
            })
        }
        _ => Err(RequestError::NotServed(api)),
    }
}
