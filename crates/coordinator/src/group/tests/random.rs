//! Random sequences of requests of both protocols. Whatever comes in whatever order: no panic, a reload gives the same
//! state, a partition has one owner at most, every request is answered in the end.

use proptest::prelude::*;

use super::script::World;
use crate::group::{Group, GroupConfig, GroupShard};

/// What one step does is drawn from these numbers; `what` chooses the request.
#[derive(Debug, Clone, Copy)]
struct Step {
    what: u8,
    group: u8,
    member: u8,
    topics: u8,
    luck: u8,
    wait_ms: u16,
}

fn step() -> impl Strategy<Value = Step> {
    (0..20u8, 0..2u8, 0..4u8, 1..8u8, any::<u8>(), 0..20_000u16).prop_map(
        |(what, group, member, topics, luck, wait_ms)| Step { what, group, member, topics, luck, wait_ms },
    )
}

fn topic_list(bits: u8) -> String {
    let names: Vec<String> =
        (0..3).filter(|bit| bits & (1 << bit) != 0).map(|bit| format!("t{}", bit + 1)).collect();
    names.join(",")
}

/// What a consumer member would send: its epoch, and what it was told to own.
fn consumer_state(world: &World, group: &str, member: &str) -> Option<(i32, String)> {
    let Some(Group::Consumer(group)) = world.shard.groups.get(group) else { return None };
    let member = group.member(member)?;
    let owned: Vec<String> = member
        .assigned
        .iter()
        .filter_map(|(topic_id, partitions)| {
            use crate::topics::TopicsView;
            let name = world.topics.topic_name(*topic_id)?;
            let numbers: Vec<String> = partitions.keys().map(i32::to_string).collect();
            Some(format!("{name}:{}", numbers.join("+")))
        })
        .collect();
    Some((member.member_epoch, owned.join(",")))
}

/// The ids and generation of a classic group's members, of either protocol's kind of group.
fn classic_state(world: &World, group: &str) -> Vec<(String, i32, Option<String>)> {
    match world.shard.groups.get(group) {
        Some(Group::Classic(group)) => group
            .members()
            .values()
            .map(|member| {
                let instance = member.instance_id.as_ref().map(ToString::to_string);
                (member.member_id.to_string(), group.generation_id, instance)
            })
            .collect(),
        Some(Group::Consumer(group)) => group
            .members()
            .values()
            .filter(|member| member.uses_classic_protocol())
            .map(|member| {
                let instance = member.instance_id.as_ref().map(ToString::to_string);
                (member.member_id.to_string(), member.member_epoch, instance)
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn line(world: &World, step: Step) -> String {
    let group = format!("g{}", step.group);
    let member = format!("m{}", step.member);
    let topics = topic_list(step.topics);
    let known = classic_state(world, &group);
    let classic = known.get(usize::from(step.member) % known.len().max(1));
    let with_instance = |text: String, instance: &Option<String>| match instance {
        Some(instance) => format!("{text} instance={instance}"),
        None => text,
    };
    match step.what {
        0..=5 => match consumer_state(world, &group, &member) {
            Some((epoch, owned)) if step.luck < 230 => {
                // Now and then the member says nothing of what it owns, or has lost everything.
                let owned = match step.luck % 8 {
                    0 => String::new(),
                    1 => " owned=".to_owned(),
                    _ => format!(" owned={owned}"),
                };
                let epoch = if step.luck > 220 { epoch - 1 } else { epoch };
                format!("beat b g={group} member={member} epoch={epoch}{owned}")
            }
            _ => format!("beat b g={group} member={member} epoch=0 topics={topics}"),
        },
        6 => match consumer_state(world, &group, &member) {
            Some((epoch, _)) => {
                format!("beat b g={group} member={member} epoch={epoch} topics={topics} rebalance=9000")
            }
            None => format!("beat b g={group} member={member} epoch=0 regex=t[12]"),
        },
        7 => {
            let epoch = if step.luck < 128 { -1 } else { -2 };
            format!("beat b g={group} member={member} instance=i{} epoch={epoch}", step.member)
        }
        8 => format!("beat b g={group} member={member} instance=i{} epoch=0 topics={topics}", step.luck % 3),
        9 | 10 => match classic {
            Some((id, _, instance)) => {
                with_instance(format!("join j g={group} member={id} topics={topics}"), instance)
            }
            None => format!("join j g={group} v=3 topics={topics}"),
        },
        11 => format!("join j g={group} v={} protocols=range,sticky topics={topics}", step.luck % 10),
        12 => format!("join j g={group} instance=i{} topics={topics}", step.luck % 3),
        13 | 14 => match classic {
            Some((id, generation, instance)) => {
                with_instance(format!("sync s g={group} member={id} gen={generation}"), instance)
            }
            None => format!("sync s g={group} member=nobody"),
        },
        15 => match classic {
            Some((id, generation, instance)) => {
                with_instance(format!("heartbeat h g={group} member={id} gen={generation}"), instance)
            }
            None => format!("leave l g={group} instances=i{}", step.luck % 3),
        },
        16 => match classic {
            Some((id, ..)) if step.luck < 128 => format!("leave l g={group} members={id}"),
            Some((id, generation, _)) => {
                format!("commit o g={group} member={id} gen={generation} offsets=t1:0")
            }
            None => format!("txncommit x g={group} pid={} offsets=t1:0,t2:1", step.luck % 3),
        },
        17 => match step.luck % 4 {
            0 => format!("marker commit pid={}", step.luck % 3),
            1 => format!("commit o g={group} offsets=t1:0+1"),
            2 => format!("delete d g={group}"),
            _ => format!("topic t{} partitions={}", step.luck % 3 + 1, step.topics),
        },
        18 => "reload".to_owned(),
        _ => format!("wait {}", step.wait_ms),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_keeps_the_log_and_the_state_equal(steps in proptest::collection::vec(step(), 1..80)) {
        let mut world = World::new(GroupConfig {
            group_consumer_assignment_interval_ms: 500,
            group_max_size: 4,
            ..GroupConfig::kafka_defaults()
        });
        for step in steps {
            let line = line(&world, step);
            world.run(&line);
        }
        // Every join and sync that waits is answered within its timeouts.
        world.advance(400_000);
        prop_assert!(world.shard.parked_tokens().is_empty(), "{}", world.transcript);
        world.run("list");
    }

    #[test]
    fn members_that_do_what_they_are_told_end_up_with_every_partition(
        steps in proptest::collection::vec((0..4u8, 0..4u8), 1..60),
    ) {
        let mut world = World::new(GroupConfig::kafka_defaults());
        for (member, what) in steps {
            let name = format!("m{member}");
            let line = match (consumer_state(&world, "g", &name), what) {
                (Some(_), 0) => format!("beat b member={name} epoch=-1"),
                (Some((epoch, owned)), _) => format!("beat b member={name} epoch={epoch} owned={owned}"),
                (None, _) => format!("beat b member={name} epoch=0 topics=t1,t2"),
            };
            world.run(&line);
            world.advance(300);
        }
        for _ in 0..6 {
            for member in 0..4 {
                let name = format!("m{member}");
                if let Some((epoch, owned)) = consumer_state(&world, "g", &name) {
                    world.run(&format!("beat b member={name} epoch={epoch} owned={owned}"));
                }
            }
            world.advance(1_000);
        }
        let Some(Group::Consumer(group)) = world.shard.groups.get("g") else { panic!() };
        if !group.is_empty() {
            let owned: usize = group
                .members()
                .values()
                .flat_map(|member| member.assigned.values())
                .map(std::collections::BTreeMap::len)
                .sum();
            prop_assert_eq!(owned, 5, "{}", world.transcript);
            prop_assert_eq!(group.state().name(), "Stable", "{}", world.transcript);
        }
    }

    /// No bytes make a load panic.
    #[test]
    fn any_bytes_as_a_record_are_an_error_at_worst(
        record_type in -1i16..26,
        body in proptest::collection::vec(any::<u8>(), 0..60),
        value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..100)),
    ) {
        let mut shard = GroupShard::new(GroupConfig::kafka_defaults());
        let mut key = record_type.to_be_bytes().to_vec();
        key.extend_from_slice(&body);
        let _ = shard.replay(&key, value.as_deref(), None);
    }

    /// Nor does a record of a real log with one byte changed, or cut short.
    #[test]
    fn a_damaged_record_is_an_error_at_worst(at in any::<u16>(), flip in 1..=255u8) {
        let mut world = World::new(GroupConfig::kafka_defaults());
        world.run(
            "join j v=3 instance=i topics=t1
             wait 10000
             beat b g=g2 member=m1 epoch=0 topics=t1
             join c g=g2 member=c1 topics=t1
             commit o offsets=t1:0",
        );
        let mut shard = GroupShard::new(GroupConfig::kafka_defaults());
        for (key, value) in world.log_bytes() {
            let mut damaged = value.clone();
            if !damaged.is_empty() {
                let index = usize::from(at) % damaged.len();
                damaged[index] ^= flip;
                let _ = shard.replay(&key, Some(&damaged), None);
                let _ = shard.replay(&key, Some(&value[..index]), None);
            }
        }
        world.shard = shard;
    }
}
