//! `kafka-groups`: groups of all types. Source: Kafka `GroupsCommand`.

use super::consumer_groups::{ListedGroup, list_groups};
use crate::args::{Parsed, Parser};
use crate::connect;
use crate::error::{ToolError, ToolResult};
use crate::output::{self, Cell, Column, Table};

const TYPES: &[&str] = &["classic", "consumer", "share", "streams"];
const COLUMN: usize = 20;

fn parser() -> Parser {
    Parser::new("This tool helps to list groups of all types.")
        .bootstrap()
        .flag("list", "List the groups.")
        .text("group-type", "type", "Filter the groups based on group type. Valid types are: 'classic', 'consumer', 'share' and 'streams'.")
        .text("protocol", "protocol", "Filter the groups based on protocol type.")
        .flag("consumer", "Filter the groups to show all kinds of consumer groups, including classic and simple consumer groups. This matches group type 'consumer', and group type 'classic' where the protocol type is 'consumer' or empty.")
        .flag("share", "Filter the groups to show share groups.")
        .flag("streams", "Filter the groups to show streams groups.")
}

pub fn main(args: &[String]) -> ToolResult {
    let parser = parser();
    let options = parser.parse(args)?;
    parser.require(&options, &["bootstrap-server"])?;
    if !options.has("list") {
        return Err(parser.usage("Command must include exactly one action: --list."));
    }
    if options.text("group-type").is_some_and(|t| !TYPES.iter().any(|known| known.eq_ignore_ascii_case(t))) {
        return Err(ToolError::message("--group-type must be a valid group type."));
    }
    for filter in ["consumer", "share", "streams"] {
        let all = ["consumer", "group-type", "protocol", "share", "streams"];
        let others: Vec<&str> = all.into_iter().filter(|o| *o != filter).collect();
        parser.forbid(&options, filter, &others)?;
    }
    let admin = connect::admin(&options)?;
    let groups = connect::block_on(async { Ok(list_groups(&admin, &[], &[]).await?) });
    let groups = groups.map_err(|error| {
        output::complain(format!("Error while executing groups command : {}", error.text()));
        ToolError::Exit(1)
    })?;
    output::table("groups", &table(groups.iter().filter(|g| passes(g, &options))));
    Ok(())
}

fn passes(group: &ListedGroup, options: &Parsed) -> bool {
    let is = |kind: &str| group.kind.eq_ignore_ascii_case(kind);
    let protocol = options.text("protocol");
    if let Some(kind) = options.text("group-type") {
        is(kind) && protocol.is_none_or(|p| p == group.protocol)
    } else if let Some(protocol) = protocol {
        group.protocol == protocol
    } else if options.has("consumer") {
        group.protocol == "consumer" || group.protocol.is_empty() || is("consumer")
    } else if options.has("share") {
        is("share")
    } else if options.has("streams") {
        is("streams")
    } else {
        true
    }
}

fn table<'g>(groups: impl Iterator<Item = &'g ListedGroup>) -> Table {
    let rows: Vec<[&str; 3]> = groups.map(|g| [&*g.id, &*g.kind, &*g.protocol]).collect();
    let width = rows.iter().flatten().map(|cell| cell.chars().count()).max().unwrap_or(0).max(COLUMN);
    let mut table = Table::new(vec![
        Column::new("GROUP", "group").fixed(width),
        Column::new("TYPE", "type").fixed(width),
        Column::new("PROTOCOL", "protocol").fixed(width),
    ])
    .ended("", " ");
    for row in rows {
        table.row(row.map(Cell::from).to_vec());
    }
    table
}
