//! Reading of plans, times and durations; what is refused of a command line.

use std::collections::BTreeMap;

use super::*;

#[test]
fn times_are_read_as_kafka_reads_them() {
    // What java.time gives for these.
    assert_eq!(time::parse_datetime("1970-01-01T00:00:00.000"), Ok(0));
    assert_eq!(time::parse_datetime("2023-11-14T22:13:20.123Z"), Ok(1_700_000_000_123));
    assert_eq!(time::parse_datetime("2023-11-14T23:13:20.123+01:00"), Ok(1_700_000_000_123));
    assert_eq!(time::parse_datetime("2023-11-14T17:13:20-05"), Ok(1_700_000_000_000));
    assert_eq!(time::parse_datetime("2024-02-29T00:00:00Z"), Ok(1_709_164_800_000));
    for bad in ["2023-02-29T00:00:00", "2023-13-01T00:00:00", "2023-01-01", "2023-01-01T25:00:00", "T", "é"]
    {
        assert!(time::parse_datetime(bad).is_err(), "{bad}");
    }
}

#[test]
fn durations_are_read_as_java_reads_them() {
    for (text, ms) in [
        ("PT15M", 900_000),
        ("PT10H", 36_000_000),
        ("P2D", 172_800_000),
        ("P2DT3H4M", 183_840_000),
        ("PT20.345S", 20_345),
        ("pt-6h3m", -21_420_000),
        ("-PT6H3M", -21_780_000),
        ("PT0.001s", 1),
    ] {
        assert_eq!(time::parse_duration(text), Ok(ms), "{text}");
    }
    for bad in ["", "P", "PT", "1H", "PT1", "P1H", "PT1S1H", "PTS1", "P99999999999999999D"] {
        assert!(time::parse_duration(bad).is_err(), "{bad}");
    }
}

#[test]
fn plans_survive_a_file() {
    let p = |topic: &str, n| ottla_client::TopicPartition::new(topic, n);
    let mut plans = BTreeMap::new();
    plans.insert("g".to_owned(), BTreeMap::from([(p("a,b", 0), 3), (p("t", 1), -1)]));
    assert_eq!(csv::render(&plans, true), "\"a,b\",0,3\nt,1,-1\n");
    assert_eq!(csv::parse(&csv::render(&plans, true), Some("g")), Ok(plans.clone()));
    plans.insert("h\"".to_owned(), BTreeMap::from([(p("a-topic-with-quite-a-long-name", 2), 7)]));
    let text = csv::render(&plans, false);
    assert!(text.ends_with("\"h\"\"\",\"a-topic-with-quite-a-long-name\",2,7\n"), "{text}");
    assert_eq!(csv::parse(&text, None), Ok(plans.clone()));
    assert_eq!(csv::parse(&text, Some("g")), Ok(plans));
    assert!(csv::parse("t,x,1", Some("g")).is_err());
    assert!(csv::parse("t,0,1", None).is_err());
}

fn refused(words: &str) -> String {
    let args: Vec<String> = words.split(' ').map(str::to_owned).collect();
    let parser = parser();
    let options = parser.parse(&args).expect("known options");
    check(&parser, &options).expect_err("must be refused").text()
}

#[test]
fn contradicting_options_are_refused() {
    assert!(refused("--list").contains("bootstrap-server"));
    for words in [
        "--group g",
        "--list --describe --all-groups",
        "--describe",
        "--describe --group g --members --state",
        "--describe --group g --state stable",
        "--delete --group g --topic t",
        "--delete-offsets --group g",
        "--reset-offsets --group g --dry-run --execute",
        "--reset-offsets --group g --to-earliest --to-latest --dry-run",
        "--reset-offsets --to-earliest --dry-run",
        "--list --members",
        "--list --group g",
    ] {
        refused(&format!("--bootstrap-server b:1 {words}"));
    }
}

#[test]
fn partitions_of_a_topic_are_read() {
    let read = |text| reset::parse_partitions(text).map(|p| p.len()).ok();
    assert_eq!(read("t:0,1,2"), Some(3));
    assert_eq!(read("t:x"), None);
    assert_eq!(read("t:0:1"), None);
}

#[test]
fn regular_expressions_are_refused_in_the_words_of_re2j() {
    let complaint = |text: &str| regex::Regex::new(text).map_err(|e| regex_complaint(&e.to_string())).err();
    assert_eq!(complaint("a("), Some("missing closing )".to_owned()));
    assert_eq!(complaint("[a"), Some("missing closing ]".to_owned()));
    assert_eq!(complaint("a\\"), Some("trailing backslash at end of expression".to_owned()));
    assert_eq!(complaint("t-.*"), None);
}
