//! Metadata logs and snapshots of Apache Kafka 4.4, replayed and compared with what its clients saw.

use std::collections::BTreeMap;

use ottla_metadata::features::METADATA_VERSION;
use ottla_metadata::image::{
    ConfigResource, ImageBuilder, MetadataChanges, MetadataImage, Provenance, ResourceKind, ScramMechanism,
};
use ottla_metadata::record::VersionedRecord;
use ottla_protocol::compression::{Codec, decompress};
use ottla_protocol::records::{BatchIter, Scratch};
use serde_json::Value;

/// The files of a `__cluster_metadata-0`, by name.
fn unpack(name: &str) -> BTreeMap<String, Vec<u8>> {
    let path = format!("{}/tests/data/{name}.zst", env!("CARGO_MANIFEST_DIR"));
    let packed = std::fs::read(path).unwrap();
    let mut all = &decompress(Codec::Zstd, &packed, 64 << 20).unwrap()[..];
    let mut out = BTreeMap::new();
    while !all.is_empty() {
        let (head, rest) = all.split_at(6);
        let name_len = usize::from(u16::from_be_bytes([head[0], head[1]]));
        let len = u32::from_be_bytes([head[2], head[3], head[4], head[5]]) as usize;
        let (name, rest) = rest.split_at(name_len);
        let (data, rest) = rest.split_at(len);
        out.insert(String::from_utf8(name.to_vec()).unwrap(), data.to_vec());
        all = rest;
    }
    out
}

fn expected(name: &str) -> Value {
    let path = format!("{}/tests/data/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Replays the records of some batches before `until`. Every record must be written back as it was.
fn replay(builder: &mut ImageBuilder, batches: &[u8], until: i64, snapshot: bool) -> usize {
    let mut scratch = Scratch::default();
    let mut count = 0;
    for batch in BatchIter::new(batches) {
        // A killed node leaves a preallocated tail.
        let Ok(batch) = batch else { break };
        batch.ensure_valid().unwrap();
        if batch.header().is_control() {
            continue;
        }
        for record in batch.records(&mut scratch).unwrap() {
            let record = record.unwrap();
            if !snapshot && record.offset >= until {
                return count;
            }
            let value = record.value.unwrap();
            let decoded = VersionedRecord::decode(value).unwrap();
            assert_eq!(&decoded.encode().unwrap()[..], value, "{decoded:?}");
            builder.replay(&decoded.record).unwrap();
            count += 1;
        }
    }
    count
}

fn whole_log(files: &BTreeMap<String, Vec<u8>>, until: i64) -> (MetadataImage, usize) {
    let mut builder = ImageBuilder::default();
    let mut count = 0;
    for (name, bytes) in files {
        if name.ends_with(".log") {
            count += replay(&mut builder, bytes, until, false);
        }
    }
    assert!(!builder.is_in_transaction());
    (builder.image().clone(), count)
}

fn strings(v: &Value) -> BTreeMap<String, String> {
    v.as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())).collect()
}

fn configs(image: &MetadataImage, resource: &ConfigResource) -> BTreeMap<String, String> {
    image
        .configs
        .get(resource)
        .into_iter()
        .flat_map(|m| m.iter())
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect()
}

fn ids(v: &Value) -> Vec<i32> {
    v.as_array().unwrap().iter().map(|n| n.as_i64().unwrap() as i32).collect()
}

const OPERATIONS: &[&str] = &[
    "",
    "",
    "ALL",
    "READ",
    "WRITE",
    "CREATE",
    "DELETE",
    "ALTER",
    "DESCRIBE",
    "CLUSTER_ACTION",
    "DESCRIBE_CONFIGS",
    "ALTER_CONFIGS",
    "IDEMPOTENT_WRITE",
    "CREATE_TOKENS",
];
const RESOURCES: &[&str] =
    &["", "", "TOPIC", "GROUP", "CLUSTER", "TRANSACTIONAL_ID", "DELEGATION_TOKEN", "USER"];

/// Compares an image with what the clients of the cluster saw. `exact`: nothing was changed after
/// they looked.
fn compare(image: &MetadataImage, expected: &Value, exact: bool) {
    for (name, level) in expected["finalizedFeatures"].as_object().unwrap() {
        assert_eq!(i64::from(image.features.level(name)), level.as_i64().unwrap(), "{name}");
    }
    assert_eq!(image.metadata_version().level(), image.features.level(METADATA_VERSION));
    let topics = expected["topics"].as_object().unwrap();
    assert_eq!(image.topics.len(), topics.len());
    for (name, t) in topics {
        let topic = image.topics.by_name(name).unwrap();
        assert_eq!(topic.id.to_string(), t["id"].as_str().unwrap());
        let own = configs(image, &ConfigResource::topic(name.as_str()));
        assert_eq!(own, strings(&t["configs"]), "{name}");
        let partitions = t["partitions"].as_array().unwrap();
        assert_eq!(topic.partitions.len(), partitions.len());
        for p in partitions {
            let id = p[0].as_i64().unwrap() as i32;
            let ours = topic.partition(id).unwrap();
            assert_eq!(ours.replicas, ids(&p[3]), "{name}-{id}");
            assert_eq!(ours.directories.len(), ours.replicas.len());
            if exact {
                let epoch = i64::from(ours.leader_epoch);
                assert_eq!(i64::from(ours.leader), p[1].as_i64().unwrap(), "{name}-{id}");
                assert_eq!(epoch, p[2].as_i64().unwrap(), "{name}-{id}");
                let (mut a, mut b) = (ours.isr.clone(), ids(&p[4]));
                a.sort_unstable();
                b.sort_unstable();
                assert_eq!(a, b, "{name}-{id}");
            }
        }
    }
    let mut users = 0;
    for (user, mechanisms) in expected["scramUsers"].as_object().unwrap() {
        for m in mechanisms.as_array().unwrap() {
            let mechanism = ScramMechanism::from_name(m["mechanism"].as_str().unwrap()).unwrap();
            let ours = image.scram.get(mechanism, user).unwrap();
            assert_eq!(i64::from(ours.iterations), m["iterations"].as_i64().unwrap());
            // The password of each is known, so the keys can be computed anew.
            let salted = ottla_metadata::controller::salted_password(
                mechanism,
                &format!("{user}-secret"),
                &ours.salt,
                ours.iterations as u32,
            );
            let record = ottla_metadata::controller::scram_record(
                user,
                mechanism,
                ours.salt.clone(),
                ours.iterations,
                &salted,
            );
            assert_eq!(record.stored_key, ours.stored_key);
            assert_eq!(record.server_key, ours.server_key);
            users += 1;
        }
    }
    assert_eq!(image.scram.credentials.len(), users);
    if let Some(acls) = expected["acls"].as_array() {
        let mut ours: Vec<String> = image
            .acls
            .entries
            .values()
            .map(|e| {
                format!(
                    "{}|{}|{}|{}|{}|{}|{}",
                    RESOURCES[e.resource_type as usize],
                    e.resource_name,
                    if e.pattern_type == 3 { "LITERAL" } else { "PREFIXED" },
                    e.principal,
                    e.host,
                    OPERATIONS[e.operation as usize],
                    if e.permission_type == 3 { "ALLOW" } else { "DENY" },
                )
            })
            .collect();
        let mut theirs: Vec<String> = acls.iter().map(|a| a.as_str().unwrap().to_owned()).collect();
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs);
    }
    let ours: BTreeMap<String, BTreeMap<String, f64>> = image
        .client_quotas
        .entities
        .iter()
        .map(|(entity, quotas)| {
            let parts: Vec<String> =
                entity.iter().map(|(k, v)| format!("{k}={}", v.as_deref().unwrap_or("null"))).collect();
            let quotas = quotas.iter().map(|(k, v)| (k.to_string(), *v)).collect();
            (format!("{{{}}}", parts.join(", ")), quotas)
        })
        .collect();
    let theirs: BTreeMap<String, BTreeMap<String, f64>> =
        serde_json::from_value(expected["quotas"].clone()).unwrap();
    assert_eq!(ours, theirs);
    for (resource, values) in expected["dynamicConfigs"].as_object().unwrap() {
        let (kind, name) = resource.split_once(':').unwrap();
        let kind = match kind {
            "BROKER" => ResourceKind::BROKER,
            "GROUP" => ResourceKind::GROUP,
            _ => ResourceKind::CLIENT_METRICS,
        };
        let mut ours = configs(image, &ConfigResource::new(kind, name));
        if kind == ResourceKind::BROKER && !name.is_empty() {
            // A client sees the cluster's values at each broker too.
            for (k, v) in configs(image, &ConfigResource::all_brokers()) {
                ours.entry(k).or_insert(v);
            }
        }
        assert_eq!(ours, strings(values), "{resource}");
    }
}

#[test]
fn logs_of_killed_clusters() {
    for (name, nodes) in [("metadata-kill", 1), ("plain-kill", 1), ("trio-kill", 3)] {
        let (image, count) = whole_log(&unpack(name), i64::MAX);
        assert!(count > 200, "{name} has {count} records");
        compare(&image, &expected(name), nodes == 1);
        assert_eq!(image.cluster.brokers.len(), nodes, "{name}");
        assert_eq!(image.cluster.controllers.len(), nodes, "{name}");
    }
}

#[test]
fn a_log_that_starts_anew_after_a_clean_stop() {
    let files = unpack("metadata-clean");
    let (image, _) = whole_log(&files, i64::MAX);
    compare(&image, &expected("metadata-clean"), false);
}

#[test]
fn snapshots_are_the_log_up_to_their_end() {
    let mut checked = 0;
    for name in ["metadata-kill", "metadata-clean"] {
        let files = unpack(name);
        for (file, bytes) in &files {
            let Some(id) = file.strip_suffix(".checkpoint") else {
                continue;
            };
            let end: i64 = id.split_once('-').unwrap().0.parse().unwrap();
            if end == 0 {
                continue;
            }
            let mut builder = ImageBuilder::default();
            replay(&mut builder, bytes, i64::MAX, true);
            let (from_log, _) = whole_log(&files, end);
            let changes = MetadataChanges::between(builder.image(), &from_log);
            assert!(changes.is_empty(), "{file}: {changes:?}");
            assert_eq!(*builder.image(), from_log, "{file}");
            checked += 1;
        }
    }
    assert!(checked >= 10, "{checked} snapshots");
}

#[test]
fn our_snapshots_build_the_same_image() {
    for name in ["metadata-clean", "trio-kill"] {
        let (image, _) = whole_log(&unpack(name), i64::MAX);
        let mut again = MetadataImage::default();
        for r in image.write() {
            let r = VersionedRecord::decode(&r.encode().unwrap()).unwrap();
            again.replay(&r.record).unwrap();
        }
        assert_eq!(again, image);
        assert_eq!(again.provenance, Provenance::default());
    }
}

#[test]
fn a_killed_cluster_differs_from_itself_later_by_what_was_done() {
    let files = unpack("metadata-clean");
    let (early, _) = whole_log(&files, 900);
    let (late, _) = whole_log(&files, i64::MAX);
    let changes = MetadataChanges::between(&early, &late);
    let mut patched: Vec<String> = early.topics.iter().map(|t| t.id.to_string()).collect();
    patched.retain(|id| !changes.topics_deleted.iter().any(|t| t.id.to_string() == *id));
    patched.extend(changes.topics_created.iter().map(|t| t.id.to_string()));
    patched.sort();
    let mut now: Vec<String> = late.topics.iter().map(|t| t.id.to_string()).collect();
    now.sort();
    assert_eq!(patched, now);
}
