//! `--list`.

use super::{GroupsError, GroupsResult, ListedGroup, Tool};
use crate::output::{self, Column, Entry, Table};

/// States of classic and consumer groups.
const STATES: &[&str] =
    &["PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty", "Assigning", "Reconciling"];
const TYPES: &[&str] = &["Classic", "Consumer"];

/// The values of a comma-separated list, spelled as in `known`.
fn values(input: &str, known: &[&str], what: &str) -> GroupsResult<Vec<String>> {
    let parse = |word: &str| known.iter().find(|k| k.eq_ignore_ascii_case(word.trim()));
    let parsed: Option<Vec<String>> =
        input.split(',').map(|word| parse(word).map(|k| (*k).to_owned())).collect();
    parsed.ok_or_else(|| {
        let known = known.join(", ");
        GroupsError::Usage(format!("Invalid {what}s list '{input}'. Valid {what}s are: {known}"))
    })
}

impl Tool {
    pub async fn list(&self) -> GroupsResult<()> {
        let (by_type, by_state) = (self.options.has("type"), self.options.has("state"));
        if !by_type && !by_state {
            output::list("groups");
            for group in self.consumer_groups().await? {
                output::show("groups", Entry::new(&group.id).with("group", group.id.as_str()));
            }
            return Ok(());
        }
        let filter = |name, known, what| match self.options.text(name) {
            None | Some("") => Ok(Vec::new()),
            Some(input) => values(input, known, what),
        };
        let types = filter("type", TYPES, "type")?;
        let states = filter("state", STATES, "state")?;
        let groups = self.listed(&states, &types).await?;
        output::table("groups", &table(&groups, by_type, by_state));
        Ok(())
    }
}

fn table(groups: &[ListedGroup], by_type: bool, by_state: bool) -> Table {
    let width = groups.iter().map(|g| g.id.chars().count()).max().unwrap_or(0).max(15) + 10;
    let mut table = Table::new(vec![
        Column::new("GROUP", "group").fixed(width),
        Column::new("TYPE", "type").fixed(20).shown(by_type),
        Column::new("STATE", "state").fixed(20).shown(by_state),
    ]);
    for group in groups {
        let kind = if group.kind.is_empty() { "Unknown" } else { &group.kind };
        table.row(vec![group.id.as_str().into(), kind.into(), group.state.as_str().into()]);
    }
    table
}
