//! Client quotas and SCRAM credentials.

use ottla_protocol::messages::alter_client_quotas_request::EntryData as QuotaAlteration;
use ottla_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use ottla_protocol::messages::describe_client_quotas_request::ComponentData;
use ottla_protocol::messages::describe_client_quotas_response::EntryData;
use ottla_protocol::messages::describe_user_scram_credentials_request::UserName;
use ottla_protocol::messages::describe_user_scram_credentials_response::DescribeUserScramCredentialsResult;
use ottla_protocol::messages::{
    AlterClientQuotasRequest, AlterUserScramCredentialsRequest, DescribeClientQuotasRequest,
    DescribeUserScramCredentialsRequest,
};
use ottla_protocol::types::Str;

use super::Admin;
use crate::{ClientError, Target};

impl Admin {
    /// Quotas of the entities that match every component (KIP-546).
    pub async fn describe_client_quotas(
        &self,
        components: Vec<ComponentData>,
        strict: bool,
    ) -> Result<Vec<EntryData>, ClientError> {
        let request = DescribeClientQuotasRequest { components, strict, ..Default::default() };
        let response = self.client.call(&Target::Any, &request).await?;
        ClientError::check(response.error_code, response.error_message.as_deref())?;
        Ok(response.entries.unwrap_or_default())
    }

    /// Changes the quotas of one entity.
    pub async fn alter_client_quotas(&self, entry: QuotaAlteration) -> Result<(), ClientError> {
        let request = AlterClientQuotasRequest { entries: vec![entry], ..Default::default() };
        let response = self.client.call(&Target::Controller, &request).await?;
        for result in &response.entries {
            ClientError::check(result.error_code, result.error_message.as_deref())?;
        }
        Ok(())
    }

    /// SCRAM credentials of some users, or of all (KIP-554). Results carry their own errors.
    pub async fn describe_user_scram_credentials(
        &self,
        users: Option<&[&str]>,
    ) -> Result<Vec<DescribeUserScramCredentialsResult>, ClientError> {
        let request = DescribeUserScramCredentialsRequest {
            users: users.map(|users| {
                users.iter().map(|u| UserName { name: Str::from(*u), ..Default::default() }).collect()
            }),
            ..Default::default()
        };
        let response = self.client.call(&Target::Any, &request).await?;
        ClientError::check(response.error_code, response.error_message.as_deref())?;
        Ok(response.results)
    }

    /// Adds, replaces and deletes SCRAM credentials; the first error is given.
    pub async fn alter_user_scram_credentials(
        &self,
        deletions: Vec<ScramCredentialDeletion>,
        upsertions: Vec<ScramCredentialUpsertion>,
    ) -> Result<(), ClientError> {
        let request = AlterUserScramCredentialsRequest { deletions, upsertions, ..Default::default() };
        let response = self.client.call(&Target::Controller, &request).await?;
        for result in &response.results {
            ClientError::check(result.error_code, result.error_message.as_deref())?;
        }
        Ok(())
    }
}
