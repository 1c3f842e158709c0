//! AlterUserScramCredentials, and credentials from passwords (RFC 5802).

use std::collections::BTreeMap;

use bytes::Bytes;
use hmac::{Hmac, Mac};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_user_scram_credentials_request::{
    AlterUserScramCredentialsRequest, ScramCredentialUpsertion,
};
use ottla_protocol::messages::alter_user_scram_credentials_response::{
    AlterUserScramCredentialsResponse, AlterUserScramCredentialsResult,
};
use ottla_protocol::messages::metadata_record::remove_user_scram_credential_record::RemoveUserScramCredentialRecord;
use ottla_protocol::messages::metadata_record::user_scram_credential_record::UserScramCredentialRecord;
use ottla_protocol::types::Str;
use sha2::{Digest, Sha256, Sha512};

use super::{ApiError, Controller, Decision};
use crate::image::ScramMechanism;
use crate::record::VersionedRecord;

const ITERATIONS_MIN: i32 = 4096;
const ITERATIONS_MAX: i32 = 16384;

fn mac(mechanism: ScramMechanism, key: &[u8], message: &[u8]) -> Bytes {
    const ANY_LENGTH: &str = "HMAC takes keys of any length";
    match mechanism {
        ScramMechanism::Sha256 => {
            let mut m = <Hmac<Sha256> as Mac>::new_from_slice(key).expect(ANY_LENGTH);
            m.update(message);
            Bytes::copy_from_slice(&m.finalize().into_bytes())
        }
        ScramMechanism::Sha512 => {
            let mut m = <Hmac<Sha512> as Mac>::new_from_slice(key).expect(ANY_LENGTH);
            m.update(message);
            Bytes::copy_from_slice(&m.finalize().into_bytes())
        }
    }
}

fn hash(mechanism: ScramMechanism, data: &[u8]) -> Bytes {
    match mechanism {
        ScramMechanism::Sha256 => Bytes::copy_from_slice(&Sha256::digest(data)),
        ScramMechanism::Sha512 => Bytes::copy_from_slice(&Sha512::digest(data)),
    }
}

/// A password salted and iterated. Costs `iterations` hashes.
pub fn salted_password(mechanism: ScramMechanism, password: &str, salt: &[u8], iterations: u32) -> Bytes {
    match mechanism {
        ScramMechanism::Sha256 => {
            let mut out = [0u8; 32];
            pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, iterations, &mut out);
            Bytes::copy_from_slice(&out)
        }
        ScramMechanism::Sha512 => {
            let mut out = [0u8; 64];
            pbkdf2::pbkdf2_hmac::<Sha512>(password.as_bytes(), salt, iterations, &mut out);
            Bytes::copy_from_slice(&out)
        }
    }
}

/// The record that keeps what can verify a password, not the password.
pub fn scram_record(
    user: &str,
    mechanism: ScramMechanism,
    salt: Bytes,
    iterations: i32,
    salted_password: &[u8],
) -> UserScramCredentialRecord {
    let client_key = mac(mechanism, salted_password, b"Client Key");
    UserScramCredentialRecord {
        name: user.into(),
        mechanism: mechanism.code(),
        salt,
        stored_key: hash(mechanism, &client_key),
        server_key: mac(mechanism, salted_password, b"Server Key"),
        iterations,
        ..Default::default()
    }
}

fn check_name(user: &str, mechanism: i8) -> Result<ScramMechanism, ApiError> {
    if user.is_empty() {
        return Err(ApiError::new(ErrorCode::UnacceptableCredential, "Username must not be empty"));
    }
    ScramMechanism::from_code(mechanism)
        .ok_or_else(|| ApiError::new(ErrorCode::UnsupportedSaslMechanism, "Unknown SCRAM mechanism"))
}

impl Controller {
    /// AlterUserScramCredentials. Each user may be altered once in a request.
    pub fn decide_alter_user_scram_credentials(
        &self,
        request: &AlterUserScramCredentialsRequest,
    ) -> Decision<AlterUserScramCredentialsResponse> {
        let mut times: BTreeMap<&Str, usize> = BTreeMap::new();
        let names = request.deletions.iter().map(|d| &d.name);
        for name in names.chain(request.upsertions.iter().map(|u| &u.name)) {
            *times.entry(name).or_default() += 1;
        }
        let once = |name: &Str| {
            if name.is_empty() {
                return Err(ApiError::new(ErrorCode::UnacceptableCredential, "Username must not be empty"));
            }
            if times.get(name).is_some_and(|n| *n > 1) {
                return Err(ApiError::new(
                    ErrorCode::DuplicateResource,
                    "A user credential cannot be altered twice in the same request",
                ));
            }
            if !self.image().metadata_version().is_scram_supported() {
                return Err(ApiError::new(
                    ErrorCode::UnsupportedVersion,
                    "The current metadata.version does not support SCRAM",
                ));
            }
            Ok(())
        };
        let mut records = Vec::new();
        let mut results: Vec<(&Str, Option<ApiError>)> = Vec::new();
        for d in &request.deletions {
            if results.iter().any(|(n, _)| *n == &d.name) {
                continue;
            }
            let checked = once(&d.name).and_then(|()| {
                let mechanism = check_name(&d.name, d.mechanism)?;
                let exists = self.image().scram.get(mechanism, &d.name).is_some();
                exists.then_some(()).ok_or_else(|| {
                    ApiError::new(
                        ErrorCode::ResourceNotFound,
                        "Attempt to delete a user credential that does not exist",
                    )
                })
            });
            if checked.is_ok() {
                records.push(VersionedRecord::v0(RemoveUserScramCredentialRecord {
                    name: d.name.clone(),
                    mechanism: d.mechanism,
                    ..Default::default()
                }));
            }
            results.push((&d.name, checked.err()));
        }
        for u in &request.upsertions {
            if results.iter().any(|(n, _)| *n == &u.name) {
                continue;
            }
            let checked = once(&u.name).and_then(|()| upsertion_record(u));
            match checked {
                Ok(record) => {
                    records.push(record);
                    results.push((&u.name, None));
                }
                Err(e) => results.push((&u.name, Some(e))),
            }
        }
        let results = results
            .into_iter()
            .map(|(user, error)| {
                let (code, message) = error.map_or((ErrorCode::None, None), |e| (e.code, e.message));
                AlterUserScramCredentialsResult {
                    user: user.clone(),
                    error_code: code.code(),
                    error_message: message.map(Str::from),
                    ..Default::default()
                }
            })
            .collect();
        let response = AlterUserScramCredentialsResponse { results, ..Default::default() };
        Decision::atomic(records, response)
    }
}

fn upsertion_record(u: &ScramCredentialUpsertion) -> Result<VersionedRecord, ApiError> {
    let mechanism = check_name(&u.name, u.mechanism)?;
    let unacceptable = |text| Err(ApiError::new(ErrorCode::UnacceptableCredential, text));
    if u.iterations < ITERATIONS_MIN {
        return unacceptable("Too few iterations");
    }
    if u.iterations > ITERATIONS_MAX {
        return unacceptable("Too many iterations");
    }
    let salt = Bytes::copy_from_slice(&u.salt);
    let record = scram_record(&u.name, mechanism, salt, u.iterations, &u.salted_password);
    Ok(VersionedRecord::v0(record))
}
