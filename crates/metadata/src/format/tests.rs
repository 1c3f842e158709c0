//! Tests of formatting.

use std::collections::BTreeMap;

use super::*;
use crate::record::Record;

fn counter() -> impl FnMut() -> u64 {
    let mut n = 0u64;
    move || {
        n = n.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        n >> 16
    }
}

fn features(plan: &FormatPlan) -> Vec<(String, i16)> {
    plan.records
        .iter()
        .filter_map(|r| match &r.record {
            Record::FeatureLevel(f) => Some((f.name.to_string(), f.feature_level)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_new_cluster_has_the_newest_features() {
    let plan = FormatPlan::new(FormatRequest::default()).unwrap();
    let expected = [
        ("metadata.version", 33),
        ("eligible.leader.replicas.version", 1),
        ("group.version", 1),
        ("share.version", 2),
        ("streams.version", 1),
        ("transaction.version", 2),
    ]
    .map(|(n, l)| (n.to_owned(), l));
    assert_eq!(features(&plan), expected);
    assert_eq!(plan.kraft_version, 0);
    let old = FormatPlan::new(FormatRequest {
        release: Some(MetadataVersion::from_name("3.7").unwrap()),
        ..Default::default()
    })
    .unwrap();
    assert_eq!(features(&old), [("metadata.version".to_owned(), 19)]);
}

#[test]
fn a_checkpoint_of_a_standalone_controller() {
    let mut random = counter();
    let arg = "SCRAM-SHA-256=[name=alice,password=x,salt=\"MWx2NHBkbnc0ZndxN25vdGN4bTB5Y25hbXE=\",\
               iterations=5000]";
    let credential = parse_scram_argument(arg, &mut random).unwrap();
    // As Kafka's own tool computes them.
    assert_eq!(&credential.stored_key[..4], [74, 177, 249, 7]);
    assert_eq!(&credential.server_key[..4], [149, 11, 105, 103]);
    let voter = standalone_voter(1, None, 9093, Uuid::from_halves(3, 4));
    let plan = FormatPlan::new(FormatRequest {
        credentials: vec![credential],
        initial_controllers: Some(vec![voter]),
        dynamic_quorum: true,
        ..Default::default()
    })
    .unwrap();
    assert_eq!(plan.kraft_version, 1);
    assert_eq!(plan.kind_of("/a", "/a", 1), DirectoryKind::DynamicMetadataVoter);
    assert_eq!(plan.kind_of("/a", "/a", 2), DirectoryKind::DynamicMetadataNonVoter);
    assert_eq!(plan.kind_of("/b", "/a", 1), DirectoryKind::Log);
    let bytes = plan.checkpoint("CONTROLLER", 1_700_000_000_000).unwrap();
    // Kafka's tool wrote 611 bytes for the same node with host 127.0.0.1.
    assert_eq!(bytes.len(), 611);
    assert_eq!(read_bootstrap_records(&bytes).unwrap(), plan.records);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let refused = |request: FormatRequest| FormatPlan::new(request).unwrap_err().0;
    let with = |name: &str, level| FormatRequest {
        features: BTreeMap::from([(name.to_owned(), level)]),
        ..Default::default()
    };
    assert_eq!(
        refused(with("nope", 1)),
        "Unsupported feature: nope. Supported features are: eligible.leader.replicas.version, \
         group.version, kraft.version, share.version, streams.version, transaction.version"
    );
    assert_eq!(refused(with("group.version", 9)), "No feature:group.version with feature level 9");
    assert_eq!(
        refused(FormatRequest {
            release: Some(MetadataVersion::from_name("3.9").unwrap()),
            ..with("eligible.leader.replicas.version", 1)
        }),
        "eligible.leader.replicas.version could not be set to 1 because it depends on metadata.version level 23"
    );
    assert!(refused(with("kraft.version", 1)).starts_with("Cannot set kraft.version to 1 unless"));
    assert!(
        refused(FormatRequest { dynamic_quorum: true, ..with("kraft.version", 0) })
            .starts_with("Cannot set kraft.version to 0 if")
    );
}

#[test]
fn scram_arguments() {
    let mut random = counter();
    let mut refused = |arg: &str| parse_scram_argument(arg, &mut random).unwrap_err().0;
    assert_eq!(refused("x"), "Failed to find equals sign in SCRAM argument 'x'");
    assert_eq!(refused("SCRAM-SHA-1=[name=a]"), "The add-scram mechanism SCRAM-SHA-1 is not supported.");
    assert_eq!(
        refused("SCRAM-SHA-256=[name=a]"),
        "You must supply one of 'password' or 'saltedpassword' to add-scram"
    );
    assert_eq!(
        refused("SCRAM-SHA-256=[name=a,password=b,iterations=1]"),
        "The 'iterations' value must be >= 4096 for add-scram using SCRAM_SHA_256"
    );
    assert_eq!(refused("SCRAM-SHA-256=[name=a,password=b,z=1]"), "Unknown SCRAM configurations: z");
    assert_eq!(refused("SCRAM-SHA-256=[name=a,password=b,salt=*]"), "Failed to decode given salt: *");
    let ok = parse_scram_argument("SCRAM-SHA-512=[name=a,password=b]", &mut random).unwrap();
    assert_eq!((ok.salt.len(), ok.stored_key.len()), (26, 64));
}

#[test]
fn lists_of_controllers() {
    let text = "1@[::1]:9093:JEXY6aqzQY-32P5TStzaFg,0@h:8082:MvDxzVmcRsaTz33bUuRU6A";
    let voters = parse_initial_controllers(text).unwrap();
    assert_eq!(voters[0].id, 0);
    assert_eq!((voters[1].host.as_str(), voters[1].port), ("::1", 9093));
    for bad in ["", "1", "x@h:1:JEXY6aqzQY-32P5TStzaFg", "1@h:1:no", "1@h:JEXY6aqzQY-32P5TStzaFg"] {
        assert!(parse_initial_controllers(bad).is_err(), "{bad}");
    }
}
