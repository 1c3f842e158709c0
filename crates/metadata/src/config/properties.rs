//! Reading `.properties` files as `java.util.Properties.load` does, keeping the line of each key.

/// One key of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    pub key: String,
    pub value: String,
    /// Line of the key, counted from 1.
    pub line: u32,
}

/// A `\u` that is not followed by four hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Malformed \\uxxxx encoding.")]
pub struct MalformedEscape {
    pub line: u32,
}

/// Reads a whole file. Of a key that is given twice the last value holds (callers put the result
/// into a map in order).
pub fn parse_properties(text: &str) -> Result<Vec<Property>, MalformedEscape> {
    let mut out = Vec::new();
    for (line, logical) in logical_lines(text) {
        let (key_end, value_start) = split_key(&logical);
        out.push(Property {
            key: unescape(&logical[..key_end]).ok_or(MalformedEscape { line })?,
            value: unescape(&logical[value_start..]).ok_or(MalformedEscape { line })?,
            line,
        });
    }
    Ok(out)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

/// Lines without comments and blank ones, continued lines joined.
fn logical_lines(text: &str) -> Vec<(u32, String)> {
    let mut out = Vec::new();
    let mut current: Option<(u32, String)> = None;
    for (i, natural) in natural_lines(text).enumerate() {
        let content = natural.trim_start_matches(is_blank);
        if current.is_none() && (content.is_empty() || content.starts_with(['#', '!'])) {
            continue;
        }
        let backslashes = content.bytes().rev().take_while(|b| *b == b'\\').count();
        let continued = backslashes % 2 == 1;
        let part = if continued { &content[..content.len() - 1] } else { content };
        let (_, joined) = current.get_or_insert_with(|| (i as u32 + 1, String::new()));
        joined.push_str(part);
        if !continued && let Some(done) = current.take() {
            out.push(done);
        }
    }
    out.extend(current.filter(|(_, s)| !s.is_empty()));
    out
}

/// Lines ended by `\n`, `\r` or `\r\n`.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let s = rest?;
        match s.find(['\n', '\r']) {
            None => {
                rest = None;
                (!s.is_empty()).then_some(s)
            }
            Some(at) => {
                let skip = if s[at..].starts_with("\r\n") { 2 } else { 1 };
                rest = Some(&s[at + skip..]);
                Some(&s[..at])
            }
        }
    })
}

fn split_key(line: &str) -> (usize, usize) {
    let mut escaped = false;
    let mut key_end = line.len();
    let mut value_start = line.len();
    let mut has_separator = false;
    for (i, c) in line.char_indices() {
        if !escaped && (c == '=' || c == ':') {
            key_end = i;
            value_start = i + 1;
            has_separator = true;
            break;
        }
        if !escaped && is_blank(c) {
            key_end = i;
            value_start = i + 1;
            break;
        }
        escaped = c == '\\' && !escaped;
    }
    for (i, c) in line[value_start..].char_indices() {
        if is_blank(c) {
            continue;
        }
        if !has_separator && (c == '=' || c == ':') {
            has_separator = true;
            continue;
        }
        return (key_end, value_start + i);
    }
    (key_end, line.len())
}

fn unescape(s: &str) -> Option<String> {
    if !s.contains('\\') {
        return Some(s.to_owned());
    }
    // Escapes name UTF-16 units, so that a pair of them can form one character.
    let mut units: Vec<u16> = Vec::with_capacity(s.len());
    let mut chars = s.chars();
    while let Some(c) = chars.next() {
        let mut buf = [0u16; 2];
        if c != '\\' {
            units.extend_from_slice(c.encode_utf16(&mut buf));
            continue;
        }
        match chars.next() {
            None => {}
            Some('u') => {
                let mut unit = 0u16;
                for _ in 0..4 {
                    let digit = chars.next()?.to_digit(16)?;
                    unit = (unit << 4) | digit as u16;
                }
                units.push(unit);
            }
            Some('t') => units.push(u16::from(b'\t')),
            Some('r') => units.push(u16::from(b'\r')),
            Some('n') => units.push(u16::from(b'\n')),
            Some('f') => units.push(0xc),
            Some(other) => units.extend_from_slice(other.encode_utf16(&mut buf)),
        }
    }
    Some(String::from_utf16_lossy(&units))
}

/// Writes a key or a value as `java.util.Properties.store` does.
pub fn escape_property(s: &str, is_key: bool) -> String {
    let mut out = String::with_capacity(s.len());
    for (i, c) in s.chars().enumerate() {
        match c {
            ' ' if is_key || i == 0 => out.push_str("\\ "),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{c}' => out.push_str("\\f"),
            '=' | ':' | '#' | '!' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            other => {
                let mut buf = [0u16; 2];
                for unit in other.encode_utf16(&mut buf) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            }
        }
    }
    out
}
