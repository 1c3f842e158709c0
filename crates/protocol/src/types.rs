//! The scalar types of the protocol that Rust does not have: shared strings and Kafka's UUIDs.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::str::FromStr;

use bytes::Bytes;

/// An immutable UTF-8 string over shared bytes: a slice of a request's frame, or of a constant.
///
/// Cloning costs a reference count. Note that a `Str` decoded from a frame keeps the whole frame alive;
/// use [`Str::detached`] before storing one for longer than the request.
#[derive(Clone, Default)]
pub struct Str(Bytes);

impl Str {
    pub const EMPTY: Str = Str(Bytes::new());

    pub const fn from_static(text: &'static str) -> Str {
        Str(Bytes::from_static(text.as_bytes()))
    }

    /// Takes bytes that must be UTF-8.
    pub fn from_utf8(bytes: Bytes) -> Result<Str, std::str::Utf8Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Str(bytes))
    }

    pub fn as_str(&self) -> &str {
        // Checked when the value was made: every constructor takes a `str` or validates.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// A copy that owns its own bytes and no larger buffer.
    pub fn detached(&self) -> Str {
        Str(Bytes::copy_from_slice(&self.0))
    }

    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl Deref for Str {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Str {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Str {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Str {
        Str(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Str {
    fn from(text: String) -> Str {
        Str(Bytes::from(text.into_bytes()))
    }
}

impl From<&String> for Str {
    fn from(text: &String) -> Str {
        Str::from(text.as_str())
    }
}

impl From<Str> for String {
    fn from(text: Str) -> String {
        text.as_str().to_owned()
    }
}

impl PartialEq for Str {
    fn eq(&self, other: &Str) -> bool {
        self.0 == other.0
    }
}

impl Eq for Str {}

impl PartialEq<str> for Str {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Str {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<String> for Str {
    fn eq(&self, other: &String) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialOrd for Str {
    fn partial_cmp(&self, other: &Str) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Str {
    fn cmp(&self, other: &Str) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl Hash for Str {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

/// A 128-bit id; its text is url-safe base64 without padding. Source: Kafka `Uuid`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    pub const ZERO: Uuid = Uuid([0; 16]);
    /// Reserved: the id of the metadata topic. Source: Kafka `Uuid.METADATA_TOPIC_ID`.
    pub const ONE: Uuid = Uuid::from_halves(0, 1);

    pub const fn from_halves(most: u64, least: u64) -> Uuid {
        Uuid((((most as u128) << 64) | least as u128).to_be_bytes())
    }

    /// A version 4 UUID from 16 random bytes that the caller supplies.
    pub fn from_random(mut bytes: [u8; 16]) -> Uuid {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Uuid(bytes)
    }

    /// Whether Kafka keeps the id for itself: the first hundred, and those whose text starts with `-`
    /// are never handed out as random ids.
    pub fn is_reserved(&self) -> bool {
        u128::from_be_bytes(self.0) < 100
    }

    pub fn is_zero(&self) -> bool {
        *self == Uuid::ZERO
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        let mut text = String::with_capacity(22);
        for i in 0..22 {
            let shift = 122 - 6 * i;
            let index = if shift >= 0 { (bits >> shift) & 63 } else { (bits << -shift) & 63 };
            text.push(BASE64[index as usize] as char);
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a Kafka UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a base64 url-encoded 16-byte id of 22 characters")]
pub struct InvalidUuid {
    pub text: String,
}

impl FromStr for Uuid {
    type Err = InvalidUuid;

    fn from_str(text: &str) -> Result<Uuid, InvalidUuid> {
        let invalid = || InvalidUuid { text: text.chars().take(64).collect() };
        let digits = text.trim_end_matches('=');
        if digits.len() != 22 {
            return Err(invalid());
        }
        let mut bits: u128 = 0;
        for (i, b) in digits.bytes().enumerate() {
            let value = BASE64.iter().position(|c| *c == b).ok_or_else(invalid)? as u128;
            // 22 digits carry 132 bits: the last digit gives its upper two only.
            bits = if i < 21 { (bits << 6) | value } else { (bits << 2) | (value >> 4) };
        }
        Ok(Uuid(bits.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_prints_and_parses_as_kafka_does() {
        let id: Uuid = "XtzWWuueT-2BElAFYGGIqA".parse().expect("valid");
        assert_eq!(id.to_string(), "XtzWWuueT-2BElAFYGGIqA");
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(Uuid::ONE.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert!("short".parse::<Uuid>().is_err());
        assert!("!!!!!!!!!!!!!!!!!!!!!!".parse::<Uuid>().is_err());
    }
}
