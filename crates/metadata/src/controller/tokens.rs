//! Delegation tokens. Without `delegation.token.secret.key` they are switched off, and every request
//! says so; issuing them belongs to the security work.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::create_delegation_token_request::CreateDelegationTokenRequest;
use ottla_protocol::messages::create_delegation_token_response::CreateDelegationTokenResponse;
use ottla_protocol::messages::expire_delegation_token_response::ExpireDelegationTokenResponse;
use ottla_protocol::messages::renew_delegation_token_response::RenewDelegationTokenResponse;
use ottla_protocol::types::Str;

use super::{Context, Controller, Decision};

impl Controller {
    /// CreateDelegationToken.
    pub fn decide_create_delegation_token(
        &self,
        ctx: &Context<'_>,
        request: &CreateDelegationTokenRequest,
    ) -> Decision<CreateDelegationTokenResponse> {
        let (requester_type, requester) = ctx.principal.split_once(':').unwrap_or(("User", ""));
        let owner = request.owner_principal_name.as_ref();
        let (owner_type, owner) = match owner.filter(|n| !n.is_empty()) {
            Some(name) => (request.owner_principal_type.clone().unwrap_or_default(), name.clone()),
            None => (Str::from(requester_type), Str::from(requester)),
        };
        let response = CreateDelegationTokenResponse {
            error_code: ErrorCode::DelegationTokenAuthDisabled.code(),
            principal_type: owner_type,
            principal_name: owner,
            token_requester_principal_type: requester_type.into(),
            token_requester_principal_name: requester.into(),
            ..Default::default()
        };
        Decision::atomic(Vec::new(), response)
    }

    /// RenewDelegationToken.
    pub fn decide_renew_delegation_token(&self) -> Decision<RenewDelegationTokenResponse> {
        let response = RenewDelegationTokenResponse {
            error_code: ErrorCode::DelegationTokenAuthDisabled.code(),
            ..Default::default()
        };
        Decision::atomic(Vec::new(), response)
    }

    /// ExpireDelegationToken.
    pub fn decide_expire_delegation_token(&self) -> Decision<ExpireDelegationTokenResponse> {
        let response = ExpireDelegationTokenResponse {
            error_code: ErrorCode::DelegationTokenAuthDisabled.code(),
            ..Default::default()
        };
        Decision::atomic(Vec::new(), response)
    }
}
