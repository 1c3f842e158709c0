//! The schema notation: one small file per message, one line per field, nesting by indentation.

/// An inclusive range of versions; `max == i16::MAX` means open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Versions {
    pub min: i16,
    pub max: i16,
}

impl Versions {
    pub fn parse(text: &str) -> Result<Option<Versions>, String> {
        if text == "none" {
            return Ok(None);
        }
        let number = |s: &str| s.parse::<i16>().map_err(|e| format!("version '{s}': {e}"));
        let range = if let Some(min) = text.strip_suffix('+') {
            Versions { min: number(min)?, max: i16::MAX }
        } else if let Some((min, max)) = text.split_once('-') {
            Versions { min: number(min)?, max: number(max)? }
        } else {
            Versions { min: number(text)?, max: number(text)? }
        };
        Ok(Some(range))
    }

    pub fn intersect(self, other: Versions) -> Option<Versions> {
        let (min, max) = (self.min.max(other.min), self.max.min(other.max));
        (min <= max).then_some(Versions { min, max })
    }

    /// A Rust condition on `version`, or None when it holds for the whole of `all`.
    pub fn condition(self, all: Versions) -> Option<String> {
        let low = self.min > all.min;
        let high = self.max < all.max;
        match (low, high) {
            (false, false) => None,
            (true, false) => Some(format!("version >= {}", self.min)),
            (false, true) => Some(format!("version <= {}", self.max)),
            (true, true) if self.min == self.max => Some(format!("version == {}", self.min)),
            (true, true) => Some(format!("({}..={}).contains(&version)", self.min, self.max)),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub name: String,
    /// Element type for arrays, without `[]`.
    pub ty: String,
    pub array: bool,
    pub versions: Versions,
    pub nullable: Option<Versions>,
    pub tag: Option<(u32, Versions)>,
    pub default: Option<String>,
    pub ignorable: bool,
    pub never_flexible: bool,
    pub children: Vec<Field>,
}

#[derive(Debug, Default)]
pub struct Message {
    pub kind: String,
    pub name: String,
    pub key: Option<i16>,
    pub versions: Option<Versions>,
    pub flexible: Option<Versions>,
    pub listeners: Vec<String>,
    pub stable: Option<i16>,
    pub forwardable: bool,
    pub cluster_action: bool,
    pub fields: Vec<Field>,
}

pub fn parse(text: &str) -> Result<Message, String> {
    let mut message = Message::default();
    let mut stack: Vec<(usize, Field)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let at = |e: String| format!("line {}: {e}", number + 1);
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let words: Vec<&str> = trimmed.split_whitespace().collect();
        if message.name.is_empty() {
            let [kind, name] = words[..] else { return Err(at("expected 'kind Name'".into())) };
            message.kind = kind.into();
            message.name = name.into();
            continue;
        }
        match words[..] {
            ["key", key] => message.key = Some(key.parse().map_err(|e| at(format!("{e}")))?),
            ["versions", v] => message.versions = Versions::parse(v).map_err(at)?,
            ["flexible", v] => message.flexible = Versions::parse(v).map_err(at)?,
            ["listeners", l] => message.listeners = l.split(',').map(str::to_owned).collect(),
            ["stable", v] => message.stable = Some(v.parse().map_err(|e| at(format!("{e}")))?),
            ["forwardable"] => message.forwardable = true,
            ["cluster-action"] => message.cluster_action = true,
            _ => {
                let depth = (line.len() - line.trim_start().len()) / 2;
                let field = parse_field(&words).map_err(at)?;
                while stack.last().is_some_and(|(d, _)| *d >= depth) {
                    close(&mut stack, &mut message);
                }
                if depth > stack.len() {
                    return Err(at("nested deeper than its parent".into()));
                }
                stack.push((depth, field));
            }
        }
    }
    while !stack.is_empty() {
        close(&mut stack, &mut message);
    }
    Ok(message)
}

fn close(stack: &mut Vec<(usize, Field)>, message: &mut Message) {
    if let Some((_, field)) = stack.pop() {
        match stack.last_mut() {
            Some((_, parent)) => parent.children.push(field),
            None => message.fields.push(field),
        }
    }
}

fn parse_field(words: &[&str]) -> Result<Field, String> {
    let [name, ty, versions, attributes @ ..] = words else {
        return Err("expected 'Name type versions [attributes]'".into());
    };
    let mut field = Field {
        name: (*name).into(),
        ty: ty.trim_start_matches("[]").into(),
        array: ty.starts_with("[]"),
        versions: Versions::parse(versions)?.ok_or("a field needs versions")?,
        nullable: None,
        tag: None,
        default: None,
        ignorable: false,
        never_flexible: false,
        children: Vec::new(),
    };
    for attribute in attributes {
        match attribute.split_once('=') {
            Some(("nullable", v)) => field.nullable = Versions::parse(v)?,
            Some(("tag", v)) => {
                let (tag, versions) = v.split_once('@').ok_or("tag=N@versions")?;
                let tag = tag.parse().map_err(|e| format!("tag: {e}"))?;
                field.tag = Versions::parse(versions)?.map(|v| (tag, v));
            }
            Some(("default", v)) => field.default = Some(v.into()),
            Some(("flexible", "none")) => field.never_flexible = true,
            Some(("entity", _)) => {}
            None if *attribute == "ignorable" => field.ignorable = true,
            None if *attribute == "key" => {}
            _ => return Err(format!("unknown attribute '{attribute}'")),
        }
    }
    Ok(field)
}

/// `TimeoutMs` -> `timeout_ms`, `KRaftVersion` -> `kraft_version`.
pub fn snake(name: &str) -> String {
    let name = name.replace("KRaft", "Kraft");
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (i, c) in chars.iter().enumerate() {
        if c.is_ascii_uppercase() && i > 0 {
            let before = chars[i - 1];
            let after = chars.get(i + 1);
            if !before.is_ascii_uppercase() || after.is_some_and(char::is_ascii_lowercase) {
                out.push('_');
            }
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

pub fn ident(name: &str) -> String {
    let name = snake(name);
    match name.as_str() {
        "type" | "match" | "ref" | "move" | "in" | "use" => format!("r#{name}"),
        _ => name,
    }
}

pub fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or(String::new(), |c| c.to_lowercase().chain(chars).collect())
}
