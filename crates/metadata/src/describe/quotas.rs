//! DescribeClientQuotas (`ClientQuotasImage.describe`).

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_client_quotas_request::DescribeClientQuotasRequest;
use ottla_protocol::messages::describe_client_quotas_response::{
    DescribeClientQuotasResponse, EntityData, EntryData, ValueData,
};
use ottla_protocol::types::Str;

use crate::controller::ApiError;
use crate::image::{ClientQuotasImage, QuotaEntity};

const MATCH_EXACT: i8 = 0;
const MATCH_DEFAULT: i8 = 1;
const MATCH_SPECIFIED: i8 = 2;

/// What a request asks for, by entity type.
#[derive(Default)]
struct Filter<'a> {
    exact: BTreeMap<&'a str, Option<&'a Str>>,
    any: BTreeSet<&'a str>,
}

impl Filter<'_> {
    fn has(&self, kind: &str) -> bool {
        self.exact.contains_key(kind) || self.any.contains(kind)
    }

    fn matches(&self, entity: &QuotaEntity, strict: bool) -> bool {
        let parts = self.exact.len() + self.any.len();
        if parts == 0 {
            return !strict;
        }
        (!strict || entity.len() == parts)
            && self.exact.iter().all(|(kind, name)| entity.get(*kind).is_some_and(|n| n.as_ref() == *name))
            && self.any.iter().all(|kind| entity.contains_key(*kind))
    }
}

/// DescribeClientQuotas.
pub fn describe_client_quotas(
    image: &ClientQuotasImage,
    request: &DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    match filter(request) {
        Err(e) => DescribeClientQuotasResponse {
            error_code: e.code.code(),
            error_message: e.message.map(Str::from),
            entries: None,
            ..Default::default()
        },
        Ok(filter) => DescribeClientQuotasResponse {
            entries: Some(
                image
                    .entities
                    .iter()
                    .filter(|(entity, _)| filter.matches(entity, request.strict))
                    .map(|(entity, quotas)| entry(entity, quotas))
                    .collect(),
            ),
            ..Default::default()
        },
    }
}

fn entry(entity: &QuotaEntity, quotas: &BTreeMap<Str, f64>) -> EntryData {
    EntryData {
        entity: entity
            .iter()
            .map(|(kind, name)| EntityData {
                entity_type: kind.clone(),
                entity_name: name.clone(),
                ..Default::default()
            })
            .collect(),
        values: quotas
            .iter()
            .map(|(key, value)| ValueData { key: key.clone(), value: *value, ..Default::default() })
            .collect(),
        ..Default::default()
    }
}

fn filter(request: &DescribeClientQuotasRequest) -> Result<Filter<'_>, ApiError> {
    let invalid = |text: String| Err(ApiError::new(ErrorCode::InvalidRequest, text));
    let mut filter = Filter::default();
    for c in &request.components {
        let kind = &*c.entity_type;
        if kind.is_empty() {
            return invalid("Invalid empty entity type.".to_owned());
        }
        if filter.has(kind) {
            return invalid(format!("Entity type {kind} cannot appear more than once in the filter."));
        }
        if !matches!(kind, "ip" | "user" | "client-id") {
            return Err(ApiError::new(
                ErrorCode::UnsupportedVersion,
                format!("Unsupported entity type {kind}"),
            ));
        }
        match (c.match_type, &c.r#match) {
            (MATCH_EXACT, None) => {
                return invalid(
                    "Request specified MATCH_TYPE_EXACT, but set match string to null.".to_owned(),
                );
            }
            (MATCH_EXACT, Some(name)) => drop(filter.exact.insert(kind, Some(name))),
            (MATCH_DEFAULT, None) => drop(filter.exact.insert(kind, None)),
            (MATCH_SPECIFIED, None) => drop(filter.any.insert(kind)),
            (MATCH_DEFAULT, Some(_)) => {
                return invalid(
                    "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.".to_owned(),
                );
            }
            (MATCH_SPECIFIED, Some(_)) => {
                return invalid(
                    "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.".to_owned(),
                );
            }
            (other, _) => return invalid(format!("Unknown match type {other}")),
        }
    }
    if filter.has("ip") && (filter.has("user") || filter.has("client-id")) {
        return invalid(
            "Invalid entity filter component combination. IP filter component should not be used with user \
             or clientId filter component."
                .to_owned(),
        );
    }
    Ok(filter)
}
