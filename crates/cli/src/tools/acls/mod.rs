//! `kafka-acls`: who may do what. Source: Kafka `AclCommand`.

mod names;
mod request;

use std::collections::BTreeSet;
use std::io::BufRead;

use ottla_client::Admin;
use ottla_client::admin::{AclBinding, AclFilter};

use super::java_text::tool_exception;
use crate::args::{Parsed, Parser};
use crate::connect;
use crate::error::{ToolError, ToolResult};
use crate::output::{self, Entry};
use names::{Access, Pattern};
use request::Accesses;

fn parser() -> Parser {
    Parser::new("This tool helps to manage acls on kafka.")
        .text("bootstrap-server", "server to connect to", "A list of host/port pairs to use for establishing the connection to the Kafka cluster, as host1:port1,host2:port2,... One of this and --bootstrap-controller is required.")
        .text("bootstrap-controller", "controller to connect to", "A list of host/port pairs of controllers, as host1:port1,host2:port2,...")
        .optional_text("command-config", "command-config", "A property file containing configs to be passed to Admin Client.")
        .flag("add", "Indicates you are trying to add ACLs.")
        .flag("remove", "Indicates you are trying to remove ACLs.")
        .flag("list", "List ACLs for the specified resource, use --topic <topic> or --group <group> or --cluster to specify a resource.")
        .text("topic", "topic", "Topic to which ACLs should be added or removed. A value of '*' indicates ACL should apply to all topics.")
        .text("group", "group", "Consumer group to which the ACLs should be added or removed. A value of '*' indicates the ACLs should apply to all groups.")
        .flag("cluster", "Add/Remove cluster ACLs.")
        .text("transactional-id", "transactional-id", "The transactionalId to which ACLs should be added or removed. A value of '*' indicates the ACLs should apply to all transactionalIds.")
        .text("delegation-token", "delegation-token", "Delegation token to which ACLs should be added or removed. A value of '*' indicates ACL should apply to all tokens.")
        .text("user-principal", "user-principal", "A user principal as the resource of the operation: the users for whom tokens may be created or described.")
        .text("resource-pattern-type", "ANY|MATCH|LITERAL|PREFIXED", "The type of the resource pattern or pattern filter: 'literal' or 'prefixed' when adding; when listing or removing also 'any' (any type, the very name) and 'match' (everything that affects the resource). Use 'match' with --remove with care. (default: LITERAL)")
        .text("operation", "String", "Operation that is being allowed or denied: All, Read, Write, Create, Delete, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite, CreateTokens, DescribeTokens, TwoPhaseCommit. (default: All)")
        .text("allow-principal", "allow-principal", "Principal, as principalType:name, that is allowed; User:'*' is every user.")
        .text("deny-principal", "deny-principal", "Principal, as principalType:name, that is denied. Deny takes precedence over allow, and nobody needs it who is not allowed otherwise.")
        .text("allow-host", "allow-host", "Host from which principals listed in --allow-principal will have access. (default: *)")
        .text("deny-host", "deny-host", "Host from which principals listed in --deny-principal will be denied access. (default: *)")
        .optional_text("principal", "principal", "List ACLs for the specified principal, as principalType:name. May be given more than once.")
        .flag("producer", "Convenience option to add/remove ACLs for producer role: WRITE, DESCRIBE and CREATE on topic, WRITE and DESCRIBE on transactional-id.")
        .flag("idempotent", "Enable idempotence for the producer, with --producer. A producer that is authorized to a transactional-id needs it not.")
        .flag("consumer", "Convenience option to add/remove ACLs for consumer role: READ and DESCRIBE on topic, READ on group.")
        .flag("force", "Assume Yes to all queries and do not prompt.")
}

/// Kafka's tool reports what goes wrong at work on standard output.
fn failure(text: &str) -> ToolError {
    output::complain(format!("Error while executing ACL command: {text}"));
    ToolError::Exit(1)
}

pub fn main(args: &[String]) -> ToolResult {
    let parser = parser();
    let options = parser.parse(args)?;
    request::check(&parser, &options)?;
    let work = async {
        let admin = connect::admin(&options)?;
        if options.has("add") {
            add(&admin, request::additions(&parser, &options)?).await
        } else if options.has("remove") {
            remove(&admin, request::requested(&parser, &options)?, options.has("force")).await
        } else {
            list(&admin, &options).await
        }
    };
    connect::block_on(work).map_err(|error| match error {
        ToolError::Usage { .. } | ToolError::Exit(_) => error,
        error => failure(&tool_exception(&error)),
    })
}

async fn add(admin: &Admin, additions: Accesses) -> ToolResult {
    for (pattern, accesses) in additions {
        let existing = admin.describe_acls(&pattern.filter()).await?;
        let (known, new): (Vec<Access>, Vec<Access>) =
            accesses.into_iter().partition(|access| existing.contains(&access.on(&pattern)));
        for access in known {
            output::line(format!("Acl (pattern={pattern}, entry={access}) already exists."));
        }
        if new.is_empty() {
            continue;
        }
        output::remark(format!("Adding ACLs for resource `{pattern}`: \n {}\n", lines(&new)));
        let bindings: Vec<AclBinding> = new.iter().map(|access| access.on(&pattern)).collect();
        admin.create_acls(&bindings).await?;
        output::show("added", entry(Entry::silent(), &pattern, &new));
    }
    Ok(())
}

async fn remove(admin: &Admin, requested: Accesses, force: bool) -> ToolResult {
    for (pattern, accesses) in requested {
        let accesses: Vec<Access> = accesses.into_iter().collect();
        let (question, filters) = if accesses.is_empty() {
            let question =
                format!("Are you sure you want to delete all ACLs for resource filter `{pattern}`? (y/n)");
            (question, vec![pattern.filter()])
        } else {
            let question = format!(
                "Are you sure you want to remove ACLs: \n {}\n from resource filter `{pattern}`? (y/n)",
                lines(&accesses)
            );
            (question, accesses.iter().map(|access| access.filter(&pattern)).collect())
        };
        if force || confirmed(&question)? {
            let removed = admin.delete_acls(&filters).await?;
            output::show("removed", entry(Entry::silent(), &pattern, &accesses).with("count", removed));
        }
    }
    Ok(())
}

/// Asks on standard output (standard error with JSON) and reads a line.
fn confirmed(question: &str) -> Result<bool, ToolError> {
    if output::is_json() {
        eprintln!("{question}");
    } else {
        output::remark(question);
        output::flush();
    }
    let mut answer = String::new();
    match std::io::stdin().lock().read_line(&mut answer) {
        Ok(0) => Err(ToolError::message("nobody answers; --force does without")),
        Ok(_) => Ok(answer.trim_end_matches(['\r', '\n']).eq_ignore_ascii_case("y")),
        Err(error) => Err(ToolError::message(error.to_string())),
    }
}

async fn list(admin: &Admin, options: &Parsed) -> ToolResult {
    let patterns = request::patterns(options)?;
    let principals = request::principals(options, "principal")?;
    let mut found: BTreeSet<AclBinding> = BTreeSet::new();
    if patterns.is_empty() {
        found = admin.describe_acls(&AclFilter::ANY).await?;
    }
    for pattern in &patterns {
        found.extend(admin.describe_acls(&pattern.filter()).await?);
    }
    let mut accesses = Accesses::new();
    for binding in found {
        let (pattern, access) = Access::split(binding);
        accesses.entry(pattern).or_default().insert(access);
    }
    output::list("acls");
    if principals.is_empty() {
        print(&accesses, |_| true);
    }
    for principal in &principals {
        output::remark(format!("ACLs for principal `{principal}`"));
        print(&accesses, |access| access.principal == *principal);
    }
    Ok(())
}

fn print(accesses: &Accesses, wanted: impl Fn(&Access) -> bool) {
    for (pattern, accesses) in accesses {
        let accesses: Vec<Access> = accesses.iter().filter(|access| wanted(access)).cloned().collect();
        if !accesses.is_empty() {
            let text = format!("Current ACLs for resource `{pattern}`:\n{}\n", lines(&accesses));
            output::show("acls", entry(Entry::new(text), pattern, &accesses));
        }
    }
}

fn lines(accesses: &[Access]) -> String {
    let lines: Vec<String> = accesses.iter().map(|access| format!("\t{access}")).collect();
    lines.join("\n")
}

fn entry(entry: Entry, pattern: &Pattern, accesses: &[Access]) -> Entry {
    let inner = accesses.iter().map(|access| {
        Entry::silent()
            .with("principal", access.principal.as_str())
            .with("host", access.host.as_str())
            .with("operation", names::operation(access.operation))
            .with("permissionType", names::permission(access.permission))
    });
    entry
        .with("resourceType", names::resource_type(pattern.resource_type))
        .with("name", pattern.name.as_str())
        .with("patternType", names::pattern_type(pattern.pattern_type))
        .list("entries", inner)
}

#[cfg(test)]
mod tests;
