//! Regular expressions in the syntax of RE2/J, which Kafka's coordinators use, on top of the `regex` crate.
//!
//! Both are linear-time engines with nearly the same syntax. What differs is rewritten (`\Q..\E`, brackets and doubled
//! operators inside classes, braces that are no repetition) or refused (nested repetitions, counts over 1000), and
//! errors are described in RE2/J's words.

use regex::{Regex, RegexBuilder};

/// Bound on the compiled size of one expression.
const COMPILED_SIZE_LIMIT_BYTES: usize = 1 << 20;
/// Bound on a repetition, as in RE2.
const MAX_REPEAT: u32 = 1_000;

/// Why a text is not a regular expression, described as RE2/J does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{description}")]
pub(crate) struct SyntaxError {
    pub(crate) description: &'static str,
}

const MISSING_BRACKET: &str = "missing closing ]";
const MISSING_PARENTHESIS: &str = "missing closing )";
const INTERNAL: &str = "regexp/syntax: internal error";
const MISSING_ARGUMENT: &str = "missing argument to repetition operator";
const NESTED_REPETITION: &str = "invalid nested repetition operator";
const REPEAT_COUNT: &str = "invalid repeat count";
const TRAILING_BACKSLASH: &str = "trailing backslash at end of expression";
const CLASS_RANGE: &str = "invalid character class range";
const NAMED_CAPTURE: &str = "invalid named capture";
const PERL_SYNTAX: &str = "invalid or unsupported Perl syntax";
const ESCAPE: &str = "invalid escape sequence";
const DUPLICATE_NAME: &str = "duplicate capture group name";

/// Compiles an expression that has to match a whole text (`Matcher.matches`).
pub(crate) fn compile(pattern: &str) -> Result<Regex, SyntaxError> {
    let translated =
        Translator { rest: pattern, out: String::new(), may_repeat: false, repeated: false }.translate()?;
    let build = |text: &str| RegexBuilder::new(text).size_limit(COMPILED_SIZE_LIMIT_BYTES).build();
    // By itself first, so that it cannot close the group that anchors it.
    build(&translated)
        .and_then(|_| build(&format!(r"\A(?:{translated})\z")))
        .map_err(|error| SyntaxError { description: describe(&error.to_string()) })
}

/// The engine's complaint in the words of RE2/J.
fn describe(text: &str) -> &'static str {
    let says = |part: &str| text.contains(part);
    if says("unclosed character class") {
        MISSING_BRACKET
    } else if says("unclosed group") {
        MISSING_PARENTHESIS
    } else if says("unopened group") {
        INTERNAL
    } else if says("missing expression") {
        MISSING_ARGUMENT
    } else if says("duplicate capture group") {
        DUPLICATE_NAME
    } else if says("capture group") || says("look-behind") && says("(?<") {
        NAMED_CAPTURE
    } else if says("character class range") || says("property") || says("Unicode-aware") {
        CLASS_RANGE
    } else if says("escape sequence") || says("hexadecimal") {
        ESCAPE
    } else if says("size limit") {
        "expression too large"
    } else {
        PERL_SYNTAX
    }
}

struct Translator<'a> {
    rest: &'a str,
    out: String,
    /// There is something before the cursor that a repetition can apply to.
    may_repeat: bool,
    /// It is a repetition itself.
    repeated: bool,
}

impl Translator<'_> {
    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    fn literal(&mut self, c: char) {
        self.out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
        self.may_repeat = true;
        self.repeated = false;
    }

    fn translate(mut self) -> Result<String, SyntaxError> {
        let error = |description| Err(SyntaxError { description });
        while let Some(c) = self.next() {
            match c {
                '\\' if self.rest.is_empty() => return error(TRAILING_BACKSLASH),
                '\\' if self.rest.starts_with('Q') => {
                    let rest = &self.rest[1..];
                    let (quoted, after) = rest.split_once("\\E").unwrap_or((rest, ""));
                    self.rest = after;
                    quoted.chars().for_each(|c| self.literal(c));
                }
                '\\' => {
                    self.escape()?;
                    self.may_repeat = true;
                    self.repeated = false;
                }
                '[' => {
                    self.class()?;
                    self.may_repeat = true;
                    self.repeated = false;
                }
                '*' | '+' | '?' => self.repetition(c.encode_utf8(&mut [0; 4]))?,
                '{' => match counted(self.rest)? {
                    Some(len) => {
                        let text = format!("{{{}", &self.rest[..len]);
                        self.rest = &self.rest[len..];
                        self.repetition(&text)?;
                    }
                    None => self.literal('{'),
                },
                '}' | '&' | '-' | '~' | '#' => self.literal(c),
                '(' => {
                    self.out.push(c);
                    if let Some(after) = self.rest.strip_prefix('?') {
                        // `(?P<name>`, `(?<name>`, `(?flags)`, `(?flags:`; the engine checks the rest.
                        self.out.push('?');
                        self.rest = after;
                        let end = self.rest.find([')', ':', '>']).map_or(self.rest.len(), |at| at + 1);
                        let head = &self.rest[..end];
                        if !head.starts_with('P') && !head.starts_with('<') && head.contains(['x', 'u', 'R'])
                        {
                            return error(PERL_SYNTAX);
                        }
                        self.out.push_str(head);
                        self.rest = &self.rest[end..];
                    }
                    self.may_repeat = false;
                    self.repeated = false;
                }
                '|' => {
                    self.out.push(c);
                    self.may_repeat = false;
                    self.repeated = false;
                }
                other => {
                    self.out.push(other);
                    self.may_repeat = true;
                    self.repeated = false;
                }
            }
        }
        Ok(self.out)
    }

    fn repetition(&mut self, operator: &str) -> Result<(), SyntaxError> {
        if !self.may_repeat {
            return Err(SyntaxError { description: MISSING_ARGUMENT });
        }
        if self.repeated {
            return Err(SyntaxError { description: NESTED_REPETITION });
        }
        self.out.push_str(operator);
        if let Some(after) = self.rest.strip_prefix('?') {
            self.out.push('?');
            self.rest = after;
        }
        self.repeated = true;
        Ok(())
    }

    /// After a backslash, in or outside of a class.
    fn escape(&mut self) -> Result<(), SyntaxError> {
        match self.next() {
            None => Err(SyntaxError { description: TRAILING_BACKSLASH }),
            Some('0') => {
                let digits = self.rest.bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
                let value = u32::from_str_radix(&self.rest[..digits], 8).unwrap_or(0);
                self.rest = &self.rest[digits..];
                self.out.push_str(&format!("\\x{{{value:x}}}"));
                Ok(())
            }
            Some(c) if "AbBdDsSwWpPafnrtvxz".contains(c) => {
                self.out.push('\\');
                self.out.push(c);
                Ok(())
            }
            Some(c) if c.is_ascii_alphanumeric() => Err(SyntaxError { description: ESCAPE }),
            Some(c) => {
                self.out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
                Ok(())
            }
        }
    }

    /// After the opening bracket of a class, up to and with the closing one.
    fn class(&mut self) -> Result<(), SyntaxError> {
        self.out.push('[');
        if let Some(after) = self.rest.strip_prefix('^') {
            self.out.push('^');
            self.rest = after;
        }
        let mut first = true;
        loop {
            let Some(c) = self.next() else { return Err(SyntaxError { description: MISSING_BRACKET }) };
            match c {
                ']' if !first => {
                    self.out.push(']');
                    return Ok(());
                }
                '\\' => self.escape()?,
                '[' if self.rest.starts_with(':') => {
                    let Some(end) = self.rest.find(":]") else {
                        return Err(SyntaxError { description: CLASS_RANGE });
                    };
                    if !is_posix_class(self.rest[1..end.max(1)].trim_start_matches('^')) {
                        return Err(SyntaxError { description: CLASS_RANGE });
                    }
                    self.out.push('[');
                    self.out.push_str(&self.rest[..end + 2]);
                    self.rest = &self.rest[end + 2..];
                }
                '[' | ']' | '&' | '~' | '^' => {
                    self.out.push('\\');
                    self.out.push(c);
                }
                // A dash between two characters is a range; the second of two is the range's end.
                '-' if first => self.out.push_str("\\-"),
                '-' if self.rest.starts_with('-') => {
                    self.rest = &self.rest[1..];
                    self.out.push_str("-\\-");
                }
                other => self.out.push(other),
            }
            first = false;
        }
    }
}

fn is_posix_class(name: &str) -> bool {
    [
        "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
        "upper", "word", "xdigit",
    ]
    .contains(&name)
}

/// Length of a repetition count after its opening brace; `None` when the brace is a literal.
fn counted(text: &str) -> Result<Option<usize>, SyntaxError> {
    let Some((inner, _)) = text.split_once('}') else { return Ok(None) };
    let (min, max) = match inner.split_once(',') {
        None => (inner, inner),
        Some((min, max)) => (min, max),
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(min) || !(max.is_empty() && inner.contains(',') || is_number(max)) {
        return Ok(None);
    }
    let value = |text: &str| text.parse::<u32>().unwrap_or(u32::MAX);
    let too_large = value(min) > MAX_REPEAT || (!max.is_empty() && value(max) > MAX_REPEAT);
    if too_large || (!max.is_empty() && value(max) < value(min)) {
        return Err(SyntaxError { description: REPEAT_COUNT });
    }
    Ok(Some(inner.len() + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What RE2/J 1.8 says of these, where it accepts them with whether they match `a.b`, `[` and `&`.
    #[test]
    fn expressions_are_taken_as_re2j_takes_them() {
        let expected = [
            ("[", "missing closing ]"),
            ("(", "missing closing )"),
            (")", "regexp/syntax: internal error"),
            ("a)", "regexp/syntax: internal error"),
            ("*", "missing argument to repetition operator"),
            ("a**", "invalid nested repetition operator"),
            ("a{2,1}", "invalid repeat count"),
            ("a{1001}", "invalid repeat count"),
            ("\\", "trailing backslash at end of expression"),
            ("[z-a]", "invalid character class range"),
            ("(?<n", "invalid named capture"),
            ("(?z)", "invalid or unsupported Perl syntax"),
            ("\\8", "invalid escape sequence"),
            ("\\y", "invalid escape sequence"),
            ("(?P<n>a)(?P<n>b)", "duplicate capture group name"),
            ("[[:foo:]]", "invalid character class range"),
            ("a{", "ok falsefalsefalse"),
            ("\\Qa.b\\E", "ok truefalsefalse"),
            ("[[]", "ok falsetruefalse"),
            ("[a&&b]", "ok falsefalsetrue"),
            ("[+--]", "ok falsefalsefalse"),
            ("(?=a)", "invalid or unsupported Perl syntax"),
            ("x{1000}", "ok falsefalsefalse"),
            ("\\pX", "invalid character class range"),
            ("\\C", "invalid escape sequence"),
            ("\\Q[", "ok falsetruefalse"),
            ("(?P<n>a", "missing closing )"),
            ("[a", "missing closing ]"),
            ("+a", "missing argument to repetition operator"),
            ("a|*", "missing argument to repetition operator"),
            ("(?i)A", "ok falsefalsefalse"),
            ("[]a]", "ok falsefalsefalse"),
            ("[^]a]", "ok falsetruetrue"),
            ("\\1", "invalid escape sequence"),
        ];
        for (pattern, expected) in expected {
            let actual = match compile(pattern) {
                Ok(regex) => {
                    format!("ok {}{}{}", regex.is_match("a.b"), regex.is_match("["), regex.is_match("&"))
                }
                Err(error) => error.description.to_owned(),
            };
            assert_eq!(actual, expected, "{pattern}");
        }
    }

    #[test]
    fn the_whole_text_must_match() {
        let regex = compile("a|ab.*").unwrap();
        assert!(regex.is_match("a") && regex.is_match("abc"));
        assert!(!regex.is_match("ba") && !regex.is_match("ac") && !regex.is_match("a\n"));
    }

    proptest! {
        #[test]
        fn any_text_compiles_or_is_refused(pattern in "[\\[\\](){}*+?|\\\\^$.&~:,<>=!a-dQEPpx0-9-]{0,24}") {
            if let Ok(regex) = compile(&pattern) {
                regex.is_match("abc");
            }
        }
    }
}
