//! Consumer groups: joining, reconciling, fencing, timeouts, regular expressions.

use std::sync::Arc;

use expect_test::expect;
use ottla_protocol::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use ottla_protocol::types::Str;

use super::script::{World, check, check_with};
use crate::context::{ReplyToken, RequestContext};
use crate::group::{GroupConfig, GroupRequest};

fn without_interval() -> GroupConfig {
    GroupConfig { group_consumer_assignment_interval_ms: 0, ..GroupConfig::kafka_defaults() }
}

#[test]
fn partitions_move_from_one_member_to_another_step_by_step() {
    check_with(
        without_interval(),
        "beat b1 member=m1 epoch=0 topics=t1,t2
         beat b2 member=m2 epoch=0 topics=t1,t2
         describe848
         beat b3 member=m1 epoch=2 owned=t1:0+1+2,t2:0+1
         beat b4 member=m2 epoch=3
         beat b5 member=m1 epoch=2 owned=t1:0+1+2
         beat b6 member=m2 epoch=3
         beat b7 member=m2 epoch=3 owned=t2:0+1
         beat b8 member=m1 epoch=3
         describe848",
        &expect![[r#"
            > beat b1 member=m1 epoch=0 topics=t1,t2
              + member m1 topics=t1,t2
              + epoch g 2
              + target m1 [t1:0+1+2 t2:0+1]
              + target g epoch=2
              + current m1 epoch=2 previous=0 state=0 [t1:0+1+2 t2:0+1] revoking []
              = b1: NONE member=m1 epoch=2 [t1:0+1+2 t2:0+1]
            > beat b2 member=m2 epoch=0 topics=t1,t2
              + member m2 topics=t1,t2
              + epoch g 3
              + target m1 [t1:0+1+2]
              + target m2 [t2:0+1]
              + target g epoch=3
              + current m2 epoch=3 previous=0 state=2 [] revoking []
              = b2: NONE member=m2 epoch=3 []
            > describe848
              = describe848: NONE Reconciling epoch=3/3 uniform [m1@2/1 m2@3/1] 
            > beat b3 member=m1 epoch=2 owned=t1:0+1+2,t2:0+1
              + current m1 epoch=2 previous=2 state=1 [t1:0+1+2] revoking [t2:0+1]
              = b3: NONE member=m1 epoch=2 [t1:0+1+2]
            > beat b4 member=m2 epoch=3
              + current m2 epoch=3 previous=3 state=2 [] revoking []
              = b4: NONE member=m2 epoch=3
            > beat b5 member=m1 epoch=2 owned=t1:0+1+2
              + current m1 epoch=3 previous=2 state=0 [t1:0+1+2] revoking []
              = b5: NONE member=m1 epoch=3
            > beat b6 member=m2 epoch=3
              + current m2 epoch=3 previous=3 state=0 [t2:0+1] revoking []
              = b6: NONE member=m2 epoch=3 [t2:0+1]
            > beat b7 member=m2 epoch=3 owned=t2:0+1
              = b7: NONE member=m2 epoch=3
            > beat b8 member=m1 epoch=3
              = b8: NONE member=m1 epoch=3
            > describe848
              = describe848: NONE Stable epoch=3/3 uniform [m1@3/1 m2@3/1] 
        "#]],
    );
}

#[test]
fn epochs_that_do_not_fit_are_fenced() {
    check_with(
        without_interval(),
        "beat b1 member=m1 epoch=0 topics=t1
         beat b2 member=m2 epoch=0 topics=t1
         beat b3 member=m1 epoch=7
         beat b4 member=m1 epoch=1
         beat b5 member=m1 epoch=2 owned=t1:0+1+2
         beat b6 member=m1 epoch=2 owned=t1:0+1
         beat b7 member=m1 epoch=2 owned=t1:0+1
         beat b8 member=m1 epoch=2 owned=t1:2
         beat b9 member=nobody epoch=1
         beat b10 g=other member=m1 epoch=1
         beat b11 member=m1 epoch=0 topics=t1",
        &expect![[r#"
            > beat b1 member=m1 epoch=0 topics=t1
              + member m1 topics=t1
              + epoch g 2
              + target m1 [t1:0+1+2]
              + target g epoch=2
              + current m1 epoch=2 previous=0 state=0 [t1:0+1+2] revoking []
              = b1: NONE member=m1 epoch=2 [t1:0+1+2]
            > beat b2 member=m2 epoch=0 topics=t1
              + member m2 topics=t1
              + epoch g 3
              + target m1 [t1:0+1]
              + target m2 [t1:2]
              + target g epoch=3
              + current m2 epoch=3 previous=0 state=2 [] revoking []
              = b2: NONE member=m2 epoch=3 []
            > beat b3 member=m1 epoch=7
              = b3: FENCED_MEMBER_EPOCH The consumer group member has a greater member epoch (7) than the one known by the group coordinator (2). The member must abandon all its partitions and rejoin.
            > beat b4 member=m1 epoch=1
              = b4: FENCED_MEMBER_EPOCH The consumer group member has a smaller member epoch (1) than the one known by the group coordinator (2). The member must abandon all its partitions and rejoin.
            > beat b5 member=m1 epoch=2 owned=t1:0+1+2
              + current m1 epoch=2 previous=2 state=1 [t1:0+1] revoking [t1:2]
              = b5: NONE member=m1 epoch=2 [t1:0+1]
            > beat b6 member=m1 epoch=2 owned=t1:0+1
              + current m1 epoch=3 previous=2 state=0 [t1:0+1] revoking []
              = b6: NONE member=m1 epoch=3
            > beat b7 member=m1 epoch=2 owned=t1:0+1
              = b7: NONE member=m1 epoch=3
            > beat b8 member=m1 epoch=2 owned=t1:2
              = b8: FENCED_MEMBER_EPOCH The consumer group member has a smaller member epoch (2) than the one known by the group coordinator (3). The member must abandon all its partitions and rejoin.
            > beat b9 member=nobody epoch=1
              = b9: UNKNOWN_MEMBER_ID Member nobody is not a member of group g.
            > beat b10 g=other member=m1 epoch=1
              = b10: GROUP_ID_NOT_FOUND Consumer group other not found.
            > beat b11 member=m1 epoch=0 topics=t1
              = b11: NONE member=m1 epoch=3 [t1:0+1]
        "#]],
    );
}

#[test]
fn requests_that_cannot_be_are_refused() {
    check_with(
        GroupConfig { group_consumer_max_size: 1, ..GroupConfig::kafka_defaults() },
        "beat b1 epoch=0 topics=t1
         beat b2 v=0 epoch=1
         beat b3 g= member=m1 topics=t1
         beat b4 member=m1 epoch=0
         beat b5 member=m1 epoch=0 topics=t1 owned=t1:0
         beat b6 member=m1 epoch=0 topics=t1 rebalance=-1
         beat b7 member=m1 epoch=-2
         beat b8 member=m1 epoch=-3
         beat b9 member=m1 epoch=0 topics=t1 assignor=sticky
         beat b10 member=m1 epoch=0 topics=t1 instance=
         beat b11 member=m1 epoch=0 topics=t1 rack=
         beat b12 member=m1 epoch=0 regex=[
         beat b13 v=0 epoch=0 topics=t1
         beat b14 member=m2 epoch=0 topics=t1
         beat b15 member=m2 epoch=-1
         beat b16 g=other member=m2 epoch=-1",
        &expect![[r#"
            > beat b1 epoch=0 topics=t1
              = b1: INVALID_REQUEST MemberId can't be empty.
            > beat b2 v=0 epoch=1
              = b2: INVALID_REQUEST MemberId can't be empty.
            > beat b3 g= member=m1 topics=t1
              = b3: INVALID_REQUEST GroupId can't be empty.
            > beat b4 member=m1 epoch=0
              = b4: INVALID_REQUEST RebalanceTimeoutMs must be provided in first request.
            > beat b5 member=m1 epoch=0 topics=t1 owned=t1:0
              = b5: INVALID_REQUEST TopicPartitions must be empty when (re-)joining.
            > beat b6 member=m1 epoch=0 topics=t1 rebalance=-1
              = b6: INVALID_REQUEST RebalanceTimeoutMs must be provided in first request.
            > beat b7 member=m1 epoch=-2
              = b7: INVALID_REQUEST InstanceId can't be null.
            > beat b8 member=m1 epoch=-3
              = b8: INVALID_REQUEST MemberEpoch is invalid.
            > beat b9 member=m1 epoch=0 topics=t1 assignor=sticky
              = b9: UNSUPPORTED_ASSIGNOR ServerAssignor sticky is not supported. Supported assignors: uniform, range.
            > beat b10 member=m1 epoch=0 topics=t1 instance=
              = b10: INVALID_REQUEST InstanceId can't be empty.
            > beat b11 member=m1 epoch=0 topics=t1 rack=
              = b11: INVALID_REQUEST RackId can't be empty.
            > beat b12 member=m1 epoch=0 regex=[
              = b12: INVALID_REGULAR_EXPRESSION SubscribedTopicRegex `[` is not a valid regular expression: missing closing ].
            > beat b13 v=0 epoch=0 topics=t1
              + member AAAAAAAAAAAAAAAAAAAAAQ topics=t1
              + epoch g 2
              + target AAAAAAAAAAAAAAAAAAAAAQ [t1:0+1+2]
              + target g epoch=2
              + current AAAAAAAAAAAAAAAAAAAAAQ epoch=2 previous=0 state=0 [t1:0+1+2] revoking []
              = b13: NONE member=AAAAAAAAAAAAAAAAAAAAAQ epoch=2 [t1:0+1+2]
            > beat b14 member=m2 epoch=0 topics=t1
              = b14: GROUP_MAX_SIZE_REACHED The consumer group has reached its maximum capacity of 1 members.
            > beat b15 member=m2 epoch=-1
              = b15: UNKNOWN_MEMBER_ID Member m2 is not a member of group g.
            > beat b16 g=other member=m2 epoch=-1
              = b16: GROUP_ID_NOT_FOUND Group other not found.
        "#]],
    );
}

#[test]
fn a_member_that_leaves_gives_its_partitions_to_the_others() {
    check_with(
        without_interval(),
        "beat b1 member=m1 epoch=0 topics=t1
         beat b2 member=m2 epoch=0 topics=t1
         beat b3 member=m1 epoch=2 owned=t1:0+1+2
         beat b4 member=m1 epoch=2 owned=t1:0+1
         beat b5 member=m2 epoch=3
         beat b6 member=m1 epoch=-1
         beat b7 member=m2 epoch=3
         beat b8 member=m2 epoch=-1
         describe848
         beat b9 member=m3 epoch=0 topics=t1",
        &expect![[r#"
            > beat b1 member=m1 epoch=0 topics=t1
              + member m1 topics=t1
              + epoch g 2
              + target m1 [t1:0+1+2]
              + target g epoch=2
              + current m1 epoch=2 previous=0 state=0 [t1:0+1+2] revoking []
              = b1: NONE member=m1 epoch=2 [t1:0+1+2]
            > beat b2 member=m2 epoch=0 topics=t1
              + member m2 topics=t1
              + epoch g 3
              + target m1 [t1:0+1]
              + target m2 [t1:2]
              + target g epoch=3
              + current m2 epoch=3 previous=0 state=2 [] revoking []
              = b2: NONE member=m2 epoch=3 []
            > beat b3 member=m1 epoch=2 owned=t1:0+1+2
              + current m1 epoch=2 previous=2 state=1 [t1:0+1] revoking [t1:2]
              = b3: NONE member=m1 epoch=2 [t1:0+1]
            > beat b4 member=m1 epoch=2 owned=t1:0+1
              + current m1 epoch=3 previous=2 state=0 [t1:0+1] revoking []
              = b4: NONE member=m1 epoch=3
            > beat b5 member=m2 epoch=3
              + current m2 epoch=3 previous=3 state=0 [t1:2] revoking []
              = b5: NONE member=m2 epoch=3 [t1:2]
            > beat b6 member=m1 epoch=-1
              + current m1 gone
              + target m1 gone
              + member m1 gone
              + epoch g 4
              = b6: NONE member=m1 epoch=-1
            > beat b7 member=m2 epoch=3
              + target m2 [t1:0+1+2]
              + target g epoch=4
              + current m2 epoch=4 previous=3 state=0 [t1:0+1+2] revoking []
              = b7: NONE member=m2 epoch=4 [t1:0+1+2]
            > beat b8 member=m2 epoch=-1
              + current m2 gone
              + target m2 gone
              + member m2 gone
              + epoch g 5
              + target g epoch=5
              = b8: NONE member=m2 epoch=-1
            > describe848
              = describe848: NONE Empty epoch=5/5 uniform [] 
            > beat b9 member=m3 epoch=0 topics=t1
              + member m3 topics=t1
              + epoch g 6
              + target m3 [t1:0+1+2]
              + target g epoch=6
              + current m3 epoch=6 previous=0 state=0 [t1:0+1+2] revoking []
              = b9: NONE member=m3 epoch=6 [t1:0+1+2]
        "#]],
    );
}

#[test]
fn a_static_member_that_pauses_keeps_its_partitions() {
    check_with(
        without_interval(),
        "beat b1 member=m1 instance=i1 epoch=0 topics=t1
         beat b2 member=m2 instance=i1 epoch=0 topics=t1
         beat b3 member=m2 instance=i1 epoch=2
         beat b4 member=m1 instance=i1 epoch=-2
         beat b5 member=m2 instance=i1 epoch=0 topics=t1
         beat b6 member=m1 instance=i1 epoch=2
         beat b7 member=m2 instance=i2 epoch=2
         wait 44999
         describe848
         wait 1
         describe848",
        &expect![[r#"
            > beat b1 member=m1 instance=i1 epoch=0 topics=t1
              + member m1 topics=t1
              + epoch g 2
              + target m1 [t1:0+1+2]
              + target g epoch=2
              + current m1 epoch=2 previous=0 state=0 [t1:0+1+2] revoking []
              = b1: NONE member=m1 epoch=2 [t1:0+1+2]
            > beat b2 member=m2 instance=i1 epoch=0 topics=t1
              = b2: UNRELEASED_INSTANCE_ID Static member m2 with instance id i1 cannot join the group because the instance id is owned by m1 member.
            > beat b3 member=m2 instance=i1 epoch=2
              = b3: FENCED_INSTANCE_ID Static member m2 with instance id i1 was fenced by member m1.
            > beat b4 member=m1 instance=i1 epoch=-2
              + current m1 epoch=-2 previous=0 state=0 [t1:0+1+2] revoking []
              = b4: NONE member=m1 epoch=-2
            > beat b5 member=m2 instance=i1 epoch=0 topics=t1
              + current m1 gone
              + target m1 gone
              + member m1 gone
              + member m2 topics=t1
              + target m2 [t1:0+1+2]
              + current m2 epoch=0 previous=0 state=0 [t1:0+1+2] revoking []
              + current m2 epoch=2 previous=0 state=0 [t1:0+1+2] revoking []
              = b5: NONE member=m2 epoch=2 [t1:0+1+2]
            > beat b6 member=m1 instance=i1 epoch=2
              = b6: FENCED_INSTANCE_ID Static member m1 with instance id i1 was fenced by member m2.
            > beat b7 member=m2 instance=i2 epoch=2
              = b7: UNKNOWN_MEMBER_ID Instance id i2 is unknown.
            > wait 44999
            > describe848
              = describe848: NONE Stable epoch=2/2 uniform [m2@2/1] 
            > wait 1
              + current m2 gone
              + target m2 gone
              + member m2 gone
              + epoch g 3
              + target g epoch=3
            > describe848
              = describe848: NONE Empty epoch=3/3 uniform [] 
        "#]],
    );
}

#[test]
fn sessions_and_revocations_time_out() {
    check_with(
        without_interval(),
        "beat b1 member=m1 epoch=0 topics=t1 rebalance=10000
         beat b2 member=m2 epoch=0 topics=t1
         beat b3 member=m1 epoch=2
         wait 9999
         beat b4 member=m1 epoch=2
         wait 1
         beat b5 member=m1 epoch=2
         beat b6 member=m2 epoch=3
         wait 45000",
        &expect![[r#"
            > beat b1 member=m1 epoch=0 topics=t1 rebalance=10000
              + member m1 topics=t1
              + epoch g 2
              + target m1 [t1:0+1+2]
              + target g epoch=2
              + current m1 epoch=2 previous=0 state=0 [t1:0+1+2] revoking []
              = b1: NONE member=m1 epoch=2 [t1:0+1+2]
            > beat b2 member=m2 epoch=0 topics=t1
              + member m2 topics=t1
              + epoch g 3
              + target m1 [t1:0+1]
              + target m2 [t1:2]
              + target g epoch=3
              + current m2 epoch=3 previous=0 state=2 [] revoking []
              = b2: NONE member=m2 epoch=3 []
            > beat b3 member=m1 epoch=2
              + current m1 epoch=2 previous=2 state=1 [t1:0+1] revoking [t1:2]
              = b3: NONE member=m1 epoch=2 [t1:0+1]
            > wait 9999
            > beat b4 member=m1 epoch=2
              = b4: NONE member=m1 epoch=2
            > wait 1
              + current m1 gone
              + target m1 gone
              + member m1 gone
              + epoch g 4
            > beat b5 member=m1 epoch=2
              = b5: UNKNOWN_MEMBER_ID Member m1 is not a member of group g.
            > beat b6 member=m2 epoch=3
              + target m2 [t1:0+1+2]
              + target g epoch=4
              + current m2 epoch=4 previous=3 state=0 [t1:0+1+2] revoking []
              = b6: NONE member=m2 epoch=4 [t1:0+1+2]
            > wait 45000
              + current m2 gone
              + target m2 gone
              + member m2 gone
              + epoch g 5
              + target g epoch=5
        "#]],
    );
}

#[test]
fn the_assignment_interval_holds_assignments_back() {
    check(
        "wait 5000
         beat b1 member=m1 epoch=0 topics=t1
         wait 1
         beat b2 member=m2 epoch=0 topics=t1
         wait 998
         beat b3 member=m2 epoch=2
         wait 1
         beat b4 member=m2 epoch=2",
        &expect![[r#"
            > wait 5000
            > beat b1 member=m1 epoch=0 topics=t1
              + member m1 topics=t1
              + epoch g 2
              + target m1 [t1:0+1+2]
              + target g epoch=2
              + current m1 epoch=2 previous=0 state=0 [t1:0+1+2] revoking []
              = b1: NONE member=m1 epoch=2 [t1:0+1+2]
            > wait 1
            > beat b2 member=m2 epoch=0 topics=t1
              + member m2 topics=t1
              + epoch g 3
              + current m2 epoch=2 previous=0 state=0 [] revoking []
              = b2: NONE member=m2 epoch=2 []
            > wait 998
            > beat b3 member=m2 epoch=2
              = b3: NONE member=m2 epoch=2
            > wait 1
            > beat b4 member=m2 epoch=2
              + target m1 [t1:0+1]
              + target m2 [t1:2]
              + target g epoch=3
              + current m2 epoch=3 previous=2 state=2 [] revoking []
              = b4: NONE member=m2 epoch=3
        "#]],
    );
}

#[test]
fn a_changed_subscription_takes_partitions_away_at_once() {
    check(
        "beat b1 member=m1 epoch=0 topics=t1,t2
         wait 1
         beat b2 member=m1 epoch=2 topics=t2 owned=t1:0+1+2,t2:0+1
         beat b3 member=m1 epoch=2 owned=t2:0+1
         wait 1000
         beat b4 member=m1 epoch=2
         beat b5 member=m1 epoch=3",
        &expect![[r#"
            > beat b1 member=m1 epoch=0 topics=t1,t2
              + member m1 topics=t1,t2
              + epoch g 2
              + target m1 [t1:0+1+2 t2:0+1]
              + target g epoch=2
              + current m1 epoch=2 previous=0 state=0 [t1:0+1+2 t2:0+1] revoking []
              = b1: NONE member=m1 epoch=2 [t1:0+1+2 t2:0+1]
            > wait 1
            > beat b2 member=m1 epoch=2 topics=t2 owned=t1:0+1+2,t2:0+1
              + member m1 topics=t2
              + epoch g 3
              + target m1 [t2:0+1]
              + target g epoch=3
              + current m1 epoch=2 previous=2 state=1 [t2:0+1] revoking [t1:0+1+2]
              = b2: NONE member=m1 epoch=2 [t2:0+1]
            > beat b3 member=m1 epoch=2 owned=t2:0+1
              + current m1 epoch=3 previous=2 state=0 [t2:0+1] revoking []
              = b3: NONE member=m1 epoch=3
            > wait 1000
            > beat b4 member=m1 epoch=2
              = b4: FENCED_MEMBER_EPOCH The consumer group member has a smaller member epoch (2) than the one known by the group coordinator (3). The member must abandon all its partitions and rejoin.
            > beat b5 member=m1 epoch=3
              = b5: NONE member=m1 epoch=3
        "#]],
    );
}

#[test]
fn new_partitions_and_topics_are_noticed() {
    check_with(
        without_interval(),
        "beat b1 member=m1 epoch=0 topics=t1,t3
         topic t1 partitions=4
         beat b2 member=m1 epoch=2
         topic t3 partitions=1
         beat b3 member=m1 epoch=3
         drop t1
         beat b4 member=m1 epoch=4
         beat b5 member=m1 epoch=4 owned=t3:0",
        &expect![[r#"
            > beat b1 member=m1 epoch=0 topics=t1,t3
              + member m1 topics=t1,t3
              + epoch g 2
              + target m1 [t1:0+1+2]
              + target g epoch=2
              + current m1 epoch=2 previous=0 state=0 [t1:0+1+2] revoking []
              = b1: NONE member=m1 epoch=2 [t1:0+1+2]
            > topic t1 partitions=4
            > beat b2 member=m1 epoch=2
              + epoch g 3
              + target m1 [t1:0+1+2+3]
              + target g epoch=3
              + current m1 epoch=3 previous=2 state=0 [t1:0+1+2+3] revoking []
              = b2: NONE member=m1 epoch=3 [t1:0+1+2+3]
            > topic t3 partitions=1
            > beat b3 member=m1 epoch=3
              + epoch g 4
              + target m1 [t1:0+1+2+3 t3:0]
              + target g epoch=4
              + current m1 epoch=4 previous=3 state=0 [t1:0+1+2+3 t3:0] revoking []
              = b3: NONE member=m1 epoch=4 [t1:0+1+2+3 t3:0]
            > drop t1
            > beat b4 member=m1 epoch=4
              + epoch g 5
              + target m1 [t3:0]
              + target g epoch=5
              + current m1 epoch=4 previous=4 state=1 [t3:0] revoking [gone:0+1+2+3]
              = b4: NONE member=m1 epoch=4 [t3:0]
            > beat b5 member=m1 epoch=4 owned=t3:0
              + current m1 epoch=5 previous=4 state=0 [t3:0] revoking []
              = b5: NONE member=m1 epoch=5
        "#]],
    );
}

#[test]
fn regular_expressions_are_resolved_after_the_heartbeat() {
    check_with(
        without_interval(),
        "beat b1 member=m1 epoch=0 regex=t.*
         wait 0
         beat b2 member=m1 epoch=1
         topic t3 partitions=1
         wait 1
         beat b3 member=m1 epoch=2
         wait 10000
         beat b4 member=m1 epoch=2
         wait 0
         beat b5 member=m1 epoch=2
         beat b6 member=m2 epoch=0 regex=t.*
         beat b7 member=m1 epoch=3 regex= topics=t1 owned=t1:0+1+2,t2:0+1,t3:0
         beat b8 member=m2 epoch=-1
         describe848
         reload
         beat b9 member=m1 epoch=4",
        &expect![[r#"
            > beat b1 member=m1 epoch=0 regex=t.*
              + member m1 topics= regex=t.*
              + current m1 epoch=1 previous=0 state=0 [] revoking []
              = b1: NONE member=m1 epoch=1 []
            > wait 0
              + regex t.* [t1 t2]
              + epoch g 2
            > beat b2 member=m1 epoch=1
              + target m1 [t1:0+1+2 t2:0+1]
              + target g epoch=2
              + current m1 epoch=2 previous=1 state=0 [t1:0+1+2 t2:0+1] revoking []
              = b2: NONE member=m1 epoch=2 [t1:0+1+2 t2:0+1]
            > topic t3 partitions=1
            > wait 1
            > beat b3 member=m1 epoch=2
              = b3: NONE member=m1 epoch=2
            > wait 10000
            > beat b4 member=m1 epoch=2
              = b4: NONE member=m1 epoch=2
            > wait 0
              + regex t.* [t1 t2 t3]
              + epoch g 3
            > beat b5 member=m1 epoch=2
              + target m1 [t1:0+1+2 t2:0+1 t3:0]
              + target g epoch=3
              + current m1 epoch=3 previous=2 state=0 [t1:0+1+2 t2:0+1 t3:0] revoking []
              = b5: NONE member=m1 epoch=3 [t1:0+1+2 t2:0+1 t3:0]
            > beat b6 member=m2 epoch=0 regex=t.*
              + member m2 topics= regex=t.*
              + epoch g 4
              + target m1 [t1:0+1+2]
              + target m2 [t2:0+1 t3:0]
              + target g epoch=4
              + current m2 epoch=4 previous=0 state=2 [] revoking []
              = b6: NONE member=m2 epoch=4 []
            > beat b7 member=m1 epoch=3 regex= topics=t1 owned=t1:0+1+2,t2:0+1,t3:0
              + member m1 topics=t1
              + epoch g 5
              + target g epoch=5
              + current m1 epoch=3 previous=3 state=1 [t1:0+1+2] revoking [t2:0+1 t3:0]
              = b7: NONE member=m1 epoch=3 [t1:0+1+2]
            > beat b8 member=m2 epoch=-1
              + current m2 gone
              + target m2 gone
              + member m2 gone
              + regex t.* gone
              + epoch g 6
              = b8: NONE member=m2 epoch=-1
            > describe848
              = describe848: NONE Assigning epoch=6/5 uniform [m1@3/1] 
            > reload
            > beat b9 member=m1 epoch=4
              = b9: FENCED_MEMBER_EPOCH The consumer group member has a greater member epoch (4) than the one known by the group coordinator (3). The member must abandon all its partitions and rejoin.
        "#]],
    );
}

#[test]
fn the_assignor_most_members_ask_for_is_used() {
    check_with(
        without_interval(),
        "beat b1 member=m1 epoch=0 topics=t1,t2 assignor=range
         describe848
         beat b2 member=m2 epoch=0 topics=t1,t2 assignor=range
         beat b3 member=m1 epoch=2 owned=
         beat b4 member=m2 epoch=3
         beat b5 member=m2 epoch=3 topics=t1,t2 assignor=uniform
         beat b6 member=m1 epoch=3 topics=t1,t2 assignor=uniform
         describe848",
        &expect![[r#"
            > beat b1 member=m1 epoch=0 topics=t1,t2 assignor=range
              + member m1 topics=t1,t2
              + epoch g 2
              + target m1 [t1:0+1+2 t2:0+1]
              + target g epoch=2
              + current m1 epoch=2 previous=0 state=0 [t1:0+1+2 t2:0+1] revoking []
              = b1: NONE member=m1 epoch=2 [t1:0+1+2 t2:0+1]
            > describe848
              = describe848: NONE Stable epoch=2/2 range [m1@2/1] 
            > beat b2 member=m2 epoch=0 topics=t1,t2 assignor=range
              + member m2 topics=t1,t2
              + epoch g 3
              + target m1 [t1:0+1 t2:0]
              + target m2 [t1:2 t2:1]
              + target g epoch=3
              + current m2 epoch=3 previous=0 state=2 [] revoking []
              = b2: NONE member=m2 epoch=3 []
            > beat b3 member=m1 epoch=2 owned=
              + current m1 epoch=3 previous=2 state=0 [t1:0+1 t2:0] revoking []
              = b3: NONE member=m1 epoch=3 [t1:0+1 t2:0]
            > beat b4 member=m2 epoch=3
              + current m2 epoch=3 previous=3 state=0 [t1:2 t2:1] revoking []
              = b4: NONE member=m2 epoch=3 [t1:2 t2:1]
            > beat b5 member=m2 epoch=3 topics=t1,t2 assignor=uniform
              + member m2 topics=t1,t2
              + epoch g 4
              + target g epoch=4
              + current m2 epoch=4 previous=3 state=0 [t1:2 t2:1] revoking []
              = b5: NONE member=m2 epoch=4
            > beat b6 member=m1 epoch=3 topics=t1,t2 assignor=uniform
              + member m1 topics=t1,t2
              + current m1 epoch=4 previous=3 state=0 [t1:0+1 t2:0] revoking []
              = b6: NONE member=m1 epoch=4
            > describe848
              = describe848: NONE Stable epoch=4/4 uniform [m1@4/1 m2@4/1] 
        "#]],
    );
}

#[test]
fn commits_are_checked_against_the_member_epoch() {
    check_with(
        without_interval(),
        "beat b1 member=m1 epoch=0 topics=t1
         beat b2 member=m2 epoch=0 topics=t1
         beat b3 member=m1 epoch=2 owned=t1:0+1+2
         beat b4 member=m1 epoch=2 owned=t1:0+1
         commit o1 member=m1 gen=3 offsets=t1:0
         commit o2 member=m1 gen=2 offsets=t1:0
         commit o3 member=m1 gen=1 offsets=t1:0
         commit o4 member=m1 gen=2 offsets=t1:2
         commit o5 member=m1 gen=4 offsets=t1:0
         commit o6 v=8 member=m1 gen=3 offsets=t1:0
         commit o7 offsets=t1:0
         txncommit x1 offsets=t1:0
         txncommit x2 member=m1 gen=4 offsets=t1:0
         txncommit x3 v=6 member=m1 gen=4 offsets=t1:0
         fetch f1 member=m1 epoch=3
         fetch f2 member=m1 epoch=2
         fetch f3
         deloffsets d1 offsets=t1:0,t2:0
         delete",
        &expect![[r#"
            > beat b1 member=m1 epoch=0 topics=t1
              + member m1 topics=t1
              + epoch g 2
              + target m1 [t1:0+1+2]
              + target g epoch=2
              + current m1 epoch=2 previous=0 state=0 [t1:0+1+2] revoking []
              = b1: NONE member=m1 epoch=2 [t1:0+1+2]
            > beat b2 member=m2 epoch=0 topics=t1
              + member m2 topics=t1
              + epoch g 3
              + target m1 [t1:0+1]
              + target m2 [t1:2]
              + target g epoch=3
              + current m2 epoch=3 previous=0 state=2 [] revoking []
              = b2: NONE member=m2 epoch=3 []
            > beat b3 member=m1 epoch=2 owned=t1:0+1+2
              + current m1 epoch=2 previous=2 state=1 [t1:0+1] revoking [t1:2]
              = b3: NONE member=m1 epoch=2 [t1:0+1]
            > beat b4 member=m1 epoch=2 owned=t1:0+1
              + current m1 epoch=3 previous=2 state=0 [t1:0+1] revoking []
              = b4: NONE member=m1 epoch=3
            > commit o1 member=m1 gen=3 offsets=t1:0
              + offset g t1-0 10
              = o1: t1-0=NONE
            > commit o2 member=m1 gen=2 offsets=t1:0
              + offset g t1-0 10
              = o2: t1-0=NONE
            > commit o3 member=m1 gen=1 offsets=t1:0
              = o3: t1-0=STALE_MEMBER_EPOCH
            > commit o4 member=m1 gen=2 offsets=t1:2
              = o4: t1-2=STALE_MEMBER_EPOCH
            > commit o5 member=m1 gen=4 offsets=t1:0
              = o5: t1-0=STALE_MEMBER_EPOCH
            > commit o6 v=8 member=m1 gen=3 offsets=t1:0
              = o6: t1-0=UNSUPPORTED_VERSION
            > commit o7 offsets=t1:0
              = o7: t1-0=UNKNOWN_MEMBER_ID
            > txncommit x1 offsets=t1:0
              + offset g t1-0 10
              = x1: t1-0=NONE
            > txncommit x2 member=m1 gen=4 offsets=t1:0
              = x2: t1-0=ILLEGAL_GENERATION
            > txncommit x3 v=6 member=m1 gen=4 offsets=t1:0
              = x3: t1-0=STALE_MEMBER_EPOCH
            > fetch f1 member=m1 epoch=3
              = f1: NONE t1-0=10
            > fetch f2 member=m1 epoch=2
              = f2: STALE_MEMBER_EPOCH 
            > fetch f3
              = f3: NONE t1-0=10
            > deloffsets d1 offsets=t1:0,t2:0
              = d1: NONE t1-0=GROUP_SUBSCRIBED_TO_TOPIC t2-0=NONE
            > delete
              = delete: NON_EMPTY_GROUP
        "#]],
    );
}

#[test]
fn a_shard_that_moves_goes_on_with_its_members() {
    check_with(
        without_interval(),
        "beat b1 member=m1 epoch=0 topics=t1 rebalance=10000
         beat b2 member=m2 epoch=0 topics=t1
         beat b3 member=m1 epoch=2 owned=t1:0+1+2
         reload
         wait 9999
         beat b4 member=m2 epoch=3
         wait 1
         beat b5 member=m2 epoch=3",
        &expect![[r#"
            > beat b1 member=m1 epoch=0 topics=t1 rebalance=10000
              + member m1 topics=t1
              + epoch g 2
              + target m1 [t1:0+1+2]
              + target g epoch=2
              + current m1 epoch=2 previous=0 state=0 [t1:0+1+2] revoking []
              = b1: NONE member=m1 epoch=2 [t1:0+1+2]
            > beat b2 member=m2 epoch=0 topics=t1
              + member m2 topics=t1
              + epoch g 3
              + target m1 [t1:0+1]
              + target m2 [t1:2]
              + target g epoch=3
              + current m2 epoch=3 previous=0 state=2 [] revoking []
              = b2: NONE member=m2 epoch=3 []
            > beat b3 member=m1 epoch=2 owned=t1:0+1+2
              + current m1 epoch=2 previous=2 state=1 [t1:0+1] revoking [t1:2]
              = b3: NONE member=m1 epoch=2 [t1:0+1]
            > reload
            > wait 9999
            > beat b4 member=m2 epoch=3
              + current m2 epoch=3 previous=3 state=2 [] revoking []
              = b4: NONE member=m2 epoch=3
            > wait 1
              + current m1 gone
              + target m1 gone
              + member m1 gone
              + epoch g 4
            > beat b5 member=m2 epoch=3
              + target m2 [t1:0+1+2]
              + target g epoch=4
              + current m2 epoch=4 previous=3 state=0 [t1:0+1+2] revoking []
              = b5: NONE member=m2 epoch=4 [t1:0+1+2]
        "#]],
    );
}

#[test]
fn a_regular_expression_matches_only_topics_the_member_may_describe() {
    let mut world = World::new(without_interval());
    let ctx = RequestContext {
        client_id: Str::from("c"),
        client_host: Str::from("/127.0.0.1"),
        api_version: 1,
        topic_filter: Some(Arc::new(|topic: &str| topic == "t2")),
    };
    let request = GroupRequest::ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest {
        group_id: Str::from("g"),
        member_id: Str::from("m1"),
        rebalance_timeout_ms: 30_000,
        subscribed_topic_regex: Some(Str::from("t.*")),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    });
    world.step(|shard, env| shard.handle(request, ReplyToken(1), &ctx, env));
    world.run("wait 0\nbeat b2 member=m1 epoch=1");
    expect![[r#"
          + member m1 topics= regex=t.*
          + current m1 epoch=1 previous=0 state=0 [] revoking []
          = ?: NONE member=m1 epoch=1 []
        > wait 0
          + regex t.* [t2]
          + epoch g 2
        > beat b2 member=m1 epoch=1
          + target m1 [t2:0+1]
          + target g epoch=2
          + current m1 epoch=2 previous=1 state=0 [t2:0+1] revoking []
          = b2: NONE member=m1 epoch=2 [t2:0+1]
    "#]]
    .assert_eq(&world.transcript);
}
