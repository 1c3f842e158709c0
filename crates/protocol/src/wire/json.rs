//! Messages as the JSON that Kafka's own converters print (tools, request logs).

use bytes::Bytes;

use crate::types::{Str, Uuid};

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Builds one JSON text without spaces, as Jackson does.
#[derive(Debug, Default)]
pub struct JsonWriter {
    out: String,
    first: bool,
}

impl JsonWriter {
    pub fn new() -> JsonWriter {
        JsonWriter { out: String::new(), first: true }
    }

    pub fn into_string(self) -> String {
        self.out
    }

    fn separator(&mut self) {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
    }

    pub fn begin_object(&mut self) {
        self.out.push('{');
        self.first = true;
    }

    pub fn end_object(&mut self) {
        self.out.push('}');
        self.first = false;
    }

    pub fn begin_array(&mut self) {
        self.out.push('[');
        self.first = true;
    }

    pub fn end_array(&mut self) {
        self.out.push(']');
        self.first = false;
    }

    pub fn key(&mut self, name: &str) {
        self.separator();
        self.text(name);
        self.out.push(':');
    }

    /// Goes before each element of an array.
    pub fn element(&mut self) {
        self.separator();
    }

    pub fn null(&mut self) {
        self.out.push_str("null");
    }

    pub fn bool(&mut self, value: bool) {
        self.out.push_str(if value { "true" } else { "false" });
    }

    pub fn number(&mut self, value: i64) {
        self.out.push_str(&value.to_string());
    }

    /// A double as Java prints it: at least one digit after the point, exponents outside 1e-3..1e7.
    pub fn float64(&mut self, value: f64) {
        if !value.is_finite() {
            let name = if value.is_nan() {
                "\"NaN\""
            } else if value > 0.0 {
                "\"Infinity\""
            } else {
                "\"-Infinity\""
            };
            self.out.push_str(name);
        } else if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
            self.out.push_str(&format!("{value:?}"));
        } else {
            let text = format!("{value:e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let point = if digits.contains('.') { "" } else { ".0" };
            self.out.push_str(&format!("{digits}{point}E{exponent}"));
        }
    }

    pub fn string(&mut self, value: &Str) {
        self.text(value);
    }

    pub fn uuid(&mut self, value: Uuid) {
        self.text(&value.to_string());
    }

    /// Bytes in base64.
    pub fn bytes(&mut self, value: &Bytes) {
        self.out.push('"');
        for chunk in value.chunks(3) {
            let n = (u32::from(chunk[0]) << 16)
                | (u32::from(*chunk.get(1).unwrap_or(&0)) << 8)
                | u32::from(*chunk.get(2).unwrap_or(&0));
            for i in 0..4 {
                let digit = BASE64[(n >> (18 - 6 * i)) as usize & 63] as char;
                self.out.push(if i <= chunk.len() { digit } else { '=' });
            }
        }
        self.out.push('"');
    }

    /// A JSON string; non-ASCII characters stay as they are.
    pub fn text(&mut self, value: &str) {
        self.out.push('"');
        for c in value.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                c if (c as u32) < 0x20 => self.out.push_str(&format!("\\u{:04X}", c as u32)),
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}
