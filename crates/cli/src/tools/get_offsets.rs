//! `kafka-get-offsets`: offsets of partitions by time. Source: Kafka `GetOffsetShell`.

use ottla_client::admin::OffsetSpec;
use ottla_client::{Admin, TopicPartition};

use super::topic_filter::TopicFilter;
use crate::args::{Parsed, Parser};
use crate::connect;
use crate::error::{ToolError, ToolResult};
use crate::output::{self, Entry};

fn parser() -> Parser {
    Parser::new("An interactive shell for getting topic-partition offsets.")
        .text("bootstrap-server", "HOST1:PORT1,...,HOST3:PORT3", "REQUIRED. The server(s) to connect to in the form HOST1:PORT1,HOST2:PORT2.")
        .text("topic-partitions", "topic1:1,topic2:0-3,topic3,topic4:5-,topic5:-3", "Comma separated list of topic-partition patterns to get the offsets for. The part before ':' is an optional regex for the topic name, if omitted, it matches any topic name. The section after ':' describes a 'partition' pattern, which can be: a number, a range in the format of 'NUMBER-NUMBER' (lower inclusive, upper exclusive), an inclusive lower bound in the format of 'NUMBER-', an exclusive upper bound in the format of '-NUMBER' or may be omitted to accept all partitions.")
        .text("topic", "topic", "The topic to get the offsets for. It also accepts a regular expression. If not present, all authorized topics are queried. Cannot be used if --topic-partitions is present.")
        .text("partitions", "partition ids", "Comma separated list of partition ids to get the offsets for. If not present, all partitions of the authorized topics are queried. Cannot be used if --topic-partitions is present.")
        .text("time", "<timestamp> / -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or latest-tiered / -6 or earliest-pending-upload", "timestamp of the offsets before that. [Note: No offset is returned, if the timestamp greater than recently committed record timestamp is given.] (default: latest)")
        .text("command-config", "config file", "Property file containing configs to be passed to Admin Client.")
        .flag("exclude-internal-topics", "By default, internal topics are included. If specified, internal topics are excluded.")
        .removed("broker-list", "Use --bootstrap-server instead.")
}

pub fn main(args: &[String]) -> ToolResult {
    run(args).map_err(|error| match error {
        ToolError::Message(_) | ToolError::Client(_) => {
            ToolError::message(format!("Error occurred: {}", error.text()))
        }
        other => other,
    })
}

fn run(args: &[String]) -> ToolResult {
    let parser = parser();
    let options = parser.parse(args)?;
    parser.require(&options, &["bootstrap-server"])?;
    if options.has("topic-partitions") && (options.has("topic") || options.has("partitions")) {
        return Err(ToolError::message("--topic-partitions cannot be used with --topic or --partitions"));
    }
    let spec = offset_spec(options.text("time").unwrap_or("latest"))?;
    let rules = rules(&options)?;
    let mut config = connect::admin_config(&options)?;
    config.set("client.id", "GetOffsetShell");
    let admin = Admin::new(&config)?;
    connect::block_on(async {
        let exclude_internal = options.has("exclude-internal-topics");
        let mut specs = Vec::new();
        for topic in admin.list_topics().await? {
            for partition in topic.partitions.keys() {
                if rules.iter().any(|r| r.allows(&topic.name, *partition, exclude_internal)) {
                    specs.push((TopicPartition::new(topic.name.as_str(), *partition), spec));
                }
            }
        }
        if specs.is_empty() {
            return Err(ToolError::message(
                "Could not match any topic-partitions with the specified filters",
            ));
        }
        let answers = admin.list_offsets(&specs, false).await?;
        let mut lines: Vec<(String, String, Entry)> = Vec::new();
        output::list("offsets");
        for (partition, answer) in answers {
            match answer {
                Ok(found) if found.offset >= 0 => {
                    let line = format!("{}:{}:{}", partition.topic, partition.partition, found.offset);
                    let entry = Entry::new(line.clone())
                        .with("topic", partition.topic.as_str())
                        .with("partition", partition.partition)
                        .with("offset", found.offset);
                    lines.push((partition.to_string(), line, entry));
                }
                Ok(_) => {}
                Err(error) => {
                    let text =
                        format!("Skip getting offsets for topic-partition {partition} due to error: {error}");
                    output::notice(text);
                }
            }
        }
        lines.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        lines.into_iter().for_each(|(_, _, entry)| output::show("offsets", entry));
        Ok(())
    })
}

fn offset_spec(text: &str) -> Result<OffsetSpec, ToolError> {
    Ok(match text {
        "latest" | "-1" => OffsetSpec::Latest,
        "earliest" | "-2" => OffsetSpec::Earliest,
        "max-timestamp" | "-3" => OffsetSpec::MaxTimestamp,
        "earliest-local" | "-4" => OffsetSpec::EarliestLocal,
        "latest-tiered" | "-5" => OffsetSpec::LatestTiered,
        "earliest-pending-upload" | "-6" => OffsetSpec::EarliestPendingUpload,
        other => OffsetSpec::Timestamp(other.parse().map_err(|_| {
            ToolError::message(format!(
                "Malformed time argument {other}. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 \
                 or earliest-local / -5 or latest-tiered / -6 or earliest-pending-upload, or a specified long format \
                 timestamp"
            ))
        })?),
    })
}

/// Topics by expression and partitions by number.
#[derive(Debug)]
struct Rule {
    topics: TopicFilter,
    partitions: Partitions,
}

#[derive(Debug)]
enum Partitions {
    All,
    Among(Vec<i32>),
    /// Lower bound included, upper bound not.
    Range(i32, i32),
}

impl Rule {
    fn allows(&self, topic: &str, partition: i32, exclude_internal: bool) -> bool {
        let partitions = match &self.partitions {
            Partitions::All => true,
            Partitions::Among(among) => among.contains(&partition),
            Partitions::Range(from, to) => (*from..*to).contains(&partition),
        };
        partitions && self.topics.allows(topic, exclude_internal)
    }
}

fn rules(options: &Parsed) -> Result<Vec<Rule>, ToolError> {
    if let Some(text) = options.text("topic-partitions") {
        return text.split(',').map(rule).collect();
    }
    let partitions = match options.text("partitions").filter(|p| !p.is_empty()) {
        None => Partitions::All,
        Some(text) => {
            let ids: Result<Vec<i32>, _> = text.split(',').map(str::parse).collect();
            Partitions::Among(ids.map_err(|_| {
                ToolError::message(format!(
                    "--partitions expects a comma separated list of numeric partition ids, but received: {text}"
                ))
            })?)
        }
    };
    Ok(vec![Rule { topics: TopicFilter::new(options.text("topic").unwrap_or(".*"))?, partitions }])
}

fn rule(text: &str) -> Result<Rule, ToolError> {
    let invalid = || ToolError::message(format!("Invalid rule specification: {text}"));
    let (topic, partitions) = text.split_once(':').unwrap_or((text, ""));
    let number = |text: &str, empty: i32| match text {
        "" => Ok(empty),
        digits => {
            digits.parse::<u16>().map(i32::from).or_else(|_| digits.parse::<i32>()).map_err(|_| invalid())
        }
    };
    let partitions = match partitions.split_once('-') {
        _ if partitions.is_empty() => Partitions::All,
        None => Partitions::Among(vec![number(partitions, 0)?]),
        Some((from, to)) => Partitions::Range(number(from, 0)?, number(to, i32::MAX)?),
    };
    let topics = TopicFilter::new(if topic.is_empty() { ".*" } else { topic })?;
    Ok(Rule { topics, partitions })
}

#[cfg(test)]
mod tests {
    use super::rule;

    #[test]
    fn rules_name_topics_and_partitions() {
        let allows =
            |text: &str, topic: &str, partition: i32| rule(text).unwrap().allows(topic, partition, false);
        assert!(allows("a.*:1", "abc", 1) && !allows("a.*:1", "abc", 2) && !allows("a.*:1", "b", 1));
        assert!(allows(":2-4", "x", 2) && !allows(":2-4", "x", 4));
        assert!(allows("t:5-", "t", 9) && !allows("t:5-", "t", 4));
        assert!(allows("t:-3", "t", 2) && !allows("t:-3", "t", 3));
        assert!(allows("t", "t", 99));
        assert!(rule("t:x").is_err());
    }
}
