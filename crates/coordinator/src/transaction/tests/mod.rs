//! Scripts against a transaction shard. After every step the shard is loaded anew from its log and compared with itself.

mod random;
mod script;

use expect_test::expect;
use ottla_protocol::ErrorCode;
use ottla_protocol::types::Str;

use self::script::{World, check, check_at};
use super::*;

#[test]
fn a_transaction_goes_from_begin_to_end_and_bumps_the_epoch() {
    check(
        "init i1
         verify v1 to=t1:0
         add a1 to=t1:0+1,t2:0
         verify v2 to=t1:0,t3:0
         add a2 to=t1:1
         describe d1
         commit e1
         add a3 to=t1:0 epoch=1
         verify v3 to=t1:0 epoch=1
         commit e2
         init i2
         written only=t1
         describe d2
         written only=t2
         commit e3
         abort e4
         describe d3
         add a4 epoch=1 to=t1:0
         abort e5 epoch=1
         written
         abort e6 epoch=1
         commit e7 epoch=1",
        &expect![[r#"
            > init i1
              + tx Empty pid=1 epoch=0 next=-1 tv=0 {}
              = i1: NONE pid=1 epoch=0
            > verify v1 to=t1:0
              = v1: t1-0=TRANSACTION_ABORTABLE
            > add a1 to=t1:0+1,t2:0
              + tx Ongoing pid=1 epoch=0 next=-1 tv=2 {"t1": {0, 1}, "t2": {0}}
              = a1: t1-0=NONE t1-1=NONE t2-0=NONE
            > verify v2 to=t1:0,t3:0
              = v2: t1-0=NONE t3-0=TRANSACTION_ABORTABLE
            > add a2 to=t1:1
              = a2: t1-1=NONE
            > describe d1
              = d1: NONE Ongoing pid=1 epoch=0 since=0 ["t1:[0, 1]", "t2:[0]"]
            > commit e1
              + tx PrepareCommit pid=1 epoch=1 next=-1 tv=2 {"t1": {0, 1}, "t2": {0}}
              = e1: NONE pid=1 epoch=1
              ! tx commit pid=1 epoch=1 tv=2 {"t1": {0, 1}, "t2": {0}}
            > add a3 to=t1:0 epoch=1
              = a3: t1-0=CONCURRENT_TRANSACTIONS
            > verify v3 to=t1:0 epoch=1
              = v3: t1-0=CONCURRENT_TRANSACTIONS
            > commit e2
              = e2: CONCURRENT_TRANSACTIONS pid=-1 epoch=-1
            > init i2
              = i2: CONCURRENT_TRANSACTIONS pid=-1 epoch=-1
            > written only=t1
            > describe d2
              = d2: NONE PrepareCommit pid=1 epoch=1 since=0 ["t2:[0]"]
            > written only=t2
              + tx CompleteCommit pid=1 epoch=1 next=-1 tv=2 {}
            > commit e3
              = e3: NONE pid=1 epoch=1
            > abort e4
              = e4: INVALID_TXN_STATE pid=-1 epoch=-1
            > describe d3
              = d3: NONE CompleteCommit pid=1 epoch=1 since=0 []
            > add a4 epoch=1 to=t1:0
              + tx Ongoing pid=1 epoch=1 next=-1 tv=2 {"t1": {0}}
              = a4: t1-0=NONE
            > abort e5 epoch=1
              + tx PrepareAbort pid=1 epoch=2 next=-1 tv=2 {"t1": {0}}
              = e5: NONE pid=1 epoch=2
              ! tx abort pid=1 epoch=2 tv=2 {"t1": {0}}
            > written
              + tx CompleteAbort pid=1 epoch=2 next=-1 tv=2 {}
            > abort e6 epoch=1
              = e6: NONE pid=1 epoch=2
            > commit e7 epoch=1
              = e7: INVALID_TXN_STATE pid=-1 epoch=-1
        "#]],
    );
}

#[test]
fn before_version_2_the_epoch_stays() {
    let script = "init i1
         add a1 v=3 to=t1:0
         offsets o1
         commit e1 v=4
         commit e2 v=4
         written
         commit e3 v=4
         abort e4 v=4
         add a2 v=3 to=t1:0
         init i2
         written
         init i3
         commit e5 v=4
         commit e6 v=1
         add a3 v=1 to=t1:0
         offsets o2 v=1";
    check_at(
        0,
        script,
        &expect![[r#"
        > init i1
          + tx Empty pid=1 epoch=0 next=-1 tv=0 {}
          = i1: NONE pid=1 epoch=0
        > add a1 v=3 to=t1:0
          + tx Ongoing pid=1 epoch=0 next=-1 tv=0 {"t1": {0}}
          = a1: t1-0=NONE
        > offsets o1
          + tx Ongoing pid=1 epoch=0 next=-1 tv=0 {"__consumer_offsets": {3}, "t1": {0}}
          = o1: NONE
        > commit e1 v=4
          + tx PrepareCommit pid=1 epoch=0 next=-1 tv=0 {"__consumer_offsets": {3}, "t1": {0}}
          = e1: NONE pid=-1 epoch=-1
          ! tx commit pid=1 epoch=0 tv=0 {"__consumer_offsets": {3}, "t1": {0}}
        > commit e2 v=4
          = e2: CONCURRENT_TRANSACTIONS pid=-1 epoch=-1
        > written
          + tx CompleteCommit pid=1 epoch=0 next=-1 tv=0 {}
        > commit e3 v=4
          = e3: NONE pid=-1 epoch=-1
        > abort e4 v=4
          = e4: INVALID_TXN_STATE pid=-1 epoch=-1
        > add a2 v=3 to=t1:0
          + tx Ongoing pid=1 epoch=0 next=-1 tv=0 {"t1": {0}}
          = a2: t1-0=NONE
        > init i2
          + tx PrepareAbort pid=1 epoch=1 next=-1 tv=0 {"t1": {0}}
          = i2: CONCURRENT_TRANSACTIONS pid=-1 epoch=-1
          ! tx abort pid=1 epoch=1 tv=0 {"t1": {0}}
        > written
          + tx CompleteAbort pid=1 epoch=1 next=-1 tv=0 {}
        > init i3
          + tx Empty pid=1 epoch=2 next=-1 tv=0 {}
          = i3: NONE pid=1 epoch=2
        > commit e5 v=4
          = e5: PRODUCER_FENCED pid=-1 epoch=-1
        > commit e6 v=1
          = e6: INVALID_PRODUCER_EPOCH pid=-1 epoch=-1
        > add a3 v=1 to=t1:0
          = a3: t1-0=INVALID_PRODUCER_EPOCH
        > offsets o2 v=1
          = o2: INVALID_PRODUCER_EPOCH
    "#]],
    );
    check_at(
        1,
        script,
        &expect![[r#"
        > init i1
          + tx Empty pid=1 epoch=0 next=-1 tv=0 {}
          = i1: NONE pid=1 epoch=0
        > add a1 v=3 to=t1:0
          + tx Ongoing pid=1 epoch=0 next=-1 tv=0 {"t1": {0}}
          = a1: t1-0=NONE
        > offsets o1
          + tx Ongoing pid=1 epoch=0 next=-1 tv=0 {"__consumer_offsets": {3}, "t1": {0}}
          = o1: NONE
        > commit e1 v=4
          + tx PrepareCommit pid=1 epoch=0 next=-1 tv=0 {"__consumer_offsets": {3}, "t1": {0}}
          = e1: NONE pid=-1 epoch=-1
          ! tx commit pid=1 epoch=0 tv=0 {"__consumer_offsets": {3}, "t1": {0}}
        > commit e2 v=4
          = e2: CONCURRENT_TRANSACTIONS pid=-1 epoch=-1
        > written
          + tx CompleteCommit pid=1 epoch=0 next=-1 tv=0 {}
        > commit e3 v=4
          = e3: NONE pid=-1 epoch=-1
        > abort e4 v=4
          = e4: INVALID_TXN_STATE pid=-1 epoch=-1
        > add a2 v=3 to=t1:0
          + tx Ongoing pid=1 epoch=0 next=-1 tv=0 {"t1": {0}}
          = a2: t1-0=NONE
        > init i2
          + tx PrepareAbort pid=1 epoch=1 next=-1 tv=0 {"t1": {0}}
          = i2: CONCURRENT_TRANSACTIONS pid=-1 epoch=-1
          ! tx abort pid=1 epoch=1 tv=0 {"t1": {0}}
        > written
          + tx CompleteAbort pid=1 epoch=1 next=-1 tv=0 {}
        > init i3
          + tx Empty pid=1 epoch=2 next=-1 tv=0 {}
          = i3: NONE pid=1 epoch=2
        > commit e5 v=4
          = e5: PRODUCER_FENCED pid=-1 epoch=-1
        > commit e6 v=1
          = e6: INVALID_PRODUCER_EPOCH pid=-1 epoch=-1
        > add a3 v=1 to=t1:0
          = a3: t1-0=INVALID_PRODUCER_EPOCH
        > offsets o2 v=1
          = o2: INVALID_PRODUCER_EPOCH
    "#]],
    );
}

#[test]
fn a_new_producer_fences_the_old_one_and_aborts_its_transaction() {
    check(
        "init i1
         add a1 to=t1:0
         init i2
         init i3
         written
         init i4
         commit e1
         add a2 to=t1:0
         init i5 pid=1 epoch=0
         init i6 v=3 pid=1 epoch=0
         init i7 pid=9 epoch=2
         init i8 pid=1 epoch=2
         init i9 pid=1 epoch=2",
        &expect![[r#"
            > init i1
              + tx Empty pid=1 epoch=0 next=-1 tv=0 {}
              = i1: NONE pid=1 epoch=0
            > add a1 to=t1:0
              + tx Ongoing pid=1 epoch=0 next=-1 tv=2 {"t1": {0}}
              = a1: t1-0=NONE
            > init i2
              + tx PrepareAbort pid=1 epoch=1 next=-1 tv=2 {"t1": {0}}
              = i2: CONCURRENT_TRANSACTIONS pid=-1 epoch=-1
              ! tx abort pid=1 epoch=1 tv=2 {"t1": {0}}
            > init i3
              = i3: CONCURRENT_TRANSACTIONS pid=-1 epoch=-1
            > written
              + tx CompleteAbort pid=1 epoch=1 next=-1 tv=2 {}
            > init i4
              + tx Empty pid=1 epoch=2 next=-1 tv=2 {}
              = i4: NONE pid=1 epoch=2
            > commit e1
              = e1: PRODUCER_FENCED pid=-1 epoch=-1
            > add a2 to=t1:0
              = a2: t1-0=PRODUCER_FENCED
            > init i5 pid=1 epoch=0
              = i5: PRODUCER_FENCED pid=-1 epoch=-1
            > init i6 v=3 pid=1 epoch=0
              = i6: INVALID_PRODUCER_EPOCH pid=-1 epoch=-1
            > init i7 pid=9 epoch=2
              = i7: PRODUCER_FENCED pid=-1 epoch=-1
            > init i8 pid=1 epoch=2
              + tx Empty pid=1 epoch=3 next=-1 tv=2 {}
              = i8: NONE pid=1 epoch=3
            > init i9 pid=1 epoch=2
              + tx Empty pid=1 epoch=3 next=-1 tv=2 {}
              = i9: NONE pid=1 epoch=3
        "#]],
    );
}

#[test]
fn an_abort_without_partitions_is_complete_at_once() {
    check(
        "init i1
         abort e1
         abort e2
         abort e3 epoch=1
         commit e4 epoch=2",
        &expect![[r#"
            > init i1
              + tx Empty pid=1 epoch=0 next=-1 tv=0 {}
              = i1: NONE pid=1 epoch=0
            > abort e1
              + tx PrepareAbort pid=1 epoch=1 next=-1 tv=2 {}
              + tx CompleteAbort pid=1 epoch=1 next=-1 tv=2 {}
              = e1: NONE pid=1 epoch=1
            > abort e2
              = e2: NONE pid=1 epoch=1
            > abort e3 epoch=1
              + tx PrepareAbort pid=1 epoch=2 next=-1 tv=2 {}
              + tx CompleteAbort pid=1 epoch=2 next=-1 tv=2 {}
              = e3: NONE pid=1 epoch=2
            > commit e4 epoch=2
              = e4: INVALID_TXN_STATE pid=-1 epoch=-1
        "#]],
    );
}

#[test]
fn requests_that_cannot_be_are_refused() {
    check(
        "init i1 id=
         init i2 timeout=0
         init i3 timeout=900001
         init i4 pid=1
         init i5 epoch=1
         init i6 2pc=1
         init i7 keep=1
         init i8 id=null
         add a1 to=t1:0
         add a2 id= to=t1:0
         verify v1 to=t1:0
         commit e1
         commit e2 id=
         describe d1
         describe d2 id=
         ids 0
         init i9
         init i10 id=null
         ids 1
         init i11
         add a3 pid=9 to=t1:0
         add a4 pid=2 epoch=9 to=t1:0
         add a5 v=1 pid=2 epoch=9 to=t1:0
         commit e3 pid=2
         commit e4 pid=2 epoch=3
         commit e5 v=1 pid=2 epoch=3",
        &expect![[r#"
            > init i1 id=
              = i1: INVALID_REQUEST pid=-1 epoch=-1
            > init i2 timeout=0
              = i2: INVALID_TRANSACTION_TIMEOUT pid=-1 epoch=-1
            > init i3 timeout=900001
              = i3: INVALID_TRANSACTION_TIMEOUT pid=-1 epoch=-1
            > init i4 pid=1
              = i4: INVALID_REQUEST pid=-1 epoch=-1
            > init i5 epoch=1
              = i5: INVALID_REQUEST pid=-1 epoch=-1
            > init i6 2pc=1
              = i6: TRANSACTIONAL_ID_AUTHORIZATION_FAILED pid=-1 epoch=-1
            > init i7 keep=1
              = i7: UNSUPPORTED_VERSION pid=-1 epoch=-1
            > init i8 id=null
              = i8: NONE pid=1 epoch=0
            > add a1 to=t1:0
              = a1: t1-0=INVALID_PRODUCER_ID_MAPPING
            > add a2 id= to=t1:0
              = a2: t1-0=INVALID_REQUEST
            > verify v1 to=t1:0
              = v1: t1-0=INVALID_PRODUCER_ID_MAPPING
            > commit e1
              = e1: INVALID_PRODUCER_ID_MAPPING pid=-1 epoch=-1
            > commit e2 id=
              = e2: INVALID_REQUEST pid=-1 epoch=-1
            > describe d1
              = d1: TRANSACTIONAL_ID_NOT_FOUND  pid=0 epoch=0 since=0 []
            > describe d2 id=
              = d2: INVALID_REQUEST  pid=0 epoch=0 since=0 []
            > ids 0
            > init i9
              = i9: COORDINATOR_LOAD_IN_PROGRESS pid=-1 epoch=-1
            > init i10 id=null
              = i10: COORDINATOR_LOAD_IN_PROGRESS pid=-1 epoch=-1
            > ids 1
            > init i11
              + tx Empty pid=2 epoch=0 next=-1 tv=0 {}
              = i11: NONE pid=2 epoch=0
            > add a3 pid=9 to=t1:0
              = a3: t1-0=INVALID_PRODUCER_ID_MAPPING
            > add a4 pid=2 epoch=9 to=t1:0
              = a4: t1-0=PRODUCER_FENCED
            > add a5 v=1 pid=2 epoch=9 to=t1:0
              = a5: t1-0=INVALID_PRODUCER_EPOCH
            > commit e3 pid=2
              = e3: INVALID_TXN_STATE pid=-1 epoch=-1
            > commit e4 pid=2 epoch=3
              = e4: PRODUCER_FENCED pid=-1 epoch=-1
            > commit e5 v=1 pid=2 epoch=3
              = e5: INVALID_PRODUCER_EPOCH pid=-1 epoch=-1
        "#]],
    );
}

#[test]
fn markers_are_tried_until_they_are_written() {
    check(
        "init i1
         add a1 to=t1:0+1,t2:0
         commit e1
         written only=t2
         failed only=t1
         wait 99
         wait 1
         written only=t1
         add a2 epoch=1 to=t1:0
         commit e2 epoch=1
         reload
         deleted
         add a3 epoch=2 to=t1:0
         abort e3 epoch=2
         fenced
         wait 100000
         describe d1",
        &expect![[r#"
            > init i1
              + tx Empty pid=1 epoch=0 next=-1 tv=0 {}
              = i1: NONE pid=1 epoch=0
            > add a1 to=t1:0+1,t2:0
              + tx Ongoing pid=1 epoch=0 next=-1 tv=2 {"t1": {0, 1}, "t2": {0}}
              = a1: t1-0=NONE t1-1=NONE t2-0=NONE
            > commit e1
              + tx PrepareCommit pid=1 epoch=1 next=-1 tv=2 {"t1": {0, 1}, "t2": {0}}
              = e1: NONE pid=1 epoch=1
              ! tx commit pid=1 epoch=1 tv=2 {"t1": {0, 1}, "t2": {0}}
            > written only=t2
            > failed only=t1
            > wait 99
            > wait 1
              ! tx commit pid=1 epoch=1 tv=2 {"t1": {0, 1}}
            > written only=t1
              + tx CompleteCommit pid=1 epoch=1 next=-1 tv=2 {}
            > add a2 epoch=1 to=t1:0
              + tx Ongoing pid=1 epoch=1 next=-1 tv=2 {"t1": {0}}
              = a2: t1-0=NONE
            > commit e2 epoch=1
              + tx PrepareCommit pid=1 epoch=2 next=-1 tv=2 {"t1": {0}}
              = e2: NONE pid=1 epoch=2
              ! tx commit pid=1 epoch=2 tv=2 {"t1": {0}}
            > reload
              ! tx commit pid=1 epoch=2 tv=2 {"t1": {0}}
            > deleted
              + tx CompleteCommit pid=1 epoch=2 next=-1 tv=2 {}
            > add a3 epoch=2 to=t1:0
              + tx Ongoing pid=1 epoch=2 next=-1 tv=2 {"t1": {0}}
              = a3: t1-0=NONE
            > abort e3 epoch=2
              + tx PrepareAbort pid=1 epoch=3 next=-1 tv=2 {"t1": {0}}
              = e3: NONE pid=1 epoch=3
              ! tx abort pid=1 epoch=3 tv=2 {"t1": {0}}
            > fenced
            > wait 100000
            > describe d1
              = d1: NONE PrepareAbort pid=1 epoch=3 since=100 ["t1:[0]"]
        "#]],
    );
}

#[test]
fn results_of_an_earlier_transaction_are_ignored() {
    let mut world = World::new(TxnConfig::kafka_defaults());
    world.run("init i1\nadd a1 to=t1:0\ncommit e1");
    let earlier = world.sent[&Str::from("tx")].clone();
    world.run("written\nadd a2 epoch=1 to=t1:0\ncommit e2 epoch=1");
    let results = [(Str::from("t1"), 0, MarkerResult::Answered(ErrorCode::None))];
    assert!(world.shard.on_markers_written(&earlier, &results, 0).is_empty());
    assert_eq!(world.shard.pending_markers("tx").len(), 1);
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted() {
    check(
        "init i1 timeout=15000
         add a1 to=t1:0
         wait 19999
         wait 1
         commit e1
         written
         commit e2
         init i2 pid=1 epoch=0
         init i3",
        &expect![[r#"
            > init i1 timeout=15000
              + tx Empty pid=1 epoch=0 next=-1 tv=0 {}
              = i1: NONE pid=1 epoch=0
            > add a1 to=t1:0
              + tx Ongoing pid=1 epoch=0 next=-1 tv=2 {"t1": {0}}
              = a1: t1-0=NONE
            > wait 19999
            > wait 1
              + tx PrepareAbort pid=1 epoch=1 next=-1 tv=2 {"t1": {0}}
              ! tx abort pid=1 epoch=1 tv=2 {"t1": {0}}
            > commit e1
              = e1: CONCURRENT_TRANSACTIONS pid=-1 epoch=-1
            > written
              + tx CompleteAbort pid=1 epoch=1 next=-1 tv=2 {}
            > commit e2
              = e2: INVALID_TXN_STATE pid=-1 epoch=-1
            > init i2 pid=1 epoch=0
              + tx Empty pid=1 epoch=1 next=-1 tv=2 {}
              = i2: NONE pid=1 epoch=1
            > init i3
              + tx Empty pid=1 epoch=2 next=-1 tv=2 {}
              = i3: NONE pid=1 epoch=2
        "#]],
    );
    check_at(
        0,
        "init i1 timeout=15000
         add a1 v=3 to=t1:0
         wait 20000
         commit e1 v=4
         written
         init i2",
        &expect![[r#"
            > init i1 timeout=15000
              + tx Empty pid=1 epoch=0 next=-1 tv=0 {}
              = i1: NONE pid=1 epoch=0
            > add a1 v=3 to=t1:0
              + tx Ongoing pid=1 epoch=0 next=-1 tv=0 {"t1": {0}}
              = a1: t1-0=NONE
            > wait 20000
              + tx PrepareAbort pid=1 epoch=1 next=-1 tv=0 {"t1": {0}}
              ! tx abort pid=1 epoch=1 tv=0 {"t1": {0}}
            > commit e1 v=4
              = e1: PRODUCER_FENCED pid=-1 epoch=-1
            > written
              + tx CompleteAbort pid=1 epoch=1 next=-1 tv=0 {}
            > init i2
              + tx Empty pid=1 epoch=2 next=-1 tv=0 {}
              = i2: NONE pid=1 epoch=2
        "#]],
    );
}

#[test]
fn transactional_ids_that_are_not_used_are_forgotten() {
    let mut world = World::new(TxnConfig {
        transactional_id_expiration_ms: 7_200_000,
        transaction_max_timeout_ms: i32::MAX,
        ..TxnConfig::kafka_defaults()
    });
    world.run(
        "init i1 id=a
         init i2 id=b timeout=2147483647
         add a1 id=b pid=2 to=t1:0
         wait 7199999
         list l1
         wait 1
         list l2",
    );
    expect![[r#"
        > init i1 id=a
          + a Empty pid=1 epoch=0 next=-1 tv=0 {}
          = i1: NONE pid=1 epoch=0
        > init i2 id=b timeout=2147483647
          + b Empty pid=2 epoch=0 next=-1 tv=0 {}
          = i2: NONE pid=2 epoch=0
        > add a1 id=b pid=2 to=t1:0
          + b Ongoing pid=2 epoch=0 next=-1 tv=2 {"t1": {0}}
          = a1: t1-0=NONE
        > wait 7199999
        > list l1
          = l1: NONE a/Empty b/Ongoing unknown=[]
        > wait 1
          + a gone
        > list l2
          = l2: NONE b/Ongoing unknown=[]
    "#]]
    .assert_eq(&world.transcript);
}

#[test]
fn a_producer_id_is_replaced_when_its_epochs_are_used_up() {
    let mut world = World::new(TxnConfig::kafka_defaults());
    world.put_at_epoch(i16::MAX - 2);
    world.run(
        "add a1 epoch=32765 to=t1:0
         commit e1 epoch=32765
         written
         add a2 epoch=32766 to=t1:0
         commit e2 epoch=32766
         written
         commit e3 epoch=32766
         add a3 pid=2 epoch=0 to=t1:0
         init i1 pid=1 epoch=32766",
    );
    expect![[r#"
          + tx Empty pid=1 epoch=32765 next=-1 tv=0 {}
        > add a1 epoch=32765 to=t1:0
          + tx Ongoing pid=1 epoch=32765 next=-1 tv=2 {"t1": {0}}
          = a1: t1-0=NONE
        > commit e1 epoch=32765
          + tx PrepareCommit pid=1 epoch=32766 next=-1 tv=2 {"t1": {0}}
          = e1: NONE pid=1 epoch=32766
          ! tx commit pid=1 epoch=32766 tv=2 {"t1": {0}}
        > written
          + tx CompleteCommit pid=1 epoch=32766 next=-1 tv=2 {}
        > add a2 epoch=32766 to=t1:0
          + tx Ongoing pid=1 epoch=32766 next=-1 tv=2 {"t1": {0}}
          = a2: t1-0=NONE
        > commit e2 epoch=32766
          + tx PrepareCommit pid=1 epoch=32767 next=2 tv=2 {"t1": {0}}
          = e2: NONE pid=2 epoch=0
          ! tx commit pid=1 epoch=32767 tv=2 {"t1": {0}}
        > written
          + tx CompleteCommit pid=2 epoch=0 next=-1 tv=2 {}
        > commit e3 epoch=32766
          = e3: NONE pid=2 epoch=0
        > add a3 pid=2 epoch=0 to=t1:0
          + tx Ongoing pid=2 epoch=0 next=-1 tv=2 {"t1": {0}}
          = a3: t1-0=NONE
        > init i1 pid=1 epoch=32766
          = i1: PRODUCER_FENCED pid=-1 epoch=-1
    "#]]
    .assert_eq(&world.transcript);
    let mut world = World::new(TxnConfig { transaction_version: 0, ..TxnConfig::kafka_defaults() });
    world.put_at_epoch(i16::MAX - 2);
    world.run(
        "init i1
         init i2
         init i3 pid=1 epoch=32766
         init i4 pid=1 epoch=32765",
    );
    expect![[r#"
          + tx Empty pid=1 epoch=32765 next=-1 tv=0 {}
        > init i1
          + tx Empty pid=1 epoch=32766 next=-1 tv=0 {}
          = i1: NONE pid=1 epoch=32766
        > init i2
          + tx Empty pid=2 epoch=0 next=-1 tv=0 {}
          = i2: NONE pid=2 epoch=0
        > init i3 pid=1 epoch=32766
          = i3: PRODUCER_FENCED pid=-1 epoch=-1
        > init i4 pid=1 epoch=32765
          = i4: PRODUCER_FENCED pid=-1 epoch=-1
    "#]]
    .assert_eq(&world.transcript);
}

#[test]
fn transactions_are_listed_by_state_producer_duration_and_pattern() {
    check(
        "init i1 id=a1
         init i2 id=a2
         init i3 id=b1
         wait 5000
         add x1 id=a2 pid=2 to=t1:0
         wait 5000
         list l1
         list l2 states=Ongoing
         list l3 states=Ongoing,Nonsense
         list l4 states=Nonsense
         list l5 pid=3
         list l6 longer=4999 states=Ongoing
         list l7 longer=5000 states=Ongoing
         list l8 pattern=a.
         list l9 pattern=a
         list l10 pattern=[",
        &expect![[r#"
            > init i1 id=a1
              + a1 Empty pid=1 epoch=0 next=-1 tv=0 {}
              = i1: NONE pid=1 epoch=0
            > init i2 id=a2
              + a2 Empty pid=2 epoch=0 next=-1 tv=0 {}
              = i2: NONE pid=2 epoch=0
            > init i3 id=b1
              + b1 Empty pid=3 epoch=0 next=-1 tv=0 {}
              = i3: NONE pid=3 epoch=0
            > wait 5000
            > add x1 id=a2 pid=2 to=t1:0
              + a2 Ongoing pid=2 epoch=0 next=-1 tv=2 {"t1": {0}}
              = x1: t1-0=NONE
            > wait 5000
            > list l1
              = l1: NONE a1/Empty a2/Ongoing b1/Empty unknown=[]
            > list l2 states=Ongoing
              = l2: NONE a2/Ongoing unknown=[]
            > list l3 states=Ongoing,Nonsense
              = l3: NONE a2/Ongoing unknown=["Nonsense"]
            > list l4 states=Nonsense
              = l4: NONE  unknown=["Nonsense"]
            > list l5 pid=3
              = l5: NONE b1/Empty unknown=[]
            > list l6 longer=4999 states=Ongoing
              = l6: NONE a2/Ongoing unknown=[]
            > list l7 longer=5000 states=Ongoing
              = l7: NONE  unknown=[]
            > list l8 pattern=a.
              = l8: NONE a1/Empty a2/Ongoing unknown=[]
            > list l9 pattern=a
              = l9: NONE  unknown=[]
            > list l10 pattern=[
              = l10: INVALID_REGULAR_EXPRESSION  unknown=[]
        "#]],
    );
}
