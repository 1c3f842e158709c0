//! Topics by a regular expression. Source: Kafka `TopicFilter`, `IncludeList`.

use regex::Regex;

use crate::error::ToolError;

/// The topics that a cluster makes for itself.
const INTERNAL: &[&str] = &["__consumer_offsets", "__transaction_state", "__share_group_state"];

pub fn is_internal(topic: &str) -> bool {
    INTERNAL.contains(&topic)
}

/// A comma-separated list of expressions, any of which must match the whole name.
#[derive(Debug, Clone)]
pub struct TopicFilter {
    regex: Regex,
}

impl TopicFilter {
    pub fn new(text: &str) -> Result<TopicFilter, ToolError> {
        let text = text.trim().replace(',', "|").replace(' ', "");
        let text = text.trim_matches(['"', '\'']);
        let regex = Regex::new(&format!("^(?:{text})$"))
            .map_err(|_| ToolError::message(format!("{text} is an invalid regex.")))?;
        Ok(TopicFilter { regex })
    }

    pub fn allows(&self, topic: &str, exclude_internal: bool) -> bool {
        self.regex.is_match(topic) && !(exclude_internal && is_internal(topic))
    }
}
