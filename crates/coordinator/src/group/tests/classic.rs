//! Classic groups: generations, static members, timeouts.

use expect_test::expect;

use super::script::{UUID_PREFIX, World, check, check_with};
use crate::group::GroupConfig;

fn without_delay() -> GroupConfig {
    GroupConfig { group_initial_rebalance_delay_ms: 0, ..GroupConfig::kafka_defaults() }
}

#[test]
fn a_dynamic_member_gets_its_id_first_and_leads_the_first_generation() {
    check(
        "join j1 topics=t1
         join j2 member=c-#1 topics=t1
         describe
         wait 3000
         heartbeat h1 member=c-#1 gen=0
         sync s1 member=c-#1 gen=1 assign=c-#1:A
         heartbeat h2 member=c-#1 gen=1
         describe
         reload
         heartbeat h3 member=c-#1 gen=1",
        &expect![[r#"
            > join j1 topics=t1
              + group g gen=0 protocol=- leader=- at=0 []
              = j1: MEMBER_ID_REQUIRED member=c-#1
            > join j2 member=c-#1 topics=t1
            > describe
              = describe: NONE PreparingRebalance type=consumer protocol= [c-#1] 
            > wait 3000
              = j2: NONE member=c-#1 gen=1 protocol=range leader=c-#1 members=[c-#1]
            > heartbeat h1 member=c-#1 gen=0
              = h1: ILLEGAL_GENERATION
            > sync s1 member=c-#1 gen=1 assign=c-#1:A
              + group g gen=1 protocol=range leader=c-#1 at=3000 ["c-#1=A"]
              = s1: NONE A
            > heartbeat h2 member=c-#1 gen=1
              = h2: NONE
            > describe
              = describe: NONE Stable type=consumer protocol=range [c-#1] 
            > reload
            > heartbeat h3 member=c-#1 gen=1
              = h3: NONE
        "#]],
    );
}

#[test]
fn a_second_member_rebalances_the_group() {
    check_with(
        without_delay(),
        "join j1 v=3 topics=t1
         wait 0
         sync s1 member=c-#1 gen=1 assign=c-#1:A
         join j2 v=3 topics=t1
         heartbeat h1 member=c-#1 gen=1
         commit o1 member=c-#1 gen=1 offsets=t1:0
         join j3 v=3 member=c-#1 topics=t1
         commit o2 member=c-#1 gen=2 offsets=t1:0
         sync s2 member=c-#2 gen=2
         sync s3 member=c-#1 gen=2 assign=c-#1:B,c-#2:C
         sync s4 member=c-#2 gen=1
         sync s5 member=c-#2 gen=2
         sync s6 v=5 member=c-#2 gen=2 type=consumer protocol=roundrobin
         list
         leave l1 members=c-#1,nobody
         heartbeat h2 member=c-#2 gen=2
         join j4 v=3 member=c-#2 topics=t1
         leave l2 members=c-#2
         describe
         delete",
        &expect![[r#"
            > join j1 v=3 topics=t1
              + group g gen=0 protocol=- leader=- at=0 []
            > wait 0
              = j1: NONE member=c-#1 gen=1 protocol=range leader=c-#1 members=[c-#1]
            > sync s1 member=c-#1 gen=1 assign=c-#1:A
              + group g gen=1 protocol=range leader=c-#1 at=0 ["c-#1=A"]
              = s1: NONE A
            > join j2 v=3 topics=t1
            > heartbeat h1 member=c-#1 gen=1
              = h1: REBALANCE_IN_PROGRESS
            > commit o1 member=c-#1 gen=1 offsets=t1:0
              + offset g t1-0 10
              = o1: t1-0=NONE
            > join j3 v=3 member=c-#1 topics=t1
              = j3: NONE member=c-#1 gen=2 protocol=range leader=c-#1 members=[c-#1 c-#2]
              = j2: NONE member=c-#2 gen=2 protocol=range leader=c-#1 members=[]
            > commit o2 member=c-#1 gen=2 offsets=t1:0
              = o2: t1-0=REBALANCE_IN_PROGRESS
            > sync s2 member=c-#2 gen=2
            > sync s3 member=c-#1 gen=2 assign=c-#1:B,c-#2:C
              + group g gen=2 protocol=range leader=c-#1 at=0 ["c-#1=B", "c-#2=C"]
              = s3: NONE B
              = s2: NONE C
            > sync s4 member=c-#2 gen=1
              = s4: ILLEGAL_GENERATION 
            > sync s5 member=c-#2 gen=2
              = s5: NONE C
            > sync s6 v=5 member=c-#2 gen=2 type=consumer protocol=roundrobin
              = s6: INCONSISTENT_GROUP_PROTOCOL 
            > list
              = list: g/classic/Stable
            > leave l1 members=c-#1,nobody
              = l1: NONE [c-#1=NONE nobody=UNKNOWN_MEMBER_ID]
            > heartbeat h2 member=c-#2 gen=2
              = h2: REBALANCE_IN_PROGRESS
            > join j4 v=3 member=c-#2 topics=t1
              = j4: NONE member=c-#2 gen=3 protocol=range leader=c-#2 members=[c-#2]
            > leave l2 members=c-#2
              + group g gen=4 protocol=- leader=- at=0 []
              = l2: NONE [c-#2=NONE]
            > describe
              = describe: NONE Empty type=consumer protocol= [] 
            > delete
              + offset g t1-0 gone
              + group g gone
              = delete: NONE
        "#]],
    );
}

#[test]
fn the_initial_delay_is_extended_while_members_join() {
    check(
        "join j1 v=3 topics=t1
         wait 2000
         join j2 v=3 topics=t1
         wait 1000
         wait 1000
         join j3 v=3 topics=t1
         wait 3000
         wait 3000",
        &expect![[r#"
            > join j1 v=3 topics=t1
              + group g gen=0 protocol=- leader=- at=0 []
            > wait 2000
            > join j2 v=3 topics=t1
            > wait 1000
            > wait 1000
            > join j3 v=3 topics=t1
            > wait 3000
            > wait 3000
              = j1: NONE member=c-#1 gen=1 protocol=range leader=c-#1 members=[c-#1 c-#2 c-#3]
              = j2: NONE member=c-#2 gen=1 protocol=range leader=c-#1 members=[]
              = j3: NONE member=c-#3 gen=1 protocol=range leader=c-#1 members=[]
        "#]],
    );
}

#[test]
fn who_does_not_rejoin_in_time_is_dropped() {
    check_with(
        without_delay(),
        "join j1 v=3 topics=t1 rebalance=5000
         wait 0
         sync s1 member=c-#1 gen=1 assign=c-#1:A
         join j2 v=3 topics=t1 rebalance=5000
         wait 4000
         heartbeat h1 member=c-#1 gen=1
         wait 1000
         heartbeat h2 member=c-#1 gen=1
         sync s2 member=c-#2 gen=2 assign=c-#2:B",
        &expect![[r#"
            > join j1 v=3 topics=t1 rebalance=5000
              + group g gen=0 protocol=- leader=- at=0 []
            > wait 0
              = j1: NONE member=c-#1 gen=1 protocol=range leader=c-#1 members=[c-#1]
            > sync s1 member=c-#1 gen=1 assign=c-#1:A
              + group g gen=1 protocol=range leader=c-#1 at=0 ["c-#1=A"]
              = s1: NONE A
            > join j2 v=3 topics=t1 rebalance=5000
            > wait 4000
            > heartbeat h1 member=c-#1 gen=1
              = h1: REBALANCE_IN_PROGRESS
            > wait 1000
              = j2: NONE member=c-#2 gen=2 protocol=range leader=c-#2 members=[c-#2]
            > heartbeat h2 member=c-#1 gen=1
              = h2: UNKNOWN_MEMBER_ID
            > sync s2 member=c-#2 gen=2 assign=c-#2:B
              + group g gen=2 protocol=range leader=c-#2 at=5000 ["c-#2=B"]
              = s2: NONE B
        "#]],
    );
}

#[test]
fn a_session_without_heartbeats_expires_and_one_that_waits_does_not() {
    check_with(
        without_delay(),
        "join j1 v=3 topics=t1
         wait 0
         sync s1 member=c-#1 gen=1 assign=c-#1:A
         wait 9000
         heartbeat h1 member=c-#1 gen=1
         wait 9999
         describe
         wait 1
         describe
         heartbeat h2 member=c-#1 gen=1",
        &expect![[r#"
            > join j1 v=3 topics=t1
              + group g gen=0 protocol=- leader=- at=0 []
            > wait 0
              = j1: NONE member=c-#1 gen=1 protocol=range leader=c-#1 members=[c-#1]
            > sync s1 member=c-#1 gen=1 assign=c-#1:A
              + group g gen=1 protocol=range leader=c-#1 at=0 ["c-#1=A"]
              = s1: NONE A
            > wait 9000
            > heartbeat h1 member=c-#1 gen=1
              = h1: NONE
            > wait 9999
            > describe
              = describe: NONE Stable type=consumer protocol=range [c-#1] 
            > wait 1
              + group g gen=2 protocol=- leader=- at=19000 []
            > describe
              = describe: NONE Empty type=consumer protocol= [] 
            > heartbeat h2 member=c-#1 gen=1
              = h2: UNKNOWN_MEMBER_ID
        "#]],
    );
}

#[test]
fn who_never_asks_for_its_assignment_is_dropped() {
    check_with(
        without_delay(),
        "join j1 v=3 topics=t1 rebalance=8000 session=30000
         wait 0
         join j2 v=3 topics=t1 rebalance=8000 session=30000
         join j3 v=3 member=c-#1 topics=t1 rebalance=8000 session=30000
         sync s1 member=c-#1 gen=2 assign=c-#1:A,c-#2:B
         wait 8000
         describe",
        &expect![[r#"
            > join j1 v=3 topics=t1 rebalance=8000 session=30000
              + group g gen=0 protocol=- leader=- at=0 []
            > wait 0
              = j1: NONE member=c-#1 gen=1 protocol=range leader=c-#1 members=[c-#1]
            > join j2 v=3 topics=t1 rebalance=8000 session=30000
            > join j3 v=3 member=c-#1 topics=t1 rebalance=8000 session=30000
              = j3: NONE member=c-#1 gen=2 protocol=range leader=c-#1 members=[c-#1 c-#2]
              = j2: NONE member=c-#2 gen=2 protocol=range leader=c-#1 members=[]
            > sync s1 member=c-#1 gen=2 assign=c-#1:A,c-#2:B
              + group g gen=2 protocol=range leader=c-#1 at=0 ["c-#1=A", "c-#2=B"]
              = s1: NONE A
            > wait 8000
            > describe
              = describe: NONE PreparingRebalance type=consumer protocol= [c-#1] 
        "#]],
    );
}

#[test]
fn a_static_member_comes_back_under_a_new_id_without_a_rebalance() {
    check_with(
        without_delay(),
        "join j1 instance=i1 topics=t1
         wait 0
         sync s1 member=i1-#1 instance=i1 gen=1 assign=i1-#1:A
         join j2 instance=i1 topics=t1
         sync s2 member=i1-#2 instance=i1 gen=1
         heartbeat h1 member=i1-#1 instance=i1 gen=1
         heartbeat h2 member=i1-#2 instance=i1 gen=1
         commit o1 member=i1-#1 instance=i1 gen=1 offsets=t1:0
         reload
         join j3 v=8 instance=i1 topics=t1
         leave l1 instances=i1,i2
         describe",
        &expect![[r#"
            > join j1 instance=i1 topics=t1
              + group g gen=0 protocol=- leader=- at=0 []
            > wait 0
              = j1: NONE member=i1-#1 gen=1 protocol=range leader=i1-#1 members=[i1-#1]
            > sync s1 member=i1-#1 instance=i1 gen=1 assign=i1-#1:A
              + group g gen=1 protocol=range leader=i1-#1 at=0 ["i1-#1=A"]
              = s1: NONE A
            > join j2 instance=i1 topics=t1
              + group g gen=1 protocol=range leader=i1-#2 at=0 ["i1-#2=A"]
              = j2: NONE member=i1-#2 gen=1 protocol=range leader=i1-#2 members=[i1-#2] skip
            > sync s2 member=i1-#2 instance=i1 gen=1
              = s2: NONE A
            > heartbeat h1 member=i1-#1 instance=i1 gen=1
              = h1: FENCED_INSTANCE_ID
            > heartbeat h2 member=i1-#2 instance=i1 gen=1
              = h2: NONE
            > commit o1 member=i1-#1 instance=i1 gen=1 offsets=t1:0
              = o1: t1-0=FENCED_INSTANCE_ID
            > reload
            > join j3 v=8 instance=i1 topics=t1
              + group g gen=1 protocol=range leader=i1-#3 at=0 ["i1-#3=A"]
              = j3: NONE member=i1-#3 gen=1 protocol=range leader=i1-#2 members=[]
            > leave l1 instances=i1,i2
              + group g gen=2 protocol=- leader=- at=0 []
              = l1: NONE [i1=NONE i2=UNKNOWN_MEMBER_ID]
            > describe
              = describe: NONE Empty type=consumer protocol= [] 
        "#]],
    );
}

#[test]
fn a_static_member_with_another_protocol_rebalances() {
    check_with(
        without_delay(),
        "join j1 instance=i1 protocols=range,sticky topics=t1
         wait 0
         sync s1 member=i1-#1 instance=i1 gen=1 assign=i1-#1:A
         join j2 instance=i1 protocols=sticky topics=t1
         wait 20000",
        &expect![[r#"
            > join j1 instance=i1 protocols=range,sticky topics=t1
              + group g gen=0 protocol=- leader=- at=0 []
            > wait 0
              = j1: NONE member=i1-#1 gen=1 protocol=range leader=i1-#1 members=[i1-#1]
            > sync s1 member=i1-#1 instance=i1 gen=1 assign=i1-#1:A
              + group g gen=1 protocol=range leader=i1-#1 at=0 ["i1-#1=A"]
              = s1: NONE A
            > join j2 instance=i1 protocols=sticky topics=t1
              = j2: NONE member=i1-#2 gen=2 protocol=sticky leader=i1-#2 members=[i1-#2]
            > wait 20000
              + group g gen=3 protocol=- leader=- at=10000 []
        "#]],
    );
}

#[test]
fn a_static_member_that_waits_is_fenced_by_its_successor() {
    check(
        "join j1 instance=i1 topics=t1
         join j2 instance=i1 topics=t1
         wait 3000",
        &expect![[r#"
            > join j1 instance=i1 topics=t1
              + group g gen=0 protocol=- leader=- at=0 []
            > join j2 instance=i1 topics=t1
              = j1: FENCED_INSTANCE_ID member=i1-#1
            > wait 3000
              = j2: NONE member=i1-#2 gen=1 protocol=range leader=i1-#2 members=[i1-#2]
        "#]],
    );
}

#[test]
fn requests_that_cannot_be_are_refused() {
    check_with(
        GroupConfig { group_max_size: 1, ..without_delay() },
        "join j1 v=3 g= topics=t1
         join j2 v=3 session=5999 topics=t1
         join j3 v=3 session=1800001 topics=t1
         join j4 member=unknown topics=t1
         join j5 v=3 topics=t1
         wait 0
         join j6 v=3 topics=t1
         join j7 v=3 protocols=sticky topics=t1
         join j8 v=3 member=c-#1 type=connect topics=t1
         sync s1 g= member=c-#1
         sync s2 g=other member=c-#1
         sync s3 member=nobody
         heartbeat h1 g=other member=c-#1
         heartbeat h2 member=nobody
         heartbeat h3 member=c-#1 gen=7
         heartbeat h4 g=
         leave l1 g=other members=c-#1
         describe g=other
         delete g=other
         delete",
        &expect![[r#"
            > join j1 v=3 g= topics=t1
              = j1: INVALID_GROUP_ID member=
            > join j2 v=3 session=5999 topics=t1
              = j2: INVALID_SESSION_TIMEOUT member=
            > join j3 v=3 session=1800001 topics=t1
              = j3: INVALID_SESSION_TIMEOUT member=
            > join j4 member=unknown topics=t1
              = j4: UNKNOWN_MEMBER_ID member=unknown
            > join j5 v=3 topics=t1
              + group g gen=0 protocol=- leader=- at=0 []
            > wait 0
              = j5: NONE member=c-#1 gen=1 protocol=range leader=c-#1 members=[c-#1]
            > join j6 v=3 topics=t1
              = j6: GROUP_MAX_SIZE_REACHED member=
            > join j7 v=3 protocols=sticky topics=t1
              = j7: GROUP_MAX_SIZE_REACHED member=
            > join j8 v=3 member=c-#1 type=connect topics=t1
              = j8: INCONSISTENT_GROUP_PROTOCOL member=c-#1
            > sync s1 g= member=c-#1
              = s1: INVALID_GROUP_ID 
            > sync s2 g=other member=c-#1
              = s2: UNKNOWN_MEMBER_ID 
            > sync s3 member=nobody
              = s3: UNKNOWN_MEMBER_ID 
            > heartbeat h1 g=other member=c-#1
              = h1: UNKNOWN_MEMBER_ID
            > heartbeat h2 member=nobody
              = h2: UNKNOWN_MEMBER_ID
            > heartbeat h3 member=c-#1 gen=7
              = h3: ILLEGAL_GENERATION
            > heartbeat h4 g=
              = h4: INVALID_GROUP_ID
            > leave l1 g=other members=c-#1
              = l1: NONE [c-#1=UNKNOWN_MEMBER_ID]
            > describe g=other
              = describe: GROUP_ID_NOT_FOUND Dead type= protocol= [] Group other not found.
            > delete g=other
              = delete: GROUP_ID_NOT_FOUND
            > delete
              = delete: NON_EMPTY_GROUP
        "#]],
    );
}

#[test]
fn the_protocol_that_most_members_prefer_is_chosen() {
    check_with(
        without_delay(),
        "join j1 v=3 protocols=sticky,range topics=t1
         wait 0
         join j2 v=3 protocols=range,roundrobin topics=t1
         join j3 v=3 member=c-#1 protocols=sticky,range topics=t1
         join j4 v=3 protocols=roundrobin topics=t1",
        &expect![[r#"
            > join j1 v=3 protocols=sticky,range topics=t1
              + group g gen=0 protocol=- leader=- at=0 []
            > wait 0
              = j1: NONE member=c-#1 gen=1 protocol=sticky leader=c-#1 members=[c-#1]
            > join j2 v=3 protocols=range,roundrobin topics=t1
            > join j3 v=3 member=c-#1 protocols=sticky,range topics=t1
              = j3: NONE member=c-#1 gen=2 protocol=range leader=c-#1 members=[c-#1 c-#2]
              = j2: NONE member=c-#2 gen=2 protocol=range leader=c-#1 members=[]
            > join j4 v=3 protocols=roundrobin topics=t1
              = j4: INCONSISTENT_GROUP_PROTOCOL member=
        "#]],
    );
}

#[test]
fn everything_that_waits_is_answered_when_the_shard_goes() {
    check(
        "join j1 v=3 topics=t1
         join j2 v=3 topics=t1
         reload
         describe",
        &expect![[r#"
            > join j1 v=3 topics=t1
              + group g gen=0 protocol=- leader=- at=0 []
            > join j2 v=3 topics=t1
            > reload
              = j1: NOT_COORDINATOR member=c-#1
              = j2: NOT_COORDINATOR member=c-#2
            > describe
              = describe: NONE Empty type= protocol= [] 
        "#]],
    );
}

#[test]
fn groups_are_listed_by_state_and_type() {
    check(
        "commit o1 g=simple offsets=t1:0
         join j1 g=classic v=3 topics=t1
         beat b1 g=new member=m1 topics=t1
         list
         list states=empty
         list states=PreparingRebalance,stable
         list types=Classic
         list types=consumer states=Stable
         list types=nonsense",
        &expect![[r#"
            > commit o1 g=simple offsets=t1:0
              + offset simple t1-0 10
              = o1: t1-0=NONE
            > join j1 g=classic v=3 topics=t1
              + group classic gen=0 protocol=- leader=- at=0 []
            > beat b1 g=new member=m1 topics=t1
              + member m1 topics=t1
              + epoch new 2
              + target m1 [t1:0+1+2]
              + target new epoch=2
              + current m1 epoch=2 previous=0 state=0 [t1:0+1+2] revoking []
              = b1: NONE member=m1 epoch=2 [t1:0+1+2]
            > list
              = list: classic/classic/PreparingRebalance new/consumer/Stable simple/classic/Empty
            > list states=empty
              = list: simple/classic/Empty
            > list states=PreparingRebalance,stable
              = list: classic/classic/PreparingRebalance new/consumer/Stable
            > list types=Classic
              = list: classic/classic/PreparingRebalance simple/classic/Empty
            > list types=consumer states=Stable
              = list: new/consumer/Stable
            > list types=nonsense
              = list: 
        "#]],
    );
}

#[test]
fn a_loaded_group_over_capacity_rebalances_down_to_it() {
    let mut world = World::new(without_delay());
    world.run(
        "join j1 v=3 topics=t1
         join j2 v=3 topics=t1
         wait 0
         sync s1 member=c-#1 gen=1",
    );
    world.shard.set_config(GroupConfig { group_max_size: 1, ..without_delay() });
    world.run(
        "reload
         describe
         heartbeat h1 member=c-#2 gen=1
         join j3 v=3 member=c-#2 topics=t1
         join j4 v=3 member=c-#1 topics=t1
         wait 20000",
    );
    expect![[r#"
        > join j1 v=3 topics=t1
          + group g gen=0 protocol=- leader=- at=0 []
        > join j2 v=3 topics=t1
        > wait 0
          = j1: NONE member=c-#1 gen=1 protocol=range leader=c-#1 members=[c-#1 c-#2]
          = j2: NONE member=c-#2 gen=1 protocol=range leader=c-#1 members=[]
        > sync s1 member=c-#1 gen=1
          + group g gen=1 protocol=range leader=c-#1 at=0 ["c-#1=", "c-#2="]
          = s1: NONE 
        > reload
        > describe
          = describe: NONE PreparingRebalance type=consumer protocol= [c-#1 c-#2] 
        > heartbeat h1 member=c-#2 gen=1
          = h1: REBALANCE_IN_PROGRESS
        > join j3 v=3 member=c-#2 topics=t1
        > join j4 v=3 member=c-#1 topics=t1
          = j4: GROUP_MAX_SIZE_REACHED member=
        > wait 20000
          = j3: NONE member=c-#2 gen=2 protocol=range leader=c-#2 members=[c-#2]
    "#]]
    .assert_eq(&world.transcript.replace(UUID_PREFIX, "#"));
}

#[test]
fn a_request_the_shell_cannot_serve_is_answered_in_its_own_form() {
    use ottla_protocol::ErrorCode;
    use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
    use ottla_protocol::messages::join_group_request::JoinGroupRequest;

    use crate::group::{GroupRequest, GroupResponse};
    let heartbeat = GroupRequest::Heartbeat(HeartbeatRequest::default());
    // While groups load, members must not think that they are out.
    let GroupResponse::Heartbeat(response) =
        heartbeat.error_response(ErrorCode::CoordinatorLoadInProgress, None, 4)
    else {
        panic!()
    };
    assert_eq!(response.error_code, 0);
    let join = GroupRequest::JoinGroup(JoinGroupRequest::default());
    for (version, name) in [(6, Some("")), (7, None)] {
        let GroupResponse::JoinGroup(response) =
            join.error_response(ErrorCode::NotCoordinator, None, version)
        else {
            panic!()
        };
        assert_eq!(response.error_code, ErrorCode::NotCoordinator.code());
        assert_eq!(response.protocol_name.as_deref(), name);
    }
}

#[test]
fn versions_differ_in_what_they_must_say_and_are_told() {
    check_with(
        without_delay(),
        "join j1 v=3 topics=t1
         wait 0
         sync s1 v=5 member=c-#1 gen=1
         sync s2 v=5 member=c-#1 gen=1 type=consumer protocol=range assign=c-#1:A
         sync s3 v=5 member=c-#1 gen=1 type=connect protocol=range
         leave l1 v=2 member=nobody
         leave l2 v=2 member=c-#1",
        &expect![[r#"
            > join j1 v=3 topics=t1
              + group g gen=0 protocol=- leader=- at=0 []
            > wait 0
              = j1: NONE member=c-#1 gen=1 protocol=range leader=c-#1 members=[c-#1]
            > sync s1 v=5 member=c-#1 gen=1
              = s1: INCONSISTENT_GROUP_PROTOCOL 
            > sync s2 v=5 member=c-#1 gen=1 type=consumer protocol=range assign=c-#1:A
              + group g gen=1 protocol=range leader=c-#1 at=0 ["c-#1=A"]
              = s2: NONE A
            > sync s3 v=5 member=c-#1 gen=1 type=connect protocol=range
              = s3: INCONSISTENT_GROUP_PROTOCOL 
            > leave l1 v=2 member=nobody
              = l1: UNKNOWN_MEMBER_ID []
            > leave l2 v=2 member=c-#1
              + group g gen=2 protocol=- leader=- at=0 []
              = l2: NONE []
        "#]],
    );
}
