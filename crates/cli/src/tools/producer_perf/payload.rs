//! What is sent: random letters, lines of a file, or numbers.

use bytes::Bytes;

use crate::args::Parsed;
use crate::error::ToolError;
use crate::output;

/// A repeatable sequence (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    pub fn new(seed: i64) -> Random {
        Random { state: seed as u64 }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// Where values come from.
#[derive(Debug)]
pub enum Payload {
    Random(usize),
    Lines(Vec<Bytes>),
    Monotonic,
}

impl Payload {
    pub fn new(options: &Parsed) -> Result<Payload, ToolError> {
        if let Some(path) = options.text("payload-file") {
            let shown = std::path::absolute(path).unwrap_or_else(|_| path.into());
            output::line(format!("Reading payloads from: {}", shown.display()));
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if text.is_empty() {
                return Err(ToolError::message("File does not exist or empty file provided."));
            }
            let delimiter = match options.text("payload-delimiter") {
                None | Some("\\n") => "\n",
                Some(other) => other,
            };
            let text = text.strip_suffix(delimiter).unwrap_or(&text);
            let lines: Vec<Bytes> =
                text.split(delimiter).map(|l| Bytes::copy_from_slice(l.as_bytes())).collect();
            output::line(format!("Number of records read: {}", lines.len()));
            return Ok(Payload::Lines(lines));
        }
        Ok(match options.int("record-size") {
            Some(size) => Payload::Random(usize::try_from(size).unwrap_or(0)),
            None => Payload::Monotonic,
        })
    }

    pub fn next(&self, i: i64, random: &mut Random) -> Bytes {
        match self {
            Payload::Random(size) => (0..*size).map(|_| b'A' + random.below(26) as u8).collect(),
            Payload::Lines(lines) => lines[random.below(lines.len() as u64) as usize].clone(),
            Payload::Monotonic => Bytes::from(i.to_string()),
        }
    }
}
