//! Plans of offsets as CSV: `topic,partition,offset`, with the group in front where there are several.

use std::collections::BTreeMap;

use ottla_client::TopicPartition;

use super::reset::Plan;

/// Texts longer than this are quoted without looking at them, as Jackson's writer does.
const MAX_UNQUOTED: usize = 24;

fn field(text: &str) -> String {
    // Everything up to the comma in ASCII could be part of the syntax.
    if text.chars().count() > MAX_UNQUOTED || text.chars().any(|c| c <= ',') {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// The plans, a line each.
pub fn render(plans: &BTreeMap<String, Plan>, single: bool) -> String {
    let mut text = String::new();
    for (group, plan) in plans {
        for (p, offset) in plan {
            if !single {
                text.push_str(&field(group));
                text.push(',');
            }
            text.push_str(&format!("{},{},{offset}\n", field(&p.topic), p.partition));
        }
    }
    text
}

/// The fields of a line.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.trim_end_matches('\r').chars().peekable();
    while let Some(c) = letters.next() {
        let Some(field) = fields.last_mut() else { break };
        match c {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' if quoted || field.trim().is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => field.push(c),
        }
    }
    fields
}

fn numbers(topic: &str, partition: &str, offset: &str) -> Option<(TopicPartition, i64)> {
    Some((TopicPartition::new(topic, partition.trim().parse().ok()?), offset.trim().parse().ok()?))
}

/// Plans by group. With a single group lines may leave it out.
///
/// # Errors
/// A line that is none.
pub fn parse(text: &str, single: Option<&str>) -> Result<BTreeMap<String, Plan>, String> {
    let mut plans: BTreeMap<String, Plan> = BTreeMap::new();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let short = lines.first().is_some_and(|line| fields(line).len() == 3);
    for line in lines {
        let fields = fields(line);
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let entry = match (&fields[..], single) {
            ([topic, partition, offset], Some(group)) if short => {
                numbers(topic, partition, offset).map(|entry| (group, entry))
            }
            ([group, topic, partition, offset], _) if !(short && single.is_some()) => {
                numbers(topic, partition, offset).map(|entry| (*group, entry))
            }
            _ => None,
        };
        let (group, (partition, offset)) =
            entry.ok_or_else(|| format!("not a line of a reset plan: {line}"))?;
        plans.entry(group.to_owned()).or_default().insert(partition, offset);
    }
    Ok(plans)
}
