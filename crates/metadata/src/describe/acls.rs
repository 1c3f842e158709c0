//! DescribeAcls.

use std::collections::BTreeMap;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_acls_request::DescribeAclsRequest;
use ottla_protocol::messages::describe_acls_response::{
    AclDescription, DescribeAclsResource, DescribeAclsResponse,
};
use ottla_protocol::types::Str;

use crate::controller::{AclFilter, valid_acl_enums};
use crate::image::AclsImage;

/// DescribeAcls. Without an authorizer the stored entries are not told, as Kafka does.
pub fn describe_acls(
    image: &AclsImage,
    has_authorizer: bool,
    request: &DescribeAclsRequest,
) -> DescribeAclsResponse {
    if !has_authorizer {
        return DescribeAclsResponse {
            error_code: ErrorCode::SecurityDisabled.code(),
            error_message: Some(Str::from_static("No Authorizer is configured on the broker")),
            ..Default::default()
        };
    }
    let filter = AclFilter {
        resource_type: request.resource_type_filter,
        resource_name: request.resource_name_filter.clone(),
        pattern_type: request.pattern_type_filter,
        principal: request.principal_filter.clone(),
        host: request.host_filter.clone(),
        operation: request.operation,
        permission_type: request.permission_type,
    };
    if let Err(e) = valid_acl_enums(&filter) {
        return DescribeAclsResponse {
            error_code: e.code.code(),
            error_message: e.message.map(Str::from),
            ..Default::default()
        };
    }
    let mut resources: BTreeMap<(i8, &Str, i8), Vec<AclDescription>> = BTreeMap::new();
    for e in image.entries.values().filter(|e| filter.matches(e)) {
        resources.entry((e.resource_type, &e.resource_name, e.pattern_type)).or_default().push(
            AclDescription {
                principal: e.principal.clone(),
                host: e.host.clone(),
                operation: e.operation,
                permission_type: e.permission_type,
                ..Default::default()
            },
        );
    }
    DescribeAclsResponse {
        resources: resources
            .into_iter()
            .map(|((resource_type, name, pattern_type), acls)| DescribeAclsResource {
                resource_type,
                resource_name: name.clone(),
                pattern_type,
                acls,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}
