//! Groups that change their protocol while they have members.

use expect_test::expect;

use super::script::{check, check_with};
use crate::group::{GroupConfig, MigrationPolicy};

fn quick() -> GroupConfig {
    GroupConfig {
        group_initial_rebalance_delay_ms: 0,
        group_consumer_assignment_interval_ms: 0,
        ..GroupConfig::kafka_defaults()
    }
}

#[test]
fn a_classic_group_becomes_a_consumer_group_and_back() {
    check_with(
        quick(),
        "join j1 v=3 topics=t1
         wait 0
         sync s1 member=c-#1 gen=1
         beat b1 member=m1 epoch=0 topics=t1
         describe848
         heartbeat h1 member=c-#1 gen=1
         join j2 v=3 member=c-#1 topics=t1
         sync s2 member=c-#1 gen=2
         sync s3 v=5 member=c-#1 gen=2 protocol=sticky type=consumer
         heartbeat h2 member=c-#1 gen=2
         beat b2 member=m1 epoch=2
         commit o1 member=c-#1 gen=2 offsets=t1:0
         commit o2 member=c-#1 gen=3 offsets=t1:0
         beat b3 member=m1 epoch=-1
         describe
         heartbeat h3 member=c-#1 gen=3
         join j3 v=3 member=c-#1 topics=t1
         sync s4 member=c-#1 gen=4 assign=c-#1:A",
        &expect![[r#"
            > join j1 v=3 topics=t1
              + group g gen=0 protocol=- leader=- at=0 []
            > wait 0
              = j1: NONE member=c-#1 gen=1 protocol=range leader=c-#1 members=[c-#1]
            > sync s1 member=c-#1 gen=1
              + group g gen=1 protocol=range leader=c-#1 at=0 ["c-#1="]
              = s1: NONE 
            > beat b1 member=m1 epoch=0 topics=t1
              + group g gone
              + member c-#1 topics=t1 classic
              + epoch g 1
              + target c-#1 []
              + target g epoch=1
              + current c-#1 epoch=1 previous=1 state=0 [] revoking []
              + member m1 topics=t1
              + epoch g 2
              + target c-#1 [t1:0]
              + target m1 [t1:1+2]
              + target g epoch=2
              + current m1 epoch=2 previous=0 state=0 [t1:1+2] revoking []
              = b1: NONE member=m1 epoch=2 [t1:1+2]
            > describe848
              = describe848: NONE Reconciling epoch=2/2 uniform [c-#1@1/0 m1@2/1] 
            > heartbeat h1 member=c-#1 gen=1
              = h1: REBALANCE_IN_PROGRESS
            > join j2 v=3 member=c-#1 topics=t1
              + current c-#1 epoch=2 previous=1 state=0 [t1:0] revoking []
              = j2: NONE member=c-#1 gen=2 protocol=range leader= members=[]
            > sync s2 member=c-#1 gen=2
              = s2: NONE <t1:0>
            > sync s3 v=5 member=c-#1 gen=2 protocol=sticky type=consumer
              = s3: INCONSISTENT_GROUP_PROTOCOL 
            > heartbeat h2 member=c-#1 gen=2
              = h2: NONE
            > beat b2 member=m1 epoch=2
              = b2: NONE member=m1 epoch=2
            > commit o1 member=c-#1 gen=2 offsets=t1:0
              + offset g t1-0 10
              = o1: t1-0=NONE
            > commit o2 member=c-#1 gen=3 offsets=t1:0
              = o2: t1-0=ILLEGAL_GENERATION
            > beat b3 member=m1 epoch=-1
              + current c-#1 gone
              + current m1 gone
              + target c-#1 gone
              + target m1 gone
              + target g gone
              + member c-#1 gone
              + member m1 gone
              + metadata g gone
              + epoch g gone
              + group g gen=2 protocol=range leader=c-#1 at=0 ["c-#1=<t1:0>"]
              = b3: NONE member=m1 epoch=-1
            > describe
              = describe: NONE PreparingRebalance type=consumer protocol= [c-#1] 
            > heartbeat h3 member=c-#1 gen=3
              = h3: ILLEGAL_GENERATION
            > join j3 v=3 member=c-#1 topics=t1
              = j3: NONE member=c-#1 gen=3 protocol=range leader=c-#1 members=[c-#1]
            > sync s4 member=c-#1 gen=4 assign=c-#1:A
              = s4: ILLEGAL_GENERATION 
        "#]],
    );
}

#[test]
fn a_static_consumer_member_that_returns_as_classic_downgrades_the_group() {
    check_with(
        quick(),
        "beat b1 member=m1 instance=i1 epoch=0 topics=t1
         join j1 instance=i1 topics=t1
         describe
         sync s1 member=AAAAAAAAAAAAAAAAAAAAAQ instance=i1 gen=2
         reload
         heartbeat h1 member=AAAAAAAAAAAAAAAAAAAAAQ instance=i1 gen=2",
        &expect![[r#"
            > beat b1 member=m1 instance=i1 epoch=0 topics=t1
              + member m1 topics=t1
              + epoch g 2
              + target m1 [t1:0+1+2]
              + target g epoch=2
              + current m1 epoch=2 previous=0 state=0 [t1:0+1+2] revoking []
              = b1: NONE member=m1 epoch=2 [t1:0+1+2]
            > join j1 instance=i1 topics=t1
              + current m1 gone
              + target m1 gone
              + member m1 gone
              + member AAAAAAAAAAAAAAAAAAAAAQ topics=t1
              + target AAAAAAAAAAAAAAAAAAAAAQ [t1:0+1+2]
              + current AAAAAAAAAAAAAAAAAAAAAQ epoch=0 previous=0 state=0 [t1:0+1+2] revoking []
              + member AAAAAAAAAAAAAAAAAAAAAQ topics=t1 classic
              + current AAAAAAAAAAAAAAAAAAAAAQ epoch=2 previous=0 state=0 [t1:0+1+2] revoking []
              + current AAAAAAAAAAAAAAAAAAAAAQ gone
              + target AAAAAAAAAAAAAAAAAAAAAQ gone
              + target g gone
              + member AAAAAAAAAAAAAAAAAAAAAQ gone
              + metadata g gone
              + epoch g gone
              + group g gen=2 protocol=range leader=AAAAAAAAAAAAAAAAAAAAAQ at=0 ["AAAAAAAAAAAAAAAAAAAAAQ=<t1:0+1+2>"]
              = j1: NONE member=AAAAAAAAAAAAAAAAAAAAAQ gen=2 protocol=range leader= members=[]
            > describe
              = describe: NONE Stable type=consumer protocol=range [AAAAAAAAAAAAAAAAAAAAAQ] 
            > sync s1 member=AAAAAAAAAAAAAAAAAAAAAQ instance=i1 gen=2
              = s1: NONE <t1:0+1+2>
            > reload
            > heartbeat h1 member=AAAAAAAAAAAAAAAAAAAAAQ instance=i1 gen=2
              = h1: NONE
        "#]],
    );
}

#[test]
fn a_classic_member_joins_a_consumer_group() {
    check_with(
        quick(),
        "beat b1 member=m1 epoch=0 topics=t1
         join j1 topics=t1
         join j2 member=c1 topics=t1
         sync s1 member=c1 gen=3
         beat b2 member=m1 epoch=2 owned=t1:0+1+2
         beat b3 member=m1 epoch=2 owned=t1:0+1
         heartbeat h1 member=c1 gen=3
         join j3 member=c1 topics=t1
         sync s2 member=c1 gen=3
         describe848
         leave l1 members=c1,nobody
         describe848",
        &expect![[r#"
            > beat b1 member=m1 epoch=0 topics=t1
              + member m1 topics=t1
              + epoch g 2
              + target m1 [t1:0+1+2]
              + target g epoch=2
              + current m1 epoch=2 previous=0 state=0 [t1:0+1+2] revoking []
              = b1: NONE member=m1 epoch=2 [t1:0+1+2]
            > join j1 topics=t1
              = j1: MEMBER_ID_REQUIRED member=AAAAAAAAAAAAAAAAAAAAAQ
            > join j2 member=c1 topics=t1
              + member c1 topics=t1 classic
              + epoch g 3
              + target c1 [t1:2]
              + target m1 [t1:0+1]
              + target g epoch=3
              + current c1 epoch=3 previous=0 state=2 [] revoking []
              = j2: NONE member=c1 gen=3 protocol=range leader= members=[]
            > sync s1 member=c1 gen=3
              = s1: NONE <>
            > beat b2 member=m1 epoch=2 owned=t1:0+1+2
              + current m1 epoch=2 previous=2 state=1 [t1:0+1] revoking [t1:2]
              = b2: NONE member=m1 epoch=2 [t1:0+1]
            > beat b3 member=m1 epoch=2 owned=t1:0+1
              + current m1 epoch=3 previous=2 state=0 [t1:0+1] revoking []
              = b3: NONE member=m1 epoch=3
            > heartbeat h1 member=c1 gen=3
              = h1: REBALANCE_IN_PROGRESS
            > join j3 member=c1 topics=t1
              + current c1 epoch=3 previous=3 state=0 [t1:2] revoking []
              = j3: NONE member=c1 gen=3 protocol=range leader= members=[]
            > sync s2 member=c1 gen=3
              = s2: NONE <t1:2>
            > describe848
              = describe848: NONE Stable epoch=3/3 uniform [c1@3/0 m1@3/1] 
            > leave l1 members=c1,nobody
              + current c1 gone
              + target c1 gone
              + member c1 gone
              + epoch g 4
              = l1: NONE [c1=NONE nobody=UNKNOWN_MEMBER_ID]
            > describe848
              = describe848: NONE Assigning epoch=4/3 uniform [m1@3/1] 
        "#]],
    );
}

#[test]
fn a_classic_member_that_is_told_to_rejoin_has_its_rebalance_timeout() {
    check_with(
        quick(),
        "beat b1 member=m1 epoch=0 topics=t1
         join j1 member=c1 topics=t1 rebalance=5000 session=6000
         sync s1 member=c1 gen=3
         beat b2 member=m2 epoch=0 topics=t1
         heartbeat h1 member=c1 gen=3
         wait 4000
         heartbeat h2 member=c1 gen=3
         wait 1000
         describe848",
        &expect![[r#"
            > beat b1 member=m1 epoch=0 topics=t1
              + member m1 topics=t1
              + epoch g 2
              + target m1 [t1:0+1+2]
              + target g epoch=2
              + current m1 epoch=2 previous=0 state=0 [t1:0+1+2] revoking []
              = b1: NONE member=m1 epoch=2 [t1:0+1+2]
            > join j1 member=c1 topics=t1 rebalance=5000 session=6000
              + member c1 topics=t1 classic
              + epoch g 3
              + target c1 [t1:2]
              + target m1 [t1:0+1]
              + target g epoch=3
              + current c1 epoch=3 previous=0 state=2 [] revoking []
              = j1: NONE member=c1 gen=3 protocol=range leader= members=[]
            > sync s1 member=c1 gen=3
              = s1: NONE <>
            > beat b2 member=m2 epoch=0 topics=t1
              + member m2 topics=t1
              + epoch g 4
              + target m1 [t1:0]
              + target m2 [t1:1]
              + target g epoch=4
              + current m2 epoch=4 previous=0 state=2 [] revoking []
              = b2: NONE member=m2 epoch=4 []
            > heartbeat h1 member=c1 gen=3
              = h1: REBALANCE_IN_PROGRESS
            > wait 4000
            > heartbeat h2 member=c1 gen=3
              = h2: REBALANCE_IN_PROGRESS
            > wait 1000
              + current c1 gone
              + target c1 gone
              + member c1 gone
              + epoch g 5
            > describe848
              = describe848: NONE Assigning epoch=5/4 uniform [m1@2/1 m2@4/1] 
        "#]],
    );
}

#[test]
fn the_policy_decides_which_way_a_group_may_go() {
    let script = "join j1 g=classic v=3 topics=t1
         wait 0
         sync s1 g=classic member=c-#1 gen=1
         beat b1 g=classic member=m1 epoch=0 topics=t1
         beat b2 g=new member=m1 epoch=0 topics=t1
         join j2 g=new member=c1 topics=t1
         beat b3 g=new member=m1 epoch=-1
         list";
    let with = |group_consumer_migration_policy| GroupConfig { group_consumer_migration_policy, ..quick() };
    check_with(
        with(MigrationPolicy::Disabled),
        script,
        &expect![[r#"
        > join j1 g=classic v=3 topics=t1
          + group classic gen=0 protocol=- leader=- at=0 []
        > wait 0
          = j1: NONE member=c-#1 gen=1 protocol=range leader=c-#1 members=[c-#1]
        > sync s1 g=classic member=c-#1 gen=1
          + group classic gen=1 protocol=range leader=c-#1 at=0 ["c-#1="]
          = s1: NONE 
        > beat b1 g=classic member=m1 epoch=0 topics=t1
          = b1: GROUP_ID_NOT_FOUND Cannot upgrade classic group classic to consumer group because online upgrade is disabled.
        > beat b2 g=new member=m1 epoch=0 topics=t1
          + member m1 topics=t1
          + epoch new 2
          + target m1 [t1:0+1+2]
          + target new epoch=2
          + current m1 epoch=2 previous=0 state=0 [t1:0+1+2] revoking []
          = b2: NONE member=m1 epoch=2 [t1:0+1+2]
        > join j2 g=new member=c1 topics=t1
          = j2: INCONSISTENT_GROUP_PROTOCOL member=
        > beat b3 g=new member=m1 epoch=-1
          + current m1 gone
          + target m1 gone
          + member m1 gone
          + epoch new 3
          + target new epoch=3
          = b3: NONE member=m1 epoch=-1
        > list
          = list: classic/classic/Stable new/consumer/Empty
    "#]],
    );
    check_with(
        with(MigrationPolicy::Downgrade),
        script,
        &expect![[r#"
        > join j1 g=classic v=3 topics=t1
          + group classic gen=0 protocol=- leader=- at=0 []
        > wait 0
          = j1: NONE member=c-#1 gen=1 protocol=range leader=c-#1 members=[c-#1]
        > sync s1 g=classic member=c-#1 gen=1
          + group classic gen=1 protocol=range leader=c-#1 at=0 ["c-#1="]
          = s1: NONE 
        > beat b1 g=classic member=m1 epoch=0 topics=t1
          = b1: GROUP_ID_NOT_FOUND Cannot upgrade classic group classic to consumer group because online upgrade is disabled.
        > beat b2 g=new member=m1 epoch=0 topics=t1
          + member m1 topics=t1
          + epoch new 2
          + target m1 [t1:0+1+2]
          + target new epoch=2
          + current m1 epoch=2 previous=0 state=0 [t1:0+1+2] revoking []
          = b2: NONE member=m1 epoch=2 [t1:0+1+2]
        > join j2 g=new member=c1 topics=t1
          + member c1 topics=t1 classic
          + epoch new 3
          + target c1 [t1:2]
          + target m1 [t1:0+1]
          + target new epoch=3
          + current c1 epoch=3 previous=0 state=2 [] revoking []
          = j2: NONE member=c1 gen=3 protocol=range leader= members=[]
        > beat b3 g=new member=m1 epoch=-1
          + current c1 gone
          + current m1 gone
          + target c1 gone
          + target m1 gone
          + target new gone
          + member c1 gone
          + member m1 gone
          + metadata new gone
          + epoch new gone
          + group new gen=3 protocol=range leader=c1 at=0 ["c1=<t1:2>"]
          = b3: NONE member=m1 epoch=-1
        > list
          = list: classic/classic/Stable new/classic/PreparingRebalance
    "#]],
    );
    check_with(
        with(MigrationPolicy::Upgrade),
        script,
        &expect![[r#"
        > join j1 g=classic v=3 topics=t1
          + group classic gen=0 protocol=- leader=- at=0 []
        > wait 0
          = j1: NONE member=c-#1 gen=1 protocol=range leader=c-#1 members=[c-#1]
        > sync s1 g=classic member=c-#1 gen=1
          + group classic gen=1 protocol=range leader=c-#1 at=0 ["c-#1="]
          = s1: NONE 
        > beat b1 g=classic member=m1 epoch=0 topics=t1
          + group classic gone
          + member c-#1 topics=t1 classic
          + epoch classic 1
          + target c-#1 []
          + target classic epoch=1
          + current c-#1 epoch=1 previous=1 state=0 [] revoking []
          + member m1 topics=t1
          + epoch classic 2
          + target c-#1 [t1:0]
          + target m1 [t1:1+2]
          + target classic epoch=2
          + current m1 epoch=2 previous=0 state=0 [t1:1+2] revoking []
          = b1: NONE member=m1 epoch=2 [t1:1+2]
        > beat b2 g=new member=m1 epoch=0 topics=t1
          + member m1 topics=t1
          + epoch new 2
          + target m1 [t1:0+1+2]
          + target new epoch=2
          + current m1 epoch=2 previous=0 state=0 [t1:0+1+2] revoking []
          = b2: NONE member=m1 epoch=2 [t1:0+1+2]
        > join j2 g=new member=c1 topics=t1
          + member c1 topics=t1 classic
          + epoch new 3
          + target c1 [t1:2]
          + target m1 [t1:0+1]
          + target new epoch=3
          + current c1 epoch=3 previous=0 state=2 [] revoking []
          = j2: NONE member=c1 gen=3 protocol=range leader= members=[]
        > beat b3 g=new member=m1 epoch=-1
          + current m1 gone
          + target m1 gone
          + member m1 gone
          + epoch new 4
          = b3: NONE member=m1 epoch=-1
        > list
          = list: classic/consumer/Reconciling new/consumer/Assigning
    "#]],
    );
}

#[test]
fn groups_that_cannot_be_upgraded_stay_classic() {
    check_with(
        quick(),
        "join j1 g=connect v=3 type=connect topics=t1
         wait 0
         sync s1 g=connect member=c-#1 gen=1
         beat b1 g=connect member=m1 epoch=0 topics=t1
         join j2 g=bytes v=3 topics=t1
         wait 0
         sync s2 g=bytes member=c-#2 gen=1 assign=c-#2:A
         beat b2 g=bytes member=m1 epoch=0 topics=t1
         list",
        &expect![[r#"
            > join j1 g=connect v=3 type=connect topics=t1
              + group connect gen=0 protocol=- leader=- at=0 []
            > wait 0
              = j1: NONE member=c-#1 gen=1 protocol=range leader=c-#1 members=[c-#1]
            > sync s1 g=connect member=c-#1 gen=1
              + group connect gen=1 protocol=range leader=c-#1 at=0 ["c-#1="]
              = s1: NONE 
            > beat b1 g=connect member=m1 epoch=0 topics=t1
              = b1: GROUP_ID_NOT_FOUND Cannot upgrade classic group connect to consumer group because the group does not use the consumer embedded protocol.
            > join j2 g=bytes v=3 topics=t1
              + group bytes gen=0 protocol=- leader=- at=0 []
            > wait 0
              = j2: NONE member=c-#2 gen=1 protocol=range leader=c-#2 members=[c-#2]
            > sync s2 g=bytes member=c-#2 gen=1 assign=c-#2:A
              + group bytes gen=1 protocol=range leader=c-#2 at=0 ["c-#2=A"]
              = s2: NONE A
            > beat b2 g=bytes member=m1 epoch=0 topics=t1
              = b2: GROUP_ID_NOT_FOUND Cannot upgrade classic group bytes to consumer group because the embedded consumer protocol is malformed.
            > list
              = list: bytes/classic/Stable connect/classic/Stable
        "#]],
    );
}

#[test]
fn an_empty_group_of_either_kind_makes_room_for_the_other() {
    check(
        "commit o1 offsets=t1:0
         beat b1 member=m1 epoch=0 topics=t1
         fetch
         beat b2 member=m1 epoch=-1
         join j1 topics=t1
         fetch
         list",
        &expect![[r#"
            > commit o1 offsets=t1:0
              + offset g t1-0 10
              = o1: t1-0=NONE
            > beat b1 member=m1 epoch=0 topics=t1
              + group g gone
              + member m1 topics=t1
              + epoch g 2
              + target m1 [t1:0+1+2]
              + target g epoch=2
              + current m1 epoch=2 previous=0 state=0 [t1:0+1+2] revoking []
              = b1: NONE member=m1 epoch=2 [t1:0+1+2]
            > fetch
              = fetch: NONE t1-0=10
            > beat b2 member=m1 epoch=-1
              + current m1 gone
              + target m1 gone
              + member m1 gone
              + epoch g 3
              + target g epoch=3
              = b2: NONE member=m1 epoch=-1
            > join j1 topics=t1
              + target g gone
              + metadata g gone
              + epoch g gone
              + group g gen=0 protocol=- leader=- at=0 []
              = j1: MEMBER_ID_REQUIRED member=c-#1
            > fetch
              = fetch: NONE t1-0=10
            > list
              = list: g/classic/Empty
        "#]],
    );
}
