//! What is sent to a system, and by whom.

pub mod admin;
pub mod committed;
pub mod fetch;
pub mod floor;
pub mod java;
pub mod librdkafka;
pub mod open_loop;
pub mod raw;
pub mod rpc;
pub mod transactional;

/// Record values of one size that compress about as well as JSON does: words of a small vocabulary and numbers.
/// `count` different ones, always the same.
pub fn payloads(size: usize, count: usize) -> Vec<Vec<u8>> {
    const WORDS: [&str; 16] = [
        "order", "customer", "status", "created", "amount", "currency", "region", "device", "session",
        "latency", "payload", "version", "pending", "shipped", "reason", "quantity",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..count)
        .map(|_| {
            let mut out = Vec::with_capacity(size + 32);
            while out.len() < size {
                let n = next();
                out.extend_from_slice(WORDS[(n % 16) as usize].as_bytes());
                out.extend_from_slice(format!("\":{:x},\"", (n >> 16) & 0xff_ffff).as_bytes());
            }
            out.truncate(size);
            out
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn payloads_have_their_size_and_repeat() {
        let one = super::payloads(100, 3);
        assert!(one.iter().all(|p| p.len() == 100));
        assert_eq!(one, super::payloads(100, 3));
        assert_ne!(one[0], one[1]);
    }
}
