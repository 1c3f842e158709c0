//! HOT: the last offset of each key, in bounded memory. One look-up or change per record; no allocation there.
//!
//! Keys are not kept, only 128 bits of a keyed hash: 24 bytes a key with the offset. The hash is SipHash-1-3, whose key
//! the node draws, so that nobody can make two keys fall together.
//!
//! Source: Kafka `SkimpyOffsetMap`, which has MD5.

/// Bytes of an entry: two words of hash, and the offset plus one, so that all zero is an empty slot.
const SLOT_BYTES: u64 = 24;
/// Slots of the smallest table.
const MIN_SLOTS: u64 = 64;

type Slot = [u64; 3];

/// The last offset of each key.
#[derive(Debug)]
pub struct OffsetMap {
    table: Vec<Slot>,
    entries: usize,
    max_entries: usize,
    max_slots: u64,
    load_factor: f64,
    latest_offset: i64,
    key: (u64, u64),
}

impl OffsetMap {
    /// A map that takes at most `memory_bytes`, and fills at most `load_factor` of them.
    pub fn new(memory_bytes: u64, load_factor: f64, key: u128) -> Self {
        OffsetMap {
            table: Vec::new(),
            entries: 0,
            max_entries: 0,
            max_slots: (memory_bytes / SLOT_BYTES).max(MIN_SLOTS),
            load_factor: if load_factor.is_finite() { load_factor.clamp(0.01, 0.99) } else { 0.9 },
            latest_offset: -1,
            key: (key as u64, (key >> 64) as u64),
        }
    }

    /// Empties the map and makes room for `expected` keys, as far as its memory goes. Pages of the table are taken from
    /// the system when they are first written to.
    pub fn reset(&mut self, expected: u64) {
        let wanted = ((expected as f64 / self.load_factor) as u64).saturating_add(1);
        let slots = wanted.clamp(MIN_SLOTS, self.max_slots) as usize;
        self.table = Vec::new();
        self.table = vec![[0; 3]; slots];
        self.max_entries = ((slots as f64 * self.load_factor) as usize).clamp(1, slots - 1);
        self.entries = 0;
        self.latest_offset = -1;
    }

    /// Gives the memory back.
    pub fn release(&mut self) {
        self.table = Vec::new();
        self.max_entries = 0;
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Share of the memory it may take that is in use, from 0 to 1.
    pub fn utilization(&self) -> f64 {
        self.entries as f64 / self.max_slots as f64
    }

    /// Up to where the log is in the map.
    pub fn latest_offset(&self) -> i64 {
        self.latest_offset
    }

    /// Says that the log is in the map up to `offset`.
    pub fn set_latest_offset(&mut self, offset: i64) {
        self.latest_offset = offset;
    }

    /// The slot of a key, or the empty one where it belongs.
    #[inline]
    fn find(&self, hash: (u64, u64)) -> usize {
        let slots = self.table.len();
        let mut at = ((u128::from(hash.0) * slots as u128) >> 64) as usize;
        loop {
            let slot = &self.table[at];
            if slot[2] == 0 || (slot[0] == hash.0 && slot[1] == hash.1) {
                return at;
            }
            at += 1;
            if at == slots {
                at = 0;
            }
        }
    }

    /// Notes that the last record of `key` is at `offset`. Returns false, with nothing done, when the key is new and
    /// there is no room.
    #[inline]
    pub fn put(&mut self, key: &[u8], offset: i64) -> bool {
        let hash = sip128(self.key, key);
        if self.table.is_empty() {
            return false;
        }
        let at = self.find(hash);
        if self.table[at][2] == 0 {
            if self.entries >= self.max_entries {
                return false;
            }
            self.entries += 1;
        }
        self.table[at] = [hash.0, hash.1, (offset as u64).wrapping_add(1)];
        self.latest_offset = offset;
        true
    }

    /// The last offset of `key`, -1 when it is not there.
    #[inline]
    pub fn get(&self, key: &[u8]) -> i64 {
        if self.table.is_empty() {
            return -1;
        }
        (self.table[self.find(sip128(self.key, key))][2] as i64).wrapping_sub(1)
    }
}

#[inline(always)]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}

/// SipHash-1-3 with 128 bits of result. Source: Aumasson, Bernstein: SipHash (2012), and its reference code.
#[inline]
pub(super) fn sip128(key: (u64, u64), bytes: &[u8]) -> (u64, u64) {
    let mut v = [
        key.0 ^ 0x736f_6d65_7073_6575,
        key.1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
        key.0 ^ 0x6c79_6765_6e65_7261,
        key.1 ^ 0x7465_6462_7974_6573,
    ];
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let m = u64::from_le_bytes(*word);
        v[3] ^= m;
        round(&mut v);
        v[0] ^= m;
    }
    let mut last = (bytes.len() as u64) << 56;
    for (at, byte) in rest.iter().enumerate() {
        last |= u64::from(*byte) << (8 * at);
    }
    v[3] ^= last;
    round(&mut v);
    v[0] ^= last;
    v[2] ^= 0xee;
    for _ in 0..3 {
        round(&mut v);
    }
    let low = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    for _ in 0..3 {
        round(&mut v);
    }
    (low, v[0] ^ v[1] ^ v[2] ^ v[3])
}
