//! The table of changes: joins, leaves within and after the grace, and nodes that take over.

use super::super::super::random::Random;
use super::*;

const ALONE: Role = Role { is_owner: true, is_shared: false };
const OWNER: Role = Role { is_owner: true, is_shared: true };
const OTHER: Role = Role { is_owner: false, is_shared: true };

fn changes() -> Changes {
    Changes::new(Random::new([0; 32]).hashing(), 1_000)
}

fn subject() -> Subject {
    Subject { app: 0, channel: "c".into(), user: None }
}

/// Does all checks up to this time; returns what they have sent.
fn run(changes: &mut Changes, role: Role, until_ms: u64) -> Vec<Step> {
    let mut steps = Vec::new();
    while let Some(at_ms) = changes.next_ms().filter(|at_ms| *at_ms <= until_ms) {
        if let Some(subject) = changes.next_due(at_ms) {
            steps.push(changes.check(subject, role, true, at_ms));
        }
    }
    steps.retain(|step| *step != Step::Nothing);
    steps
}

#[test]
fn a_node_alone_sends_joins_at_once_and_leaves_after_the_grace() {
    let mut changes = changes();
    assert_eq!(changes.set(subject(), true, ALONE, 0), Step::Send(true));
    assert_eq!(changes.len(), 0, "what was reported takes no memory");
    assert_eq!(changes.set(subject(), false, ALONE, 1_000), Step::Nothing);
    assert_eq!(run(&mut changes, ALONE, 3_999), []);
    assert_eq!(run(&mut changes, ALONE, 4_000), [Step::Send(false)]);
    assert_eq!((changes.len(), changes.next_ms()), (0, None));
}

#[test]
fn a_return_within_the_grace_sends_nothing_and_the_next_leave_has_its_own_grace() {
    let mut changes = changes();
    changes.set(subject(), true, ALONE, 0);
    changes.set(subject(), false, ALONE, 1_000);
    assert_eq!(changes.set(subject(), true, ALONE, 3_999), Step::Nothing);
    assert_eq!(changes.len(), 0);
    changes.set(subject(), false, ALONE, 4_100);
    assert_eq!(run(&mut changes, ALONE, 7_099), []);
    assert_eq!(run(&mut changes, ALONE, 7_100), [Step::Send(false)]);
}

#[test]
fn leaves_wait_while_the_server_stops() {
    let mut changes = changes();
    changes.set(subject(), false, ALONE, 0);
    let due = changes.next_due(3_000).unwrap();
    assert_eq!(changes.check(due, ALONE, false, 3_000), Step::Nothing);
    assert_eq!(run(&mut changes, ALONE, 6_000), [Step::Send(false)]);
}

#[test]
fn the_owner_keeps_a_change_until_it_is_acknowledged() {
    let mut changes = changes();
    assert_eq!(changes.set(subject(), true, OWNER, 0), Step::Send(true));
    assert_eq!(changes.set(subject(), false, OWNER, 10), Step::Nothing);
    assert_eq!(run(&mut changes, OWNER, 3_010), [Step::Send(false)]);
    assert_eq!(changes.set(subject(), true, OWNER, 3_020), Step::Send(true));
    for is_present in [true, false] {
        changes.acknowledged(&subject(), is_present);
        assert_eq!(changes.len(), 1);
    }
    changes.acknowledged(&subject(), true);
    assert_eq!(changes.len(), 0);
}

#[test]
fn another_node_takes_over_what_was_not_acknowledged() {
    let mut changes = changes();
    assert_eq!(changes.set(subject(), true, OTHER, 0), Step::Nothing);
    assert_eq!(run(&mut changes, OTHER, 3_000), []);
    assert_eq!(run(&mut changes, OWNER, 6_000), [Step::Send(true)]);

    // The node that has sent the join is gone, and so is the client: the join may have been sent.
    let mut changes = self::changes();
    changes.set(subject(), true, OTHER, 0);
    changes.set(subject(), false, OTHER, 100);
    assert_eq!(run(&mut changes, OWNER, 3_100), [Step::Send(false)]);

    let mut changes = self::changes();
    changes.set(subject(), true, OTHER, 0);
    changes.reported(subject(), Reported::Present, true, OTHER, 50);
    assert_eq!(changes.len(), 0, "it was acknowledged");
}

#[test]
fn two_nodes_that_both_believe_to_be_the_owner_send_again() {
    let mut changes = changes();
    changes.reported(subject(), Reported::Absent, true, OWNER, 0);
    changes.reported(subject(), Reported::Present, true, OWNER, 1);
    assert_eq!(run(&mut changes, OWNER, 3_000), [Step::Send(true)]);
}

#[test]
fn a_node_without_an_acknowledgement_queries_the_owner_repeatedly() {
    let mut changes = changes();
    changes.set(subject(), true, OTHER, 0);
    let queries = run(&mut changes, OTHER, 200_000);
    assert_eq!(queries.len(), 10, "after 2, 4, 8, 16, 24, 32, 40, 48, 56 and 64 checks");
    assert!(queries.iter().all(|step| *step == Step::Query(Reported::Absent)));
}

#[test]
fn a_return_at_another_node_is_uncertain_until_the_owner_confirms_it() {
    let mut changes = changes();
    changes.set(subject(), false, OTHER, 0);
    assert_eq!(changes.set(subject(), true, OTHER, 2_000), Step::Nothing);
    changes.confirmed(&subject(), true);
    assert_eq!(changes.len(), 0);

    // The owner is lost before it confirms: it may have sent that the channel is vacated.
    changes.set(subject(), false, OTHER, 10_000);
    changes.set(subject(), true, OTHER, 12_999);
    assert_eq!(run(&mut changes, OWNER, 20_000), [Step::Send(true)]);

    let mut owner = self::changes();
    owner.set(subject(), false, OWNER, 0);
    assert_eq!(owner.set(subject(), true, OWNER, 2_000), Step::Confirm(true));

    // The owner has just started; this node knows that nothing was reported.
    let mut changes = self::changes();
    changes.set(subject(), true, OTHER, 0);
    changes.confirmed(&subject(), true);
    assert_eq!(changes.len(), 1);
}

#[test]
fn a_fresh_node_leaves_what_another_knows_to_that_node() {
    let mut changes = changes();
    changes.set(subject(), true, OTHER, 0);
    changes.defer(&subject());
    assert_eq!(changes.len(), 0);
}

#[test]
fn changes_without_room_are_counted() {
    let mut changes = Changes::new(Random::new([0; 32]).hashing(), 1);
    changes.set(subject(), false, ALONE, 0);
    let other = Subject { user: Some("u".into()), ..subject() };
    assert_eq!(changes.set(other, false, ALONE, 0), Step::Nothing);
    assert_eq!((changes.len(), changes.rejected), (1, 1));
}
