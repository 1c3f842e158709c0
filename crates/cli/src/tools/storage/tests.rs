//! Tests of `kafka-storage`.

use std::fs;

use ottla_metadata::format::{BOOTSTRAP_CHECKPOINT_FILE, read_bootstrap_records};

use super::arguments::{Command, Refusal, parse};
use super::run;

fn args(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

struct Node {
    dir: tempfile::TempDir,
    config: String,
}

fn node(quorum: &str) -> Node {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().display().to_string();
    let config = format!("{root}/server.properties");
    let text = format!(
        "process.roles=broker,controller\nnode.id=1\n{quorum}\n\
         listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n\
         controller.listener.names=CONTROLLER\nlog.dirs={root}/a,{root}/b\n"
    );
    fs::write(&config, text).unwrap();
    Node { dir, config }
}

const DYNAMIC: &str = "controller.quorum.bootstrap.servers=127.0.0.1:9093";
const STATIC: &str = "controller.quorum.voters=1@127.0.0.1:9093";
const ID: &str = "b3R0bGEtb3JhY2xlLS0tLQ";

#[test]
fn a_standalone_controller() {
    let n = node(DYNAMIC);
    let format = format!("format -t {ID} -c {}", n.config);
    assert_eq!(run(&args(&format!("info -c {}", n.config))), 1);
    assert_eq!(run(&args(&format)), 1, "the quorum is not decided");
    assert_eq!(run(&args(&format!("{format} --standalone"))), 0);
    assert_eq!(run(&args(&format!("info --config={}", n.config))), 0);
    assert_eq!(run(&args(&format!("{format} -s"))), 1, "formatted already");
    assert_eq!(run(&args(&format!("{format} -s -g"))), 0);
    let a = n.dir.path().join("a");
    let checkpoint = a.join("__cluster_metadata-0").join(BOOTSTRAP_CHECKPOINT_FILE);
    let bytes = fs::read(&checkpoint).unwrap();
    assert_eq!(read_bootstrap_records(&bytes).unwrap().len(), 6);
    assert!(fs::metadata(&checkpoint).unwrap().permissions().readonly());
    assert!(!n.dir.path().join("b/__cluster_metadata-0").exists());
    let meta = fs::read_to_string(a.join("meta.properties")).unwrap();
    assert!(meta.ends_with(&format!("version=1\ncluster.id={ID}\n")), "{meta}");
    let other = format.replace(ID, "AAAAAAAAAAAAAAAAAAAAAQ");
    assert_eq!(run(&args(&format!("{other} -s -g"))), 1, "another cluster");
}

#[test]
fn a_static_quorum() {
    let n = node(STATIC);
    let format = format!("format -t {ID} -c {}", n.config);
    assert_eq!(run(&args(&format!("{format} --standalone"))), 1);
    assert_eq!(run(&args(&format!("{format} -f kraft.version=1"))), 1);
    assert_eq!(run(&args(&format!("{format} -r 4.0 -f group.version=0"))), 0);
}

#[test]
fn arguments_are_checked() {
    for bad in [
        "",
        "bogus",
        "info",
        "format -c x",
        "format -t x",
        "format -c x -t y --standalone --no-initial-controllers",
        "feature-dependencies",
        "random-uuid x",
        "format -c",
    ] {
        assert!(matches!(parse(&args(bad)), Err(Refusal::Usage(_))), "{bad}");
        assert_eq!(run(&args(bad)), 1);
    }
    assert!(matches!(parse(&args("-h")), Err(Refusal::Help(_))));
    let parsed = parse(&args("format -cx --cluster-id=y -S a=[b] -S c")).unwrap();
    let Command::Format(o) = parsed else {
        panic!("{parsed:?}");
    };
    assert_eq!((o.config.as_str(), o.cluster_id.as_str()), ("x", "y"));
    assert_eq!(o.add_scram, ["a=[b]", "c"]);
}

#[test]
fn exit_codes_of_look_ups() {
    for (line, code) in [
        ("version-mapping", 0),
        ("version-mapping --release-version 4.0-IV3", 0),
        ("version-mapping -r 9.9", 1),
        ("feature-dependencies --feature transaction.version=2", 0),
        ("feature-dependencies --feature nope=1", 1),
        ("feature-dependencies --feature group.version=9", 1),
        ("random-uuid", 0),
        ("info -c /no/such/file", 1),
    ] {
        assert_eq!(run(&args(line)), code, "{line}");
    }
}
