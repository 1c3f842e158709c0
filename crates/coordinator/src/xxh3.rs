//! XXH3 with 64 bits and seed 0, over one buffer. What Kafka hashes topic metadata with (KIP-1101).
//!
//! Source: the algorithm's public specification (xxHash, `xxhash_spec.md`).

const PRIME32_1: u64 = 0x9E37_79B1;
const PRIME32_2: u64 = 0x85EB_CA77;
const PRIME32_3: u64 = 0xC2B2_AE3D;
const PRIME64_1: u64 = 0x9E37_79B1_85EB_CA87;
const PRIME64_2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const PRIME64_3: u64 = 0x1656_67B1_9E37_79F9;
const PRIME64_4: u64 = 0x85EB_CA77_C2B2_AE63;
const PRIME64_5: u64 = 0x27D4_EB2F_1656_67C5;
const PRIME_MX1: u64 = 0x1656_6791_9E37_79F9;
const PRIME_MX2: u64 = 0x9FB2_1C65_1E98_DF25;

const STRIPE: usize = 64;
const SECRET_CONSUME: usize = 8;

#[rustfmt::skip]
const SECRET: [u8; 192] = [
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c, 0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f, 0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21, 0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c, 0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3, 0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8, 0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d, 0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64, 0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb, 0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e, 0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce, 0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
];

fn u32_at(data: &[u8], at: usize) -> u64 {
    let mut bytes = [0u8; 4];
    bytes.copy_from_slice(&data[at..at + 4]);
    u64::from(u32::from_le_bytes(bytes))
}

fn u64_at(data: &[u8], at: usize) -> u64 {
    let mut bytes = [0u8; 8];
    bytes.copy_from_slice(&data[at..at + 8]);
    u64::from_le_bytes(bytes)
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

fn avalanche(mut hash: u64) -> u64 {
    hash ^= hash >> 37;
    hash = hash.wrapping_mul(PRIME_MX1);
    hash ^ (hash >> 32)
}

fn avalanche_xxh64(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(PRIME64_2);
    hash ^= hash >> 29;
    hash = hash.wrapping_mul(PRIME64_3);
    hash ^ (hash >> 32)
}

fn mix16(data: &[u8], at: usize, secret_at: usize) -> u64 {
    fold(u64_at(data, at) ^ u64_at(&SECRET, secret_at), u64_at(data, at + 8) ^ u64_at(&SECRET, secret_at + 8))
}

/// The hash of `data` with seed 0.
pub(crate) fn xxh3_64(data: &[u8]) -> u64 {
    match data.len() {
        0..=16 => hash_short(data),
        17..=128 => hash_17_to_128(data),
        129..=240 => hash_129_to_240(data),
        _ => hash_long(data),
    }
}

fn hash_short(data: &[u8]) -> u64 {
    let len = data.len();
    if len > 8 {
        let flip1 = u64_at(&SECRET, 24) ^ u64_at(&SECRET, 32);
        let flip2 = u64_at(&SECRET, 40) ^ u64_at(&SECRET, 48);
        let low = u64_at(data, 0) ^ flip1;
        let high = u64_at(data, len - 8) ^ flip2;
        let sum =
            (len as u64).wrapping_add(low.swap_bytes()).wrapping_add(high).wrapping_add(fold(low, high));
        avalanche(sum)
    } else if len >= 4 {
        let first = u32_at(data, 0);
        let last = u32_at(data, len - 4);
        let flip = u64_at(&SECRET, 8) ^ u64_at(&SECRET, 16);
        let mut hash = last.wrapping_add(first << 32) ^ flip;
        hash ^= hash.rotate_left(49) ^ hash.rotate_left(24);
        hash = hash.wrapping_mul(PRIME_MX2);
        hash ^= (hash >> 35).wrapping_add(len as u64);
        hash = hash.wrapping_mul(PRIME_MX2);
        hash ^ (hash >> 28)
    } else if len > 0 {
        let combined = (u64::from(data[0]) << 16)
            | (u64::from(data[len >> 1]) << 24)
            | u64::from(data[len - 1])
            | ((len as u64) << 8);
        avalanche_xxh64(combined ^ (u32_at(&SECRET, 0) ^ u32_at(&SECRET, 4)))
    } else {
        avalanche_xxh64(u64_at(&SECRET, 56) ^ u64_at(&SECRET, 64))
    }
}

fn hash_17_to_128(data: &[u8]) -> u64 {
    let len = data.len();
    let mut sum = (len as u64).wrapping_mul(PRIME64_1);
    for round in (0..=(len - 1) / 32).rev() {
        sum = sum.wrapping_add(mix16(data, 16 * round, 32 * round));
        sum = sum.wrapping_add(mix16(data, len - 16 * (round + 1), 32 * round + 16));
    }
    avalanche(sum)
}

fn hash_129_to_240(data: &[u8]) -> u64 {
    let len = data.len();
    let mut sum = (len as u64).wrapping_mul(PRIME64_1);
    for round in 0..8 {
        sum = sum.wrapping_add(mix16(data, 16 * round, 16 * round));
    }
    sum = avalanche(sum);
    for round in 8..len / 16 {
        sum = sum.wrapping_add(mix16(data, 16 * round, 16 * (round - 8) + 3));
    }
    sum = sum.wrapping_add(mix16(data, len - 16, 136 - 17));
    avalanche(sum)
}

fn accumulate(lanes: &mut [u64; 8], stripe: &[u8], secret_at: usize) {
    for lane in 0..8 {
        let value = u64_at(stripe, 8 * lane);
        let keyed = value ^ u64_at(&SECRET, secret_at + 8 * lane);
        lanes[lane ^ 1] = lanes[lane ^ 1].wrapping_add(value);
        lanes[lane] = lanes[lane].wrapping_add((keyed & 0xFFFF_FFFF).wrapping_mul(keyed >> 32));
    }
}

fn hash_long(data: &[u8]) -> u64 {
    let mut lanes = [PRIME32_3, PRIME64_1, PRIME64_2, PRIME64_3, PRIME64_4, PRIME32_2, PRIME64_5, PRIME32_1];
    let stripes_per_block = (SECRET.len() - STRIPE) / SECRET_CONSUME;
    let block = STRIPE * stripes_per_block;
    let blocks = (data.len() - 1) / block;
    for index in 0..blocks {
        for stripe in 0..stripes_per_block {
            let at = index * block + stripe * STRIPE;
            accumulate(&mut lanes, &data[at..at + STRIPE], stripe * SECRET_CONSUME);
        }
        for (lane, value) in lanes.iter_mut().enumerate() {
            *value ^= *value >> 47;
            *value ^= u64_at(&SECRET, SECRET.len() - STRIPE + 8 * lane);
            *value = value.wrapping_mul(PRIME32_1);
        }
    }
    let rest = &data[blocks * block..];
    for stripe in 0..(rest.len() - 1) / STRIPE {
        accumulate(&mut lanes, &rest[stripe * STRIPE..(stripe + 1) * STRIPE], stripe * SECRET_CONSUME);
    }
    accumulate(&mut lanes, &data[data.len() - STRIPE..], SECRET.len() - STRIPE - 7);
    let mut sum = (data.len() as u64).wrapping_mul(PRIME64_1);
    for pair in 0..4 {
        sum = sum.wrapping_add(fold(
            lanes[2 * pair] ^ u64_at(&SECRET, 11 + 16 * pair),
            lanes[2 * pair + 1] ^ u64_at(&SECRET, 11 + 16 * pair + 8),
        ));
    }
    avalanche(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with the reference implementation over bytes `7 i + 3`, one length per branch and boundary.
    #[test]
    fn hashes_are_those_of_the_reference() {
        let data: Vec<u8> = (0..3000u32).map(|i| (i * 7 + 3) as u8).collect();
        let expected = [
            (0, 0x2d06_8005_38d3_94c2),
            (1, 0x13e6_08bc_156d_efed),
            (3, 0xa908_8dda_485b_481c),
            (4, 0x6d92_53b1_6c8b_1ed3),
            (8, 0x6053_9db6_3047_1163),
            (9, 0xfeff_6683_61d7_23a8),
            (16, 0xb8c8_59b0_f030_b585),
            (17, 0x714a_0440_8e79_b80f),
            (32, 0x19ff_4ee1_d6ba_1a55),
            (33, 0x3e44_983a_d216_79c8),
            (64, 0x287e_b1fa_9e4b_e2c1),
            (96, 0xf084_e7cf_bc62_4743),
            (128, 0x6742_5a03_6502_61bf),
            (129, 0xc664_bf33_11c6_abc4),
            (160, 0xd70d_ea8d_e694_b883),
            (240, 0x6455_6dc6_b462_a6cf),
            (241, 0x8bea_dd3a_8874_fe17),
            (512, 0xf582_02b8_d901_9d1d),
            (1024, 0x9b81_661c_641c_72b1),
            (1025, 0x806c_2072_ed71_3576),
            (2048, 0xabe6_0481_3ba6_2ed1),
            (2999, 0xc61d_8aac_87f8_6f7a),
        ];
        for (len, hash) in expected {
            assert_eq!(xxh3_64(&data[..len]), hash, "{len}");
        }
    }
}
