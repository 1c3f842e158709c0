//! `--list`.

use super::{GroupsError, GroupsResult, ListedGroup, Tool};
use crate::output;

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
            for group in self.consumer_groups().await? {
                output::line(&group.id);
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
        print(&groups, by_type, by_state);
        Ok(())
    }
}

fn print(groups: &[ListedGroup], by_type: bool, by_state: bool) {
    let width = groups.iter().map(|g| g.id.chars().count()).max().unwrap_or(0).max(15) + 10;
    let row = |id: &str, kind: &str, state: &str| {
        let mut text = format!("{id:<width$}");
        if by_type {
            text.push_str(&format!(" {kind:<20}"));
        }
        if by_state {
            text.push_str(&format!(" {state:<20}"));
        }
        output::line(text);
    };
    row("GROUP", "TYPE", "STATE");
    for group in groups {
        let kind = if group.kind.is_empty() { "Unknown" } else { &group.kind };
        row(&group.id, kind, &group.state);
    }
}
