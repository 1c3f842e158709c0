//! Round trips, budgets and hostile inputs of every codec.

use super::*;

fn sample(len: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    (0..len)
        .map(|i| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if i % 3 == 0 { b'a' + (state % 7) as u8 } else { b"kafka"[i % 5] }
        })
        .collect()
}

#[test]
fn every_codec_and_level_returns_what_it_was_given() {
    for len in [0, 1, 15, 16, 17, 1000, 65_535, 65_536, 65_537, 300_000] {
        let content = sample(len);
        for codec in Codec::ALL {
            let levels: &[i32] = match codec {
                Codec::Gzip => &[-1, 1, 6, 9],
                Codec::Lz4 => &[1, 9, 17],
                Codec::Zstd => &[-7, 1, 3, 22],
                Codec::None | Codec::Snappy => &[0],
            };
            for &level in levels {
                let mut packed = Vec::new();
                compress(Compression { codec, level }, &content, &mut packed).expect("compresses");
                assert_eq!(
                    decompress(codec, &packed, len).expect("decompresses"),
                    content,
                    "{codec} {level} {len}"
                );
                if len > 0 {
                    assert_eq!(
                        decompress(codec, &packed, len - 1),
                        Err(CompressionError::BudgetExceeded { budget_bytes: len - 1 }),
                        "{codec} {level} {len}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_bomb_stops_at_the_budget() {
    let zeros = vec![0u8; 64 << 20];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut packed = Vec::new();
        compress(Compression::of(codec), &zeros, &mut packed).expect("compresses");
        let mut out = Vec::new();
        let result = Decompressor::default().decompress(codec, &packed, 1 << 20, &mut out);
        assert_eq!(result, Err(CompressionError::BudgetExceeded { budget_bytes: 1 << 20 }), "{codec}");
        assert!(out.capacity() <= 4 << 20, "{codec} grew to {}", out.capacity());
    }
}

#[test]
fn truncated_and_flipped_streams_never_panic_or_pass_the_budget() {
    let content = sample(5000);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut packed = Vec::new();
        compress(Compression::of(codec), &content, &mut packed).expect("compresses");
        let mut decompressor = Decompressor::default();
        for cut in 0..packed.len() {
            let mut out = Vec::new();
            let _ = decompressor.decompress(codec, &packed[..cut], 8192, &mut out);
            assert!(out.len() <= 8192 + 128 * 1024);
        }
        for at in 0..packed.len().min(600) {
            for bit in 0..8 {
                let mut bad = packed.clone();
                bad[at] ^= 1 << bit;
                let mut out = Vec::new();
                if decompressor.decompress(codec, &bad, 8192, &mut out).is_ok() {
                    assert!(out.len() <= 8192);
                }
            }
        }
        let mut out = Vec::new();
        decompressor.decompress(codec, &packed, 8192, &mut out).expect("a context survives bad input");
        assert_eq!(out, content);
    }
}

#[test]
fn a_damaged_block_is_no_matter_of_the_budget() {
    let content = sample(20_000);
    let mut packed = Vec::new();
    compress(Compression::of(Codec::Lz4), &content, &mut packed).expect("compresses");
    let exceeded = Err(CompressionError::BudgetExceeded { budget_bytes: 5000 });
    assert_eq!(decompress(Codec::Lz4, &packed, 5000), exceeded);
    // Behind the header and the size of the block: no literals at first, but bytes that came before.
    packed[11] = 0x0f;
    for budget_bytes in [5000, 20_000, 1 << 20] {
        let error = decompress(Codec::Lz4, &packed, budget_bytes).expect_err("damaged");
        assert!(matches!(error, CompressionError::Corrupt { .. }), "{error}");
    }
}

#[test]
fn a_bare_snappy_block_is_read() {
    let content = sample(1000);
    let packed = snap::raw::Encoder::new().compress_vec(&content).expect("compresses");
    assert_eq!(decompress(Codec::Snappy, &packed, 1000).expect("reads"), content);
}

#[test]
fn members_of_gzip_are_joined_and_garbage_after_them_is_ignored() {
    let mut packed = Vec::new();
    compress(Compression::of(Codec::Gzip), b"one", &mut packed).expect("compresses");
    compress(Compression::of(Codec::Gzip), b"two", &mut packed).expect("compresses");
    packed.extend_from_slice(b"xyz");
    assert_eq!(decompress(Codec::Gzip, &packed, 100).expect("reads"), b"onetwo");
}

#[test]
fn lz4_levels_search_deeper_and_read_the_same() {
    // Words of a small vocabulary in an order that repeats only in parts.
    let mut state = 7u64;
    let text: Vec<u8> = (0..40_000)
        .flat_map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("word{} ", (state >> 33) % 500).into_bytes()
        })
        .collect();
    let sizes: Vec<usize> = [9, 3, 12, 17]
        .into_iter()
        .map(|level| {
            let mut out = Vec::new();
            compress(Compression { codec: Codec::Lz4, level }, &text, &mut out).unwrap();
            assert_eq!(decompress(Codec::Lz4, &out, text.len()).unwrap(), text, "level {level}");
            out.len()
        })
        .collect();
    let [fast, low, high, highest] = sizes[..] else { unreachable!() };
    assert!(low < fast && high < low && highest <= high, "{sizes:?}");
}
