//! What options a tool has, and reading a command line by them.

use std::collections::BTreeMap;

use super::Parsed;
use crate::error::ToolError;
use crate::output;

/// The version that `--version` prints: that of the Kafka whose tools these are.
pub const KAFKA_VERSION: &str = "4.4.0";

/// Whose rules a command line follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `--help` is wrong use (exit code 1, standard error); values may follow `=`; no positional arguments.
    Jopt,
    /// `--help` is an answer (exit code 0, standard output).
    Argparse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    One,
    /// A value that may be left out.
    Optional,
    /// Every word until the next option.
    Many,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Int,
    Long,
    Double,
}

#[derive(Debug, Clone)]
struct Spec {
    name: &'static str,
    value: &'static str,
    help: &'static str,
    takes: Takes,
    kind: Kind,
}

/// The options of a tool.
#[derive(Debug, Clone)]
pub struct Parser {
    about: &'static str,
    style: Style,
    specs: Vec<Spec>,
    aliases: BTreeMap<&'static str, &'static str>,
    removed: BTreeMap<&'static str, &'static str>,
    positional: bool,
}

impl Parser {
    /// The options of a tool that says this about itself. `--help` and `--version` are among them.
    pub fn new(about: &'static str) -> Parser {
        Parser {
            about,
            style: Style::Jopt,
            specs: Vec::new(),
            aliases: BTreeMap::new(),
            removed: BTreeMap::new(),
            positional: false,
        }
        .flag("help", "Print usage information.")
        .flag("version", "Display Kafka version.")
        .text("output", "text|json", "What to print: Kafka's text, or one JSON object. (default: text)")
        .removed("zookeeper", "ZooKeeper is no longer supported. Use --bootstrap-server instead.")
    }

    pub fn style(mut self, style: Style) -> Parser {
        self.style = style;
        self
    }

    fn with(
        mut self,
        name: &'static str,
        value: &'static str,
        help: &'static str,
        takes: Takes,
        kind: Kind,
    ) -> Parser {
        self.specs.push(Spec { name, value, help, takes, kind });
        self
    }

    /// An option without a value.
    pub fn flag(self, name: &'static str, help: &'static str) -> Parser {
        self.with(name, "", help, Takes::Nothing, Kind::Text)
    }

    /// An option with a text.
    pub fn text(self, name: &'static str, value: &'static str, help: &'static str) -> Parser {
        self.with(name, value, help, Takes::One, Kind::Text)
    }

    /// An option whose text may be left out.
    pub fn optional_text(self, name: &'static str, value: &'static str, help: &'static str) -> Parser {
        self.with(name, value, help, Takes::Optional, Kind::Text)
    }

    /// An option with one or more texts.
    pub fn texts(self, name: &'static str, value: &'static str, help: &'static str) -> Parser {
        self.with(name, value, help, Takes::Many, Kind::Text)
    }

    pub fn int(self, name: &'static str, value: &'static str, help: &'static str) -> Parser {
        self.with(name, value, help, Takes::One, Kind::Int)
    }

    pub fn long(self, name: &'static str, value: &'static str, help: &'static str) -> Parser {
        self.with(name, value, help, Takes::One, Kind::Long)
    }

    pub fn double(self, name: &'static str, value: &'static str, help: &'static str) -> Parser {
        self.with(name, value, help, Takes::One, Kind::Double)
    }

    /// Another name of an option (a deprecated spelling, or a short one).
    pub fn alias(mut self, other: &'static str, name: &'static str) -> Parser {
        self.aliases.insert(other, name);
        self
    }

    /// An option that there was once; it is answered with what to do instead.
    pub fn removed(mut self, name: &'static str, instead: &'static str) -> Parser {
        self.removed.insert(name, instead);
        self
    }

    /// Words that are not options are allowed.
    pub fn positional(mut self) -> Parser {
        self.positional = true;
        self
    }

    /// `--bootstrap-server` and `--command-config`.
    pub fn bootstrap(self) -> Parser {
        self.text("bootstrap-server", "server to connect to", "REQUIRED: The Kafka server to connect to.")
            .text(
                "command-config",
                "command config property file",
                "Property file containing configs to be passed to Admin Client.",
            )
    }

    /// Also `--bootstrap-controller`.
    pub fn bootstrap_or_controller(self) -> Parser {
        self.bootstrap().text(
            "bootstrap-controller",
            "controller to connect to",
            "The Kafka controllers to connect to.",
        )
    }

    /// The options as text.
    pub fn help(&self) -> String {
        let mut specs: Vec<&Spec> = self.specs.iter().collect();
        specs.sort_by_key(|s| s.name);
        let mut text = format!("{:<40} {}\n{:<40} {}\n", "Option", "Description", "------", "-----------");
        for spec in specs {
            let mut name = format!("--{}", spec.name);
            for (alias, _) in self.aliases.iter().filter(|(_, of)| **of == spec.name) {
                name.push_str(&format!(", --{alias}"));
            }
            let kind = match spec.kind {
                Kind::Text => "String",
                Kind::Int => "Integer",
                Kind::Long => "Long",
                Kind::Double => "Double",
            };
            match spec.takes {
                Takes::Nothing => {}
                Takes::Optional => name.push_str(&format!(" [{kind}: {}]", spec.value)),
                Takes::One | Takes::Many => name.push_str(&format!(" <{kind}: {}>", spec.value)),
            }
            wrap_into(&mut text, &name, spec.help);
        }
        text
    }

    /// Wrong use, with the options.
    pub fn usage(&self, message: impl Into<String>) -> ToolError {
        ToolError::Usage { message: message.into(), help: self.help() }
    }

    /// Reads a command line. `--help`, `--version` and no arguments at all are answered here.
    ///
    /// # Errors
    /// What ends the tool: wrong use, or an answer that has been given.
    pub fn parse(&self, args: &[String]) -> Result<Parsed, ToolError> {
        let parsed = self.parse_words(args)?;
        if args.is_empty() || parsed.has("help") {
            if self.style == Style::Argparse && parsed.has("help") {
                output::line(format!("{}\n\n{}", self.about, self.help()));
                return Err(ToolError::Exit(0));
            }
            return Err(self.usage(self.about));
        }
        if parsed.has("version") {
            output::line(KAFKA_VERSION);
            return Err(ToolError::Exit(0));
        }
        Ok(parsed)
    }

    fn find(&self, name: &str) -> Result<&Spec, ToolError> {
        let name = self.aliases.get(name).copied().unwrap_or(name);
        if let Some(spec) = self.specs.iter().find(|s| s.name == name) {
            return Ok(spec);
        }
        Err(match self.removed.get(name) {
            Some(instead) => ToolError::message(format!("{name} is not a recognized option. {instead}")),
            None => ToolError::message(format!("{name} is not a recognized option")),
        })
    }

    fn is_option(&self, word: &str) -> bool {
        word.starts_with('-') && word.len() > 1
    }

    fn parse_words(&self, args: &[String]) -> Result<Parsed, ToolError> {
        let mut parsed = Parsed::default();
        let mut words = args.iter().peekable();
        while let Some(word) = words.next() {
            if word == "--" {
                for rest in words.by_ref() {
                    self.positional_word(&mut parsed, rest)?;
                }
                break;
            }
            let name = match word.strip_prefix("--").or_else(|| word.strip_prefix('-')) {
                Some(name) if !name.is_empty() => name,
                _ => {
                    self.positional_word(&mut parsed, word)?;
                    continue;
                }
            };
            let (name, inline) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (name, None),
            };
            let spec = self.find(name)?;
            parsed.saw(spec.name);
            match (spec.takes, inline) {
                (Takes::Nothing, _) => parsed.add_flag(spec.name),
                (_, Some(value)) => self.take(&mut parsed, spec, value)?,
                (Takes::One, None) => match words.next() {
                    Some(value) => self.take(&mut parsed, spec, value)?,
                    None => {
                        return Err(ToolError::message(format!("Option {} requires an argument", spec.name)));
                    }
                },
                (Takes::Optional, None) => match words.next_if(|w| !self.is_option(w)) {
                    Some(value) => self.take(&mut parsed, spec, value)?,
                    None => parsed.add_flag(spec.name),
                },
                (Takes::Many, None) => {
                    parsed.add_flag(spec.name);
                    while let Some(value) = words.next_if(|w| !self.is_option(w)) {
                        self.take(&mut parsed, spec, value)?;
                    }
                }
            }
        }
        Ok(parsed)
    }

    fn positional_word(&self, parsed: &mut Parsed, word: &str) -> Result<(), ToolError> {
        // joptsimple keeps such words and no tool of Kafka reads them, so only argparse4j's rules refuse them.
        if !self.positional && self.style == Style::Argparse {
            return Err(self.usage(format!("unrecognized arguments: '{word}'")));
        }
        parsed.add_word(word);
        Ok(())
    }

    fn take(&self, parsed: &mut Parsed, spec: &Spec, value: &str) -> Result<(), ToolError> {
        let good = match spec.kind {
            Kind::Text => true,
            Kind::Int => value.parse::<i32>().is_ok(),
            Kind::Long => value.parse::<i64>().is_ok(),
            Kind::Double => value.parse::<f64>().is_ok(),
        };
        if !good {
            return Err(ToolError::message(format!(
                "Cannot parse argument '{value}' of option {}",
                spec.name
            )));
        }
        parsed.add_value(spec.name, value);
        Ok(())
    }

    /// Fails unless all these options are there.
    pub fn require(&self, parsed: &Parsed, names: &[&str]) -> Result<(), ToolError> {
        match names.iter().find(|n| !parsed.has(n)) {
            Some(name) => Err(self.usage(format!("Missing required argument \"[{name}]\""))),
            None => Ok(()),
        }
    }

    /// Fails when `used` is there together with one of the others.
    pub fn forbid(&self, parsed: &Parsed, used: &str, others: &[&str]) -> Result<(), ToolError> {
        if !parsed.has(used) {
            return Ok(());
        }
        match others.iter().find(|n| parsed.has(n)) {
            Some(name) => {
                Err(self.usage(format!("Option \"[{used}]\" can't be used with option \"[{name}]\"")))
            }
            None => Ok(()),
        }
    }

    /// Fails unless exactly one of these options is there.
    pub fn exactly_one(&self, parsed: &Parsed, names: &[&str]) -> Result<(), ToolError> {
        if names.iter().filter(|n| parsed.has(n)).count() == 1 {
            return Ok(());
        }
        let names: Vec<String> = names.iter().map(|n| format!("[{n}]")).collect();
        Err(self.usage(format!("Exactly one of the following arguments is required: {}", names.join(", "))))
    }
}

/// A name in the left column, its text wrapped in the right one.
fn wrap_into(text: &mut String, name: &str, help: &str) {
    const LEFT: usize = 40;
    const RIGHT: usize = 40;
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in help.split_whitespace() {
        if !line.is_empty() && line.len() + 1 + word.len() > RIGHT {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    let mut lines = lines.into_iter();
    if name.chars().count() <= LEFT {
        text.push_str(&format!("{name:<LEFT$} {}\n", lines.next().unwrap_or_default()));
    } else {
        text.push_str(&format!("{name}\n"));
    }
    for line in lines {
        text.push_str(&format!("{:<LEFT$}   {line}\n", ""));
    }
}

#[cfg(test)]
mod tests;
