//! `kafka-consumer-groups`: list, describe, delete and reset. Source: Kafka `ConsumerGroupCommand`.

mod cluster;
mod csv;
mod delete;
mod describe;
mod list;
mod reset;
mod time;

#[cfg(test)]
mod tests;

pub use cluster::{ListedGroup, list_groups};

use ottla_client::Admin;

use super::java_text::tool_exception;
use crate::args::{Parsed, Parser};
use crate::connect;
use crate::error::{ToolError, ToolResult};
use crate::output::{self, Entry};

const ACTIONS: &[&str] = &["list", "describe", "delete", "reset-offsets", "delete-offsets", "validate-regex"];
const SCENARIOS: &[&str] = &[
    "to-offset",
    "shift-by",
    "to-datetime",
    "by-duration",
    "to-earliest",
    "to-latest",
    "to-current",
    "from-file",
];
const DEFAULT_TIMEOUT_MS: i64 = 30_000;

fn parser() -> Parser {
    Parser::new("This tool helps to list, describe, delete and manage the offsets of consumer groups.")
        .text("bootstrap-server", "server to connect to", "REQUIRED (for all options except for --validate-regex): The server(s) to connect to.")
        .text("group", "group id", "The consumer group we wish to act on.")
        .text("topic", "topic", "The topic whose offset information should be deleted or reset. In `reset-offsets` case, partitions can be specified using this format: `topic:0,1,2`, where 0,1,2 are the partitions to be included. Reset-offsets also supports multiple topics.")
        .flag("all-topics", "Apply to all topics.")
        .flag("list", "List all consumer groups.")
        .flag("describe", "Describe consumer group and list offset lag (number of messages not yet processed) related to given group.")
        .flag("all-groups", "Apply to all consumer groups.")
        .flag("delete", "Delete topic partition offsets and ownership information for one or more consumer groups.")
        .long("timeout", "timeout (ms)", "The timeout that can be set for some use cases. For example, it can be used when describing the group to specify the maximum amount of time in milliseconds to wait before the group stabilizes (when the group is just created, or is going through some changes). (default: 30000)")
        .text("command-config", "command config property file", "Property file containing configs to be passed to Admin Client and Consumer.")
        .flag("reset-offsets", "Reset offsets of consumer group. Supports one consumer group at a time, and instances should be inactive. Has 2 execution options: --dry-run (the default) to plan which offsets to reset, and --execute to update the offsets. Additionally, the --export option can be used to generate the offsets in CSV format for export to a file. You must choose one of the following reset specifications: --to-datetime, --by-duration, --to-earliest, --to-latest, --shift-by, --from-file, --to-current, --to-offset. To define the scope, use --all-topics or --topic. The scope must be specified unless you use --from-file.")
        .flag("delete-offsets", "Delete offsets of consumer group. Supports one consumer group at a time, and multiple topics.")
        .flag("dry-run", "Output offset reset information without executing the operation. Supported operation: reset-offsets.")
        .flag("execute", "Execute the offset reset operation. Supported operation: reset-offsets.")
        .flag("export", "Generate offset reset information in CSV format for export to a file. Supported operation: reset-offsets.")
        .long("to-offset", "offset", "Reset offsets to a specific offset.")
        .text("from-file", "path to CSV file", "Reset offsets to values defined in CSV file.")
        .text("to-datetime", "datetime", "Reset offsets to offset from datetime. Format: 'YYYY-MM-DDThh:mm:ss.sss'")
        .text("by-duration", "duration", "Reset offsets by duration from current timestamp. Format: 'PnDTnHnMnS'")
        .flag("to-earliest", "Reset offsets to earliest offset.")
        .flag("to-latest", "Reset offsets to latest offset.")
        .flag("to-current", "Reset offsets to current offset.")
        .long("shift-by", "number-of-offsets", "Reset offsets shifting current offset by 'n', where 'n' can be positive or negative.")
        .flag("members", "Describe members of the group. This option may be used with the --describe option only.")
        .flag("verbose", "Provide additional information, if any, when describing the group. This option may be used with the --describe option only.")
        .flag("offsets", "Describe the group and list all topic partitions in the group along with their offset lag. This is the default sub-action of and may be used with the --describe option only.")
        .optional_text("state", "state", "When specified with --describe, it displays the state of the group. When specified with --list, it displays the states of the groups. It can also be used to list groups with specific states. This option may be used with --describe and --list options only.")
        .optional_text("type", "type", "When specified with --list, it displays the types of the groups. It can also be used to list groups with specific types. This option may be used with the --list option only.")
        .text("validate-regex", "regex", "Validate the syntax of the regular expression according to the RE2 format.")
}

/// What is wrong with the values of options; Kafka answers it with its usage.
#[derive(Debug)]
enum GroupsError {
    Usage(String),
    Tool(ToolError),
}

impl From<ToolError> for GroupsError {
    fn from(error: ToolError) -> Self {
        GroupsError::Tool(error)
    }
}

impl From<ottla_client::ClientError> for GroupsError {
    fn from(error: ottla_client::ClientError) -> Self {
        GroupsError::Tool(error.into())
    }
}

type GroupsResult<T> = Result<T, GroupsError>;

/// A connected tool.
struct Tool {
    admin: Admin,
    options: Parsed,
}

pub fn main(args: &[String]) -> ToolResult {
    let parser = parser();
    let options = parser.parse(args)?;
    check(&parser, &options)?;
    if let Some(regex) = options.text("validate-regex") {
        validate_regex(regex);
        return Ok(());
    }
    let mut config = connect::admin_config(&options)?;
    let timeout = options.long("timeout").unwrap_or(DEFAULT_TIMEOUT_MS).max(0);
    config.set("default.api.timeout.ms", timeout.to_string());
    let admin = Admin::new(&config)?;
    let tool = Tool { admin, options };
    match connect::block_on(async { Ok(tool.act().await) })? {
        Ok(()) => Ok(()),
        Err(GroupsError::Usage(message)) => Err(parser.usage(message)),
        Err(GroupsError::Tool(error)) => {
            let text = tool_exception(&error);
            print_error(&format!("Executing consumer group command failed due to {text}"));
            Ok(())
        }
    }
}

/// Kafka's tool says what failed on standard output, and ends with exit code 0.
fn print_error(text: &str) {
    output::complain(format!("\nError: {text}"));
}

fn validate_regex(regex: &str) {
    match regex::Regex::new(regex) {
        Ok(_) => output::fact("valid", true, format!("The regular expression `{regex}` is valid.")),
        Err(error) => {
            let reason = regex_complaint(&error.to_string());
            let text = format!("The regular expression `{regex}` is invalid: {reason}.");
            output::only(Entry::new(text).with("valid", false).with("reason", reason));
        }
    }
}

/// A complaint of the regular expression engine in the words of RE2/J, where it has the same.
fn regex_complaint(text: &str) -> String {
    const WORDS: &[(&str, &str)] = &[
        ("unclosed group", "missing closing )"),
        ("unopened group", "regexp/syntax: internal error"),
        ("unclosed character class", "missing closing ]"),
        ("missing expression", "missing argument to repetition operator"),
        ("character class range", "invalid character class range"),
        ("incomplete escape", "trailing backslash at end of expression"),
        ("escape sequence", "invalid escape sequence"),
        ("duplicate capture group", "duplicate capture group name"),
        ("look-", "invalid or unsupported Perl syntax"),
    ];
    let known = WORDS.iter().find(|(ours, _)| text.contains(ours)).map(|(_, theirs)| (*theirs).to_owned());
    let last = || text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    known.unwrap_or_else(last)
}

fn names(options: &[&str]) -> String {
    options.iter().map(|o| format!("[{o}]")).collect::<Vec<_>>().join(", ")
}

fn check(parser: &Parser, options: &Parsed) -> ToolResult {
    let has = |name: &str| options.has(name);
    for (name, needs) in [
        ("members", &["describe"][..]),
        ("verbose", &["describe"][..]),
        ("offsets", &["describe"][..]),
        ("state", &["describe", "list"][..]),
        ("type", &["list"][..]),
    ] {
        if has(name) && !needs.iter().any(|n| has(n)) {
            return Err(parser.usage(format!(
                "Option(s) [{name}] are unavailable given other options on the command line"
            )));
        }
    }
    if !has("validate-regex") {
        parser.require(options, &["bootstrap-server"])?;
    }
    let scope = names(&["group", "all-groups"]);
    if has("describe") {
        if !has("group") && !has("all-groups") {
            return Err(parser.usage(format!("Option [describe] takes one of these options: {scope}")));
        }
        let views = ["members", "offsets", "state"];
        if views.iter().filter(|v| has(v)).count() > 1 {
            let views = names(&views);
            return Err(
                parser.usage(format!("Option [describe] takes at most one of these options: {views}"))
            );
        }
        if options.text("state").is_some() {
            return Err(parser.usage("Option [describe] does not take a value for [state]"));
        }
    }
    if has("delete") {
        if !has("group") && !has("all-groups") {
            return Err(parser.usage(format!("Option [delete] takes one of these options: {scope}")));
        }
        if has("topic") {
            return Err(parser.usage(
                "The consumer does not support topic-specific offset deletion from a consumer group.",
            ));
        }
    }
    if has("delete-offsets") && !(has("group") && has("topic")) {
        let needed = names(&["group", "topic"]);
        return Err(parser.usage(format!("Option [delete-offsets] takes the following options: {needed}")));
    }
    if has("reset-offsets") {
        if has("dry-run") && has("execute") {
            return Err(parser.usage("Option [reset-offsets] only accepts one of [execute] and [dry-run]"));
        }
        if !has("dry-run") && !has("execute") {
            output::notice(
                "WARN: No action will be performed as the --execute option is missing. In version 5.0, this \
                 command will require either --dry-run or --execute to be specified. You should add the \
                 --dry-run option explicitly if you are scripting this command and want to keep the current \
                 default behavior without prompting.",
            );
        }
        if !has("group") && !has("all-groups") {
            return Err(parser.usage(format!("Option [reset-offsets] takes one of these options: {scope}")));
        }
        for scenario in SCENARIOS {
            let others: Vec<&str> = SCENARIOS.iter().copied().filter(|s| s != scenario).collect();
            parser.forbid(options, scenario, &others)?;
        }
    }
    parser.forbid(options, "group", &["all-groups", "list"])?;
    parser.forbid(options, "topic", &["list", "describe"])?;
    if ACTIONS.iter().filter(|a| has(a)).count() != 1 {
        return Err(parser.usage(
            "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, \
             --delete-offsets, --validate-regex",
        ));
    }
    Ok(())
}

impl Tool {
    async fn act(&self) -> GroupsResult<()> {
        if self.options.has("list") {
            self.list().await
        } else if self.options.has("describe") {
            self.describe().await
        } else if self.options.has("delete") {
            self.delete().await
        } else if self.options.has("reset-offsets") {
            self.reset().await
        } else {
            self.delete_offsets().await
        }
    }

    /// The groups that the options name.
    async fn group_ids(&self) -> GroupsResult<Vec<String>> {
        if self.options.has("all-groups") {
            return Ok(self.consumer_groups().await?.into_iter().map(|g| g.id).collect());
        }
        Ok(self.options.texts("group").into_iter().map(str::to_owned).collect())
    }
}
