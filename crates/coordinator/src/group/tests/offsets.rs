//! Committed offsets: plain, transactional, expired, deleted.

use expect_test::expect;

use super::script::{check, check_with};
use crate::group::GroupConfig;

fn quick() -> GroupConfig {
    GroupConfig {
        group_initial_rebalance_delay_ms: 0,
        offsets_retention_ms: 5_000,
        offsets_retention_check_interval_ms: 1_000,
        ..GroupConfig::kafka_defaults()
    }
}

#[test]
fn offsets_without_a_group_make_a_simple_one() {
    check(
        "fetch f0 offsets=t1:0
         commit o1 offsets=t1:0+1 at=7 meta=hello
         commit o2 gen=3 member=m offsets=t1:0
         commit o3 v=8 g=other gen=3 member=m offsets=t1:0
         commit o4 g=other gen=3 member=m offsets=t1:0
         fetch f1
         fetch f2 offsets=t1:0+2,t2:0
         describe
         deloffsets d1 offsets=t1:1+2
         deloffsets d2 g=other offsets=t1:1
         deloffsets d3 g= offsets=t1:1
         fetch f3
         delete",
        &expect![[r#"
            > fetch f0 offsets=t1:0
              = f0: NONE t1-0=-1
            > commit o1 offsets=t1:0+1 at=7 meta=hello
              + offset g t1-0 7
              + offset g t1-1 7
              = o1: t1-0=NONE t1-1=NONE
            > commit o2 gen=3 member=m offsets=t1:0
              = o2: t1-0=UNKNOWN_MEMBER_ID
            > commit o3 v=8 g=other gen=3 member=m offsets=t1:0
              = o3: t1-0=ILLEGAL_GENERATION
            > commit o4 g=other gen=3 member=m offsets=t1:0
              = o4: t1-0=GROUP_ID_NOT_FOUND
            > fetch f1
              = f1: NONE t1-0=7 t1-1=7
            > fetch f2 offsets=t1:0+2,t2:0
              = f2: NONE t1-0=7 t1-2=-1 t2-0=-1
            > describe
              = describe: NONE Empty type= protocol= [] 
            > deloffsets d1 offsets=t1:1+2
              + offset g t1-1 gone
              = d1: NONE t1-1=NONE t1-2=NONE
            > deloffsets d2 g=other offsets=t1:1
              = d2: GROUP_ID_NOT_FOUND 
            > deloffsets d3 g= offsets=t1:1
              = d3: INVALID_GROUP_ID 
            > fetch f3
              = f3: NONE t1-0=7
            > delete
              + offset g t1-0 gone
              + group g gone
              = delete: NONE
        "#]],
    );
}

#[test]
fn metadata_that_is_too_large_is_refused_by_partition() {
    check_with(
        GroupConfig { offset_metadata_max_bytes: 4, ..GroupConfig::kafka_defaults() },
        "commit o1 offsets=t1:0 meta=1234
         commit o2 offsets=t1:1 meta=12345
         commit o3 offsets=t1:2 meta=\u{e9}\u{e9}\u{e9}\u{e9}
         fetch",
        &expect![[r#"
            > commit o1 offsets=t1:0 meta=1234
              + offset g t1-0 10
              = o1: t1-0=NONE
            > commit o2 offsets=t1:1 meta=12345
              = o2: t1-1=OFFSET_METADATA_TOO_LARGE
            > commit o3 offsets=t1:2 meta=éééé
              + offset g t1-2 10
              = o3: t1-2=NONE
            > fetch
              = fetch: NONE t1-0=10 t1-2=10
        "#]],
    );
}

#[test]
fn transactional_offsets_are_seen_after_the_marker() {
    check(
        "txncommit x1 pid=1 offsets=t1:0 at=5
         fetch f1 offsets=t1:0+1
         fetch f2 offsets=t1:0+1 stable
         fetch f3 stable
         reload
         marker abort pid=2
         marker commit pid=1
         fetch f4 offsets=t1:0 stable
         txncommit x2 pid=2 offsets=t1:0 at=6
         marker abort pid=2
         fetch f5 offsets=t1:0 stable",
        &expect![[r#"
            > txncommit x1 pid=1 offsets=t1:0 at=5
              + offset g t1-0 5
              = x1: t1-0=NONE
            > fetch f1 offsets=t1:0+1
              = f1: NONE t1-0=-1 t1-1=-1
            > fetch f2 offsets=t1:0+1 stable
              = f2: NONE t1-0=-1(UNSTABLE_OFFSET_COMMIT) t1-1=-1
            > fetch f3 stable
              = f3: NONE 
            > reload
            > marker abort pid=2
            > marker commit pid=1
            > fetch f4 offsets=t1:0 stable
              = f4: NONE t1-0=5
            > txncommit x2 pid=2 offsets=t1:0 at=6
              + offset g t1-0 6
              = x2: t1-0=NONE
            > marker abort pid=2
            > fetch f5 offsets=t1:0 stable
              = f5: NONE t1-0=5
        "#]],
    );
}

#[test]
fn a_later_plain_commit_wins_over_a_transaction_that_commits_after_it() {
    check(
        "txncommit x1 pid=1 offsets=t1:0 at=5
         commit o1 offsets=t1:0 at=9
         txncommit x2 pid=2 offsets=t1:1 at=5
         marker commit pid=1
         fetch f1
         commit o2 offsets=t1:1 at=3
         marker commit pid=2
         fetch f2",
        &expect![[r#"
            > txncommit x1 pid=1 offsets=t1:0 at=5
              + offset g t1-0 5
              = x1: t1-0=NONE
            > commit o1 offsets=t1:0 at=9
              + offset g t1-0 9
              = o1: t1-0=NONE
            > txncommit x2 pid=2 offsets=t1:1 at=5
              + offset g t1-1 5
              = x2: t1-1=NONE
            > marker commit pid=1
            > fetch f1
              = f1: NONE t1-0=9
            > commit o2 offsets=t1:1 at=3
              + offset g t1-1 3
              = o2: t1-1=NONE
            > marker commit pid=2
            > fetch f2
              = f2: NONE t1-0=9 t1-1=3
        "#]],
    );
}

#[test]
fn deleting_offsets_takes_pending_ones_along() {
    check(
        "txncommit x1 pid=1 offsets=t1:0+1 at=5
         deloffsets d1 offsets=t1:0
         marker commit pid=1
         fetch f1
         txncommit x2 pid=1 offsets=t1:0+1 at=5
         delete
         marker commit pid=1
         fetch f2
         list",
        &expect![[r#"
            > txncommit x1 pid=1 offsets=t1:0+1 at=5
              + offset g t1-0 5
              + offset g t1-1 5
              = x1: t1-0=NONE t1-1=NONE
            > deloffsets d1 offsets=t1:0
              + offset g t1-0 gone
              = d1: NONE t1-0=NONE
            > marker commit pid=1
            > fetch f1
              = f1: NONE t1-1=5
            > txncommit x2 pid=1 offsets=t1:0+1 at=5
              + offset g t1-0 5
              + offset g t1-1 5
              = x2: t1-0=NONE t1-1=NONE
            > delete
              + offset g t1-1 gone
              + offset g t1-0 gone
              + group g gone
              = delete: NONE
            > marker commit pid=1
            > fetch f2
              = f2: NONE 
            > list
              = list: 
        "#]],
    );
}

#[test]
fn unused_offsets_expire_and_take_their_group_along() {
    check_with(
        quick(),
        "commit o1 offsets=t1:0
         wait 2500
         commit o2 offsets=t1:1
         txncommit x1 pid=1 g=pending offsets=t1:1
         commit o3 v=4 g=own retention=1000 offsets=t1:0
         wait 1000
         wait 1500
         wait 2000
         wait 1000
         list
         wait 20000
         list",
        &expect![[r#"
            > commit o1 offsets=t1:0
              + offset g t1-0 10
              = o1: t1-0=NONE
            > wait 2500
            > commit o2 offsets=t1:1
              + offset g t1-1 10
              = o2: t1-1=NONE
            > txncommit x1 pid=1 g=pending offsets=t1:1
              + offset pending t1-1 10
              = x1: t1-1=NONE
            > commit o3 v=4 g=own retention=1000 offsets=t1:0
              + offset own t1-0 10
              = o3: t1-0=NONE
            > wait 1000
            > wait 1500
              + offset own t1-0 gone
              + group own gone
              + offset g t1-0 gone
            > wait 2000
            > wait 1000
              + offset g t1-1 gone
              + group g gone
            > list
              = list: pending/classic/Empty
            > wait 20000
            > list
              = list: pending/classic/Empty
        "#]],
    );
}

#[test]
fn offsets_of_a_group_in_use_expire_only_for_topics_it_left() {
    check_with(
        quick(),
        "join j1 v=3 topics=t1 session=100000
         wait 0
         sync s1 member=c-#1 gen=1 assign=c-#1:A
         commit o1 member=c-#1 gen=1 offsets=t1:0,t2:0
         wait 6000
         fetch
         leave l1 members=c-#1
         wait 4000
         fetch
         wait 2000
         fetch
         list",
        &expect![[r#"
            > join j1 v=3 topics=t1 session=100000
              + group g gen=0 protocol=- leader=- at=0 []
            > wait 0
              = j1: NONE member=c-#1 gen=1 protocol=range leader=c-#1 members=[c-#1]
            > sync s1 member=c-#1 gen=1 assign=c-#1:A
              + group g gen=1 protocol=range leader=c-#1 at=0 ["c-#1=A"]
              = s1: NONE A
            > commit o1 member=c-#1 gen=1 offsets=t1:0,t2:0
              + offset g t1-0 10
              + offset g t2-0 10
              = o1: t1-0=NONE t2-0=NONE
            > wait 6000
              + offset g t2-0 gone
            > fetch
              = fetch: NONE t1-0=10
            > leave l1 members=c-#1
              + group g gen=2 protocol=- leader=- at=6000 []
              = l1: NONE [c-#1=NONE]
            > wait 4000
            > fetch
              = fetch: NONE t1-0=10
            > wait 2000
              + offset g t1-0 gone
              + group g gone
            > fetch
              = fetch: NONE 
            > list
              = list: 
        "#]],
    );
}

#[test]
fn offsets_of_a_deleted_topic_go() {
    check(
        "commit o1 g=a offsets=t1:0,t2:0
         commit o2 g=b offsets=t1:1
         txncommit x1 g=c pid=1 offsets=t1:2
         drop t1
         fetch g=a
         topic t1 partitions=1
         fetch g=a offsets=t1:0",
        &expect![[r#"
            > commit o1 g=a offsets=t1:0,t2:0
              + offset a t1-0 10
              + offset a t2-0 10
              = o1: t1-0=NONE t2-0=NONE
            > commit o2 g=b offsets=t1:1
              + offset b t1-1 10
              = o2: t1-1=NONE
            > txncommit x1 g=c pid=1 offsets=t1:2
              + offset c t1-2 10
              = x1: t1-2=NONE
            > drop t1
              + offset a t1-0 gone
              + offset b t1-1 gone
              + offset c t1-2 gone
            > fetch g=a
              = fetch: NONE t2-0=10
            > topic t1 partitions=1
            > fetch g=a offsets=t1:0
              = fetch: NONE t1-0=-1
        "#]],
    );
}

#[test]
fn classic_members_commit_at_their_generation() {
    check_with(
        quick(),
        "join j1 v=3 topics=t1
         wait 0
         sync s1 member=c-#1 gen=1 assign=c-#1:A
         commit o1 member=c-#1 gen=1 offsets=t1:0
         commit o2 member=c-#1 gen=0 offsets=t1:0
         commit o3 member=nobody gen=1 offsets=t1:0
         commit o4 offsets=t1:0
         txncommit x1 pid=1 offsets=t1:0
         txncommit x2 pid=1 member=c-#1 gen=5 offsets=t1:0
         deloffsets d1 offsets=t1:0,t2:0",
        &expect![[r#"
            > join j1 v=3 topics=t1
              + group g gen=0 protocol=- leader=- at=0 []
            > wait 0
              = j1: NONE member=c-#1 gen=1 protocol=range leader=c-#1 members=[c-#1]
            > sync s1 member=c-#1 gen=1 assign=c-#1:A
              + group g gen=1 protocol=range leader=c-#1 at=0 ["c-#1=A"]
              = s1: NONE A
            > commit o1 member=c-#1 gen=1 offsets=t1:0
              + offset g t1-0 10
              = o1: t1-0=NONE
            > commit o2 member=c-#1 gen=0 offsets=t1:0
              = o2: t1-0=ILLEGAL_GENERATION
            > commit o3 member=nobody gen=1 offsets=t1:0
              = o3: t1-0=UNKNOWN_MEMBER_ID
            > commit o4 offsets=t1:0
              = o4: t1-0=UNKNOWN_MEMBER_ID
            > txncommit x1 pid=1 offsets=t1:0
              + offset g t1-0 10
              = x1: t1-0=NONE
            > txncommit x2 pid=1 member=c-#1 gen=5 offsets=t1:0
              = x2: t1-0=ILLEGAL_GENERATION
            > deloffsets d1 offsets=t1:0,t2:0
              = d1: NONE t1-0=GROUP_SUBSCRIBED_TO_TOPIC t2-0=NONE
        "#]],
    );
}
