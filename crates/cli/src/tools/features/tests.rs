//! What needs no cluster.

use super::*;

#[test]
fn a_release_maps_to_levels() {
    let entries = version_mapping(Some("4.0-IV3")).expect("known");
    let lines: Vec<&String> = entries.iter().flat_map(|e| e.lines()).collect();
    assert_eq!(
        lines,
        [
            "metadata.version=25 (4.0-IV3)",
            "kraft.version=1",
            "transaction.version=2",
            "group.version=1",
            "eligible.leader.replicas.version=0",
            "share.version=0",
            "streams.version=0"
        ]
    );
    assert!(version_mapping(Some("9.9")).is_err());
}

#[test]
fn dependencies_of_levels() {
    assert_eq!(
        dependencies("eligible.leader.replicas.version=1").expect("known").lines(),
        ["eligible.leader.replicas.version=1 requires:", "    metadata.version=23 (4.0-IV1)"]
    );
    assert_eq!(
        dependencies("group.version=1").expect("known").lines(),
        ["group.version=1 has no dependencies."]
    );
    for bad in ["x=1", "group.version", "group.version=z", "group.version=9", "metadata.version=999"] {
        assert!(dependencies(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_release_and_features_exclude_each_other() {
    let parse = |words: &str| {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        parser().parse(&words).expect("known options")
    };
    let both = parse("upgrade --release-version 4.0-IV3 --feature a=1");
    assert!(wanted("upgrade", &both, true).is_err());
    let twice = parse("upgrade --feature a=1 --feature a=2");
    assert!(wanted("upgrade", &twice, true).is_err());
    // Levels of 0 are left out of an upgrade.
    let release = parse("upgrade --release-version 4.0-IV3");
    assert_eq!(wanted("upgrade", &release, true).map(|l| l.len()).ok(), Some(4));
    assert_eq!(wanted("downgrade", &release, false).map(|l| l.len()).ok(), Some(7));
}
