//! Access control lists.

use std::collections::BTreeSet;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::create_acls_request::AclCreation;
use ottla_protocol::messages::delete_acls_request::DeleteAclsFilter;
use ottla_protocol::messages::{
    CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse, DescribeAclsRequest,
    DescribeAclsResponse,
};
use ottla_protocol::types::Str;

use super::topics::leader_error;
use super::{Admin, no_answer};
use crate::{ClientError, Target};

/// One entry of the access control lists: who may, or may not, do what from where, on which resources. The numbers are
/// the codes of the protocol (Kafka `ResourceType`, `PatternType`, `AclOperation`, `AclPermissionType`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AclBinding {
    pub resource_type: i8,
    pub resource_name: String,
    pub pattern_type: i8,
    pub principal: String,
    pub host: String,
    pub operation: i8,
    pub permission_type: i8,
}

/// Which entries are meant; `None` and the code 1 are any.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AclFilter {
    pub resource_type: i8,
    pub resource_name: Option<String>,
    pub pattern_type: i8,
    pub principal: Option<String>,
    pub host: Option<String>,
    pub operation: i8,
    pub permission_type: i8,
}

impl AclFilter {
    /// The code of "any".
    pub const ANY_CODE: i8 = 1;
    /// Every entry.
    pub const ANY: AclFilter = AclFilter {
        resource_type: AclFilter::ANY_CODE,
        resource_name: None,
        pattern_type: AclFilter::ANY_CODE,
        principal: None,
        host: None,
        operation: AclFilter::ANY_CODE,
        permission_type: AclFilter::ANY_CODE,
    };
}

fn text(text: &Option<String>) -> Option<Str> {
    text.as_deref().map(Str::from)
}

impl Admin {
    /// Brokers forward what changes something; a controller that does not lead refuses it.
    fn acl_target(&self) -> Target {
        if self.client.is_of_controllers() { Target::Controller } else { Target::Any }
    }

    /// The entries that a filter matches, in order.
    ///
    /// # Errors
    /// `SECURITY_DISABLED` where the node has no authorizer.
    pub async fn describe_acls(&self, filter: &AclFilter) -> Result<BTreeSet<AclBinding>, ClientError> {
        let request = DescribeAclsRequest {
            resource_type_filter: filter.resource_type,
            resource_name_filter: text(&filter.resource_name),
            pattern_type_filter: filter.pattern_type,
            principal_filter: text(&filter.principal),
            host_filter: text(&filter.host),
            operation: filter.operation,
            permission_type: filter.permission_type,
            ..Default::default()
        };
        let code = |r: &DescribeAclsResponse| ErrorCode::from_code(r.error_code);
        let response = self.client.call_checked(&self.acl_target(), &request, code).await?;
        ClientError::check(response.error_code, response.error_message.as_deref())?;
        let resources = response.resources.iter();
        Ok(resources
            .flat_map(|resource| {
                resource.acls.iter().map(|acl| AclBinding {
                    resource_type: resource.resource_type,
                    resource_name: resource.resource_name.to_string(),
                    pattern_type: resource.pattern_type,
                    principal: acl.principal.to_string(),
                    host: acl.host.to_string(),
                    operation: acl.operation,
                    permission_type: acl.permission_type,
                })
            })
            .collect())
    }

    /// Adds entries; the first error is given.
    pub async fn create_acls(&self, bindings: &[AclBinding]) -> Result<(), ClientError> {
        let creation = |binding: &AclBinding| AclCreation {
            resource_type: binding.resource_type,
            resource_name: Str::from(binding.resource_name.as_str()),
            resource_pattern_type: binding.pattern_type,
            principal: Str::from(binding.principal.as_str()),
            host: Str::from(binding.host.as_str()),
            operation: binding.operation,
            permission_type: binding.permission_type,
            ..Default::default()
        };
        let request =
            CreateAclsRequest { creations: bindings.iter().map(creation).collect(), ..Default::default() };
        let code = |r: &CreateAclsResponse| leader_error(r.results.iter().map(|result| result.error_code));
        let response = self.client.call_checked(&self.acl_target(), &request, code).await?;
        if response.results.len() != bindings.len() {
            return Err(no_answer());
        }
        for result in &response.results {
            ClientError::check(result.error_code, result.error_message.as_deref())?;
        }
        Ok(())
    }

    /// Deletes the entries that filters match, and gives their number; the first error is given.
    pub async fn delete_acls(&self, filters: &[AclFilter]) -> Result<usize, ClientError> {
        let wire = |filter: &AclFilter| DeleteAclsFilter {
            resource_type_filter: filter.resource_type,
            resource_name_filter: text(&filter.resource_name),
            pattern_type_filter: filter.pattern_type,
            principal_filter: text(&filter.principal),
            host_filter: text(&filter.host),
            operation: filter.operation,
            permission_type: filter.permission_type,
            ..Default::default()
        };
        let request = DeleteAclsRequest { filters: filters.iter().map(wire).collect(), ..Default::default() };
        let code = |r: &DeleteAclsResponse| leader_error(r.filter_results.iter().map(|f| f.error_code));
        let response = self.client.call_checked(&self.acl_target(), &request, code).await?;
        if response.filter_results.len() != filters.len() {
            return Err(no_answer());
        }
        let mut deleted = 0;
        for result in &response.filter_results {
            ClientError::check(result.error_code, result.error_message.as_deref())?;
            for acl in &result.matching_acls {
                ClientError::check(acl.error_code, acl.error_message.as_deref())?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }
}
