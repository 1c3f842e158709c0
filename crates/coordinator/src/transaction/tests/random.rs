//! Random sequences of requests and random bytes.

use std::collections::BTreeMap;

use ottla_protocol::types::Str;
use proptest::prelude::*;

use super::script::World;
use crate::transaction::*;

#[derive(Debug, Clone)]
enum Step {
    Init { id: u8, current: bool },
    Add { id: u8, back: i16, version: i16, partition: i32 },
    End { id: u8, back: i16, version: i16, commit: bool },
    Markers { id: u8, result: u8 },
    Wait(i64),
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    let back = prop_oneof![6 => Just(0i16), 1 => Just(1i16), 1 => Just(-1i16)];
    prop_oneof![
        (0..3u8, any::<bool>()).prop_map(|(id, current)| Step::Init { id, current }),
        (0..3u8, back.clone(), 2..5i16, 0..3).prop_map(|(id, back, version, partition)| Step::Add {
            id,
            back,
            version,
            partition
        }),
        (0..3u8, back, 3..6i16, any::<bool>()).prop_map(|(id, back, version, commit)| Step::End {
            id,
            back,
            version,
            commit
        }),
        (0..3u8, 0..5u8).prop_map(|(id, result)| Step::Markers { id, result }),
        (0..20_000i64).prop_map(Step::Wait),
        Just(Step::Reload),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes in whatever order: no panic, a reload gives the same state, epochs of a producer never go back,
    /// and once markers are written a transaction that was prepared is complete.
    #[test]
    fn any_sequence_keeps_the_log_and_the_state_equal(
        steps in proptest::collection::vec(step(), 1..60),
        transaction_version in 0..3i16,
    ) {
        let mut world = World::new(TxnConfig { transaction_version, ..TxnConfig::kafka_defaults() });
        let mut last: BTreeMap<Str, (i64, i16)> = BTreeMap::new();
        for step in steps {
            let known = |id: u8| {
                let id = Str::from(format!("tx{id}"));
                let found = world.shard.transaction(&id).map(|m| (m.producer_id, m.producer_epoch));
                (id, found.unwrap_or((1, 0)))
            };
            let (line, ends) = match step {
                Step::Init { id, current } => {
                    let (id, (pid, epoch)) = known(id);
                    let line = if current { format!("init i id={id} pid={pid} epoch={epoch}") } else { format!("init i id={id}") };
                    (line, None)
                }
                Step::Add { id, back, version, partition } => {
                    let (id, (pid, epoch)) = known(id);
                    (format!("add a id={id} pid={pid} epoch={} v={version} to=t:{partition}", epoch.saturating_sub(back)), None)
                }
                Step::End { id, back, version, commit } => {
                    let (id, (pid, epoch)) = known(id);
                    let word = if commit { "commit" } else { "abort" };
                    (format!("{word} e id={id} pid={pid} epoch={} v={version}", epoch.saturating_sub(back)), None)
                }
                Step::Markers { id, result } => {
                    let (id, _) = known(id);
                    let word = ["written", "written", "failed", "deleted", "written"][usize::from(result)];
                    (format!("{word} id={id}"), (word != "failed").then_some(id))
                }
                Step::Wait(ms) => (format!("wait {ms}"), None),
                Step::Reload => ("reload".to_owned(), None),
            };
            world.run(&line);
            if let Some(id) = ends
                && let Some(metadata) = world.shard.transaction(&id)
            {
                prop_assert!(!metadata.state.is_completing(), "{:?}", metadata);
            }
            for metadata in world.shard.transactions() {
                let now = (metadata.producer_id, metadata.producer_epoch);
                let before = last.insert(metadata.transactional_id.clone(), now);
                if let Some(before) = before.filter(|before| before.0 == now.0) {
                    prop_assert!(now.1 >= before.1, "{} went back from {} to {}", metadata.transactional_id, before.1, now.1);
                }
            }
        }
    }

    /// No bytes make a load panic.
    #[test]
    fn any_bytes_as_a_record_are_an_error_at_worst(
        key in proptest::collection::vec(any::<u8>(), 0..40),
        value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..80)),
        flip in any::<(u16, u8)>(),
    ) {
        let mut world = World::new(TxnConfig::kafka_defaults());
        let _ = world.shard.replay(&key, value.as_deref());
        world.run("init i1\nadd a1 to=t1:0");
        let mut shard = TxnShard::new(TxnConfig::kafka_defaults(), 0);
        for (key, value) in &world.log {
            let mut value = value.as_deref().unwrap_or_default().to_vec();
            let at = usize::from(flip.0) % value.len();
            value[at] ^= flip.1;
            let _ = shard.replay(key, Some(&value));
            let _ = shard.replay(key, Some(&value[..at]));
        }
        shard.on_loaded(0);
    }
}
