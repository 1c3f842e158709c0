//! DescribeUserScramCredentials (`ScramImage.describe`).

use std::collections::BTreeMap;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_user_scram_credentials_request::DescribeUserScramCredentialsRequest;
use ottla_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResponse, DescribeUserScramCredentialsResult,
};
use ottla_protocol::types::Str;

use crate::image::{ScramImage, ScramMechanism};

/// DescribeUserScramCredentials: mechanisms and iterations, no secrets.
pub fn describe_user_scram_credentials(
    image: &ScramImage,
    request: &DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let mut times: BTreeMap<&Str, usize> = BTreeMap::new();
    match request.users.as_ref().filter(|u| !u.is_empty()) {
        Some(users) => {
            for u in users {
                *times.entry(&u.name).or_default() += 1;
            }
        }
        None => {
            for (_, user) in image.credentials.keys() {
                times.insert(user, 1);
            }
        }
    }
    let mut response = DescribeUserScramCredentialsResponse::default();
    for (user, times) in times {
        let mut result = DescribeUserScramCredentialsResult { user: user.clone(), ..Default::default() };
        if times > 1 {
            result.error_code = ErrorCode::DuplicateResource.code();
            result.error_message = Some(
                format!(
                    "Cannot describe SCRAM credentials for the same user twice in a single request: {user}"
                )
                .into(),
            );
            response.results.push(result);
            continue;
        }
        for mechanism in [ScramMechanism::Sha256, ScramMechanism::Sha512] {
            if let Some(c) = image.get(mechanism, user) {
                result.credential_infos.push(CredentialInfo {
                    mechanism: mechanism.code(),
                    iterations: c.iterations,
                    ..Default::default()
                });
            }
        }
        if result.credential_infos.is_empty() {
            result.error_code = ErrorCode::ResourceNotFound.code();
            result.error_message =
                Some(format!("Attempt to describe a user credential that does not exist: {user}").into());
        }
        response.results.push(result);
    }
    response
}
