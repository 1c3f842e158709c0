//! Client quotas, by entity.

use std::collections::BTreeMap;

use ottla_protocol::messages::metadata_record::client_quota_record::{ClientQuotaRecord, EntityData};
use ottla_protocol::types::Str;

use crate::record::VersionedRecord;

/// Whom a quota limits: names by entity type (`user`, `client-id`, `ip`), `None` for the default.
pub type QuotaEntity = BTreeMap<Str, Option<Str>>;

/// Every entity with quotas.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClientQuotasImage {
    pub entities: BTreeMap<QuotaEntity, BTreeMap<Str, f64>>,
}

impl ClientQuotasImage {
    pub(crate) fn replay(&mut self, r: &ClientQuotaRecord) {
        let entity: QuotaEntity =
            r.entity.iter().map(|e| (e.entity_type.clone(), e.entity_name.clone())).collect();
        if !r.remove {
            self.entities.entry(entity).or_default().insert(r.key.clone(), r.value);
            return;
        }
        if let Some(quotas) = self.entities.get_mut(&entity) {
            quotas.remove(&r.key);
            if quotas.is_empty() {
                self.entities.remove(&entity);
            }
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<VersionedRecord>) {
        for (entity, quotas) in &self.entities {
            for (key, value) in quotas {
                out.push(VersionedRecord::v0(quota_record(entity, key, Some(*value))));
            }
        }
    }
}

/// The record that sets a quota, or removes it without a value.
pub(crate) fn quota_record(entity: &QuotaEntity, key: &Str, value: Option<f64>) -> ClientQuotaRecord {
    ClientQuotaRecord {
        entity: entity
            .iter()
            .map(|(kind, name)| EntityData {
                entity_type: kind.clone(),
                entity_name: name.clone(),
                ..Default::default()
            })
            .collect(),
        key: key.clone(),
        value: value.unwrap_or(0.0),
        remove: value.is_none(),
        ..Default::default()
    }
}
