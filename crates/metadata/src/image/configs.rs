//! Configurations that are set at run time, by resource.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ottla_protocol::messages::metadata_record::config_record::ConfigRecord;
use ottla_protocol::types::Str;

use super::chunked_map::ChunkedMap;
use crate::record::VersionedRecord;

/// A kind of resource that has a configuration, by Kafka's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceKind(pub i8);

impl ResourceKind {
    pub const UNKNOWN: ResourceKind = ResourceKind(0);
    pub const TOPIC: ResourceKind = ResourceKind(2);
    pub const BROKER: ResourceKind = ResourceKind(4);
    pub const BROKER_LOGGER: ResourceKind = ResourceKind(8);
    pub const CLIENT_METRICS: ResourceKind = ResourceKind(16);
    pub const GROUP: ResourceKind = ResourceKind(32);

    /// Kafka's name, `UNKNOWN` for a number it does not know.
    pub fn name(self) -> &'static str {
        match self {
            ResourceKind::TOPIC => "TOPIC",
            ResourceKind::BROKER => "BROKER",
            ResourceKind::BROKER_LOGGER => "BROKER_LOGGER",
            ResourceKind::CLIENT_METRICS => "CLIENT_METRICS",
            ResourceKind::GROUP => "GROUP",
            _ => "UNKNOWN",
        }
    }
}

/// A resource that has a configuration. The empty broker name stands for every broker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigResource {
    pub kind: ResourceKind,
    pub name: Str,
}

impl ConfigResource {
    pub fn new(kind: ResourceKind, name: impl Into<Str>) -> Self {
        ConfigResource { kind, name: name.into() }
    }

    pub fn topic(name: impl Into<Str>) -> Self {
        Self::new(ResourceKind::TOPIC, name)
    }

    pub fn broker(id: i32) -> Self {
        Self::new(ResourceKind::BROKER, id.to_string())
    }

    /// The default of all brokers.
    pub fn all_brokers() -> Self {
        Self::new(ResourceKind::BROKER, "")
    }

    pub fn group(name: impl Into<Str>) -> Self {
        Self::new(ResourceKind::GROUP, name)
    }
}

impl fmt::Display for ConfigResource {
    /// As Java's `ConfigResource.toString`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConfigResource(type={}, name='{}')", self.kind.name(), self.name)
    }
}

/// The values set for one resource.
pub type ConfigMap = BTreeMap<Str, Str>;

/// Every resource that has values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConfigsImage {
    resources: ChunkedMap<ConfigResource, Arc<ConfigMap>>,
}

impl ConfigsImage {
    /// The values of a resource; `None` if it has none.
    pub fn get(&self, resource: &ConfigResource) -> Option<&Arc<ConfigMap>> {
        self.resources.get(resource)
    }

    pub fn value(&self, resource: &ConfigResource, name: &str) -> Option<&Str> {
        self.resources.get(resource)?.get(name)
    }

    /// The values of a topic, for [`crate::config::LogConfig::resolve`].
    pub fn topic(&self, name: &str) -> Option<&Arc<ConfigMap>> {
        self.resources.get(&ConfigResource::topic(name))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&ConfigResource, &Arc<ConfigMap>)> {
        self.resources.iter()
    }

    pub(crate) fn resources(&self) -> &ChunkedMap<ConfigResource, Arc<ConfigMap>> {
        &self.resources
    }

    pub(crate) fn replay(&mut self, r: &ConfigRecord) {
        let resource = ConfigResource { kind: ResourceKind(r.resource_type), name: r.resource_name.clone() };
        match &r.value {
            Some(value) => {
                if !self.resources.contains_key(&resource) {
                    self.resources.insert(resource.clone(), Arc::default());
                }
                if let Some(map) = self.resources.get_mut(&resource) {
                    Arc::make_mut(map).insert(r.name.clone(), value.clone());
                }
            }
            None => {
                let Some(map) = self.resources.get_mut(&resource) else {
                    return;
                };
                let map = Arc::make_mut(map);
                map.remove(&r.name);
                if map.is_empty() {
                    self.resources.remove(&resource);
                }
            }
        }
    }

    pub(crate) fn remove(&mut self, resource: &ConfigResource) {
        self.resources.remove(resource);
    }

    pub(crate) fn write(&self, out: &mut Vec<VersionedRecord>) {
        for (resource, map) in self.resources.iter() {
            for (name, value) in map.iter() {
                out.push(VersionedRecord::v0(ConfigRecord {
                    resource_type: resource.kind.0,
                    resource_name: resource.name.clone(),
                    name: name.clone(),
                    value: Some(value.clone()),
                    ..Default::default()
                }));
            }
        }
    }
}
