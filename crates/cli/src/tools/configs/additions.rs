//! What `--add-config`, `--add-config-file` and `--delete-config` ask for.

use std::collections::BTreeMap;

use crate::args::Parsed;
use crate::connect::load_properties;
use crate::error::ToolError;

const FORMAT: &str = "Invalid entity config: all configs to be added must be in the format \"key=val\" or  \
                      \"key=[val1,val2]\" to group values which contain commas.";

/// Splits at `separator` outside of square brackets.
fn split_outside_brackets(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut depth = 0usize;
    let mut start = 0;
    for (i, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ if c == separator && depth == 0 => {
                parts.push(&text[start..i]);
                start = i + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// The entries to set.
pub fn to_add(options: &Parsed) -> Result<BTreeMap<String, String>, ToolError> {
    let mut entries = BTreeMap::new();
    if let Some(path) = options.text("add-config-file") {
        entries.extend(load_properties(path)?);
    }
    if let Some(text) = options.text("add-config") {
        // As Java's split: empty parts at the end do not count.
        let mut parts = split_outside_brackets(text, ',');
        while parts.len() > 1 && parts.last().is_some_and(|p| p.is_empty()) {
            parts.pop();
        }
        for part in parts {
            let pair = split_outside_brackets(part, '=');
            let [key, value] = pair.as_slice() else { return Err(ToolError::message(FORMAT)) };
            let value = value.replace(['[', ']'], "");
            entries.insert(key.trim().to_owned(), value.trim().to_owned());
        }
    }
    let good = |c: char| c.is_ascii_alphanumeric() || "$._-".contains(c);
    if let Some(key) = entries.keys().find(|k| !k.chars().all(good)) {
        return Err(ToolError::message(format!("Invalid character found for config key: {key}")));
    }
    Ok(entries)
}

/// The keys to remove.
pub fn to_delete(options: &Parsed) -> Vec<String> {
    let texts = options.texts("delete-config");
    texts.into_iter().flat_map(|t| t.split(',')).map(|k| k.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::split_outside_brackets;

    #[test]
    fn brackets_hold_commas_and_equals_signs_together() {
        assert_eq!(split_outside_brackets("a=1,b=[x,y=z],c=", ','), ["a=1", "b=[x,y=z]", "c="]);
        assert_eq!(split_outside_brackets("b=[x,y=z]", '='), ["b", "[x,y=z]"]);
        assert_eq!(split_outside_brackets("c=", '='), ["c", ""]);
    }
}
