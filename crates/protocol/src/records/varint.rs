//! Zig-zag varints of records: at most 5 bytes for 32 bits and 10 bytes for 64 bits.

/// What a varint can be wrong about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VarintError {
    /// The bytes end within the number.
    End,
    /// The number has more bytes than its type allows; these are the bits so far.
    TooLong(u32),
}

/// Reads a zig-zag varint from the front of `bytes` and moves `bytes` behind it.
#[inline]
pub(super) fn varint(bytes: &mut &[u8]) -> Result<i32, VarintError> {
    let mut value = 0u32;
    for (index, &byte) in bytes.iter().take(5).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return Ok(((value >> 1) as i32) ^ -((value & 1) as i32));
        }
    }
    Err(if bytes.len() < 5 { VarintError::End } else { VarintError::TooLong(value) })
}

/// Reads a zig-zag varlong from the front of `bytes` and moves `bytes` behind it.
#[inline]
pub(super) fn varlong(bytes: &mut &[u8]) -> Result<i64, VarintError> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return Ok(((value >> 1) as i64) ^ -((value & 1) as i64));
        }
    }
    Err(if bytes.len() < 10 { VarintError::End } else { VarintError::TooLong(value as u32) })
}

/// Appends a zig-zag varint.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, value: i32) {
    let mut bits = ((value << 1) ^ (value >> 31)) as u32;
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

/// Appends a zig-zag varlong.
#[inline]
pub fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

/// Bytes that [`put_varint`] writes.
#[inline]
pub const fn varint_size(value: i32) -> usize {
    let bits = ((value << 1) ^ (value >> 31)) as u32;
    (38 - bits.leading_zeros() as usize) / 7 + (bits == 0) as usize
}

/// Bytes that [`put_varlong`] writes.
#[inline]
pub const fn varlong_size(value: i64) -> usize {
    let bits = ((value << 1) ^ (value >> 63)) as u64;
    (70 - bits.leading_zeros() as usize) / 7 + (bits == 0) as usize
}
