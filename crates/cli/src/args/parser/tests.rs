use super::{Parser, Style};

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn parser() -> Parser {
    Parser::new("A tool.")
        .flag("list", "")
        .text("topic", "topic", "")
        .optional_text("state", "state", "")
        .int("partitions", "count", "")
        .alias("messages", "num-records")
        .long("num-records", "count", "")
}

#[test]
fn values_follow_a_blank_or_an_equals_sign_and_one_dash_is_enough() {
    let p = parser().parse(&words("--topic a --partitions=3 -list --messages 7")).unwrap();
    assert_eq!(p.text("topic"), Some("a"));
    assert_eq!(p.int("partitions"), Some(3));
    assert!(p.has("list"));
    assert_eq!(p.long("num-records"), Some(7));
}

#[test]
fn a_required_value_may_look_like_an_option_and_an_optional_one_may_not() {
    let p = parser().parse(&words("--topic --list")).unwrap();
    assert_eq!(p.text("topic"), Some("--list"));
    assert!(!p.has("list"));
    let p = parser().parse(&words("--state --list")).unwrap();
    assert!(p.has("state") && p.has("list"));
    assert_eq!(p.text("state"), None);
    assert_eq!(parser().parse(&words("--state Empty")).unwrap().text("state"), Some("Empty"));
}

#[test]
fn wrong_words_end_the_tool_with_1() {
    for line in ["--nonsense", "--zookeeper a", "--topic", "--partitions x", "--help", "", "--lis"] {
        let error = parser().parse(&words(line)).unwrap_err();
        assert!(!matches!(error, crate::error::ToolError::Exit(_)), "{line}");
    }
    let text = parser().parse(&words("--zookeeper a")).unwrap_err().text();
    assert!(text.contains("--bootstrap-server"), "{text}");
    let error = parser().style(Style::Argparse).parse(&words("--help")).unwrap_err();
    assert!(matches!(error, crate::error::ToolError::Exit(0)));
}

#[test]
fn options_that_exclude_each_other_are_named() {
    let parser = parser();
    let p = parser.parse(&words("--list --topic a")).unwrap();
    let text = parser.forbid(&p, "list", &["topic"]).unwrap_err().text();
    assert_eq!(text, "Option \"[list]\" can't be used with option \"[topic]\"");
    assert!(parser.require(&p, &["partitions"]).is_err());
    assert!(parser.exactly_one(&p, &["list", "topic"]).is_err());
    assert!(parser.exactly_one(&p, &["list", "state"]).is_ok());
}
