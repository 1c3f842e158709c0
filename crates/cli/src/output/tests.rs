//! One report in both forms.

use serde_json::json;

use super::document::Document;
use super::{Cell, Column, Entry, Format, Table};

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn the_format_is_taken_out_of_the_command_line() {
    let take = |text: &str| Format::take(&words(text));
    assert_eq!(take("--list --output json"), Ok((Format::Json, words("--list"))));
    assert_eq!(take("--output=json --list"), Ok((Format::Json, words("--list"))));
    assert_eq!(take("--list --output text"), Ok((Format::Text, words("--list"))));
    assert_eq!(take("--list -- --output json"), Ok((Format::Text, words("--list -- --output json"))));
    assert_eq!(take("--output xml"), Err("xml".to_owned()));
    assert_eq!(take("--output"), Err(String::new()));
}

#[test]
fn a_table_is_padded_text_and_typed_rows() {
    let columns = vec![
        Column::new("GROUP", "group").at_least(8),
        Column::new("N", "n").fixed(3),
        Column::new("EPOCH", "epoch").fixed(6).shown(false),
        Column::new("HOST", "host"),
    ];
    let mut table = Table::new(columns).blank_first();
    table.row(vec!["a-long-group".into(), 5.into(), Cell::optional(Some(7), "-"), "/h".into()]);
    table.row(vec!["g".into(), 6.into(), Cell::optional(None::<i32>, "-"), Cell::new("-", json!(null))]);
    assert_eq!(table.lines(), ["", "GROUP        N   HOST", "a-long-group 5   /h", "g            6   -"]);
    let mut document = Document::default();
    table.entries().for_each(|e| document.push("rows", e));
    assert_eq!(
        document.output(),
        Some(json!({"rows": [
            {"group": "a-long-group", "n": 5, "epoch": 7, "host": "/h"},
            {"group": "g", "n": 6, "epoch": null, "host": null},
        ]}))
    );
}

#[test]
fn entries_hold_entries_and_keep_the_order_of_lines() {
    let inner = [Entry::new("\tp0").with("partition", 0), Entry::new("\tp1").with("partition", 1)];
    let entry = Entry::new("topic t").with("name", "t").list("partitions", inner);
    assert_eq!(entry.lines(), ["topic t", "\tp0", "\tp1"]);
    let mut document = Document::default();
    document.push("topics", entry);
    assert_eq!(
        document.output(),
        Some(json!({"topics": [{"name": "t", "partitions": [{"partition": 0}, {"partition": 1}]}]}))
    );
}

#[test]
fn messages_and_errors_have_their_places() {
    let mut document = Document::default();
    assert_eq!((document.output(), document.failure()), (Some(json!({})), None), "success is an object");
    document.error("\nno such topic");
    assert_eq!(document.output(), None, "an error alone prints nothing on standard output");
    assert_eq!(document.failure(), Some(json!({"error": "no such topic"})));
    document.message("Created topic t.");
    document.message("");
    assert_eq!(document.warning("beware"), None);
    assert_eq!(document.output(), Some(json!({"messages": ["Created topic t."], "warnings": ["beware"]})));
    let mut stream = Document::default();
    stream.streams();
    assert_eq!(stream.warning("beware"), Some(json!({"warning": "beware"})));
    assert_eq!(stream.output(), None, "what was streamed is all there is");
}
