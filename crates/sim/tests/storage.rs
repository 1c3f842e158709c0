//! Two hundred lives of a node's log directories; `cargo xtask sim storage` lives many more.

use ottla_sim::storage;

const SEEDS: u64 = 200;

#[test]
fn nothing_that_was_promised_is_lost() {
    for seed in 0..SEEDS {
        let outcome = storage::run(seed, false);
        if let Some(failure) = outcome.failure {
            panic!("seed {seed}: {failure}\nagain: cargo xtask sim storage --seed {seed}");
        }
    }
}

#[test]
fn a_seed_is_a_life() {
    for seed in 0..10 {
        let (one, two) = (storage::run(seed, false), storage::run(seed, false));
        assert_eq!(one.trace, two.trace, "seed {seed}");
        assert_ne!(one.trace, storage::run(seed + 1, false).trace);
    }
}
