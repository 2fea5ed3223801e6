//! Held input, lists in progress and deadlines, across turns, reloads and removed apps.

use super::*;

/// A request signed by app 1.
fn signed(world: &World, method: &str, path: &str, query: &str, headers: &str) -> Vec<u8> {
    let time = world.now.unix_s;
    let query = format!("auth_key=key&auth_timestamp={time}&auth_version=1.0{query}");
    let signature = Signer::new(SECRET).sign(&[method, "\n", path, "\n", &query]);
    let target = format!("{path}?{query}&auth_signature={signature}");
    format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").into_bytes()
}

/// Runs turns until no work is left. Returns the output for a connection.
fn output_of_turns(world: &mut World, id: ConnId) -> String {
    let mut output = String::new();
    while world.hub.has_work() || world.hub.has_dirty() {
        world.hub.begin_turn();
        while world.hub.next_read(world.now).is_some() {}
        while world.hub.next_dirty(world.now).is_some() {}
        output += &world.take(id);
        world.hub.written(id, false, world.now);
    }
    output
}

fn config(world: &World) -> Config {
    let apps = world.hub.pubsub.apps.iter().map(|app| app.settings.clone()).collect();
    Config { apps, limits: world.hub.connections.limits.clone(), ..Config::default() }
}

#[test]
fn a_list_in_progress_continues_after_a_reload() {
    let mut world = World::new(|_, limits| limits.channels_per_connection = 10_000);
    let (owner, _) = world.connect();
    (0..6_000).for_each(|n| world.subscribe(owner, &format!("c{n}")));
    for n in 0..4_200 {
        let data = format!(r#"{{"channel":"c{n}"}}"#);
        world.send_text(owner, &format!(r#"{{"event":"pusher:unsubscribe","data":{data}}}"#));
    }
    world.take(owner);
    let asker = world.open();
    let request = signed(&world, "GET", "/apps/1/channels", "", "");
    world.send(asker, &request);
    let mut output = world.take(asker);
    let mut next = config(&world);
    next.limits.pipelined_requests += 1;
    assert_eq!(world.hub.reconfigure(&next, world.now), Ok(vec![owner, asker]));
    output += &output_of_turns(&mut world, asker);
    assert_eq!(output.matches(r#"{"channels":{"#).count(), 1);
    assert_eq!(output.matches(r#"":{}"#).count(), 1_800);
    assert!(output.ends_with("\r\n0\r\n\r\n"));
}

#[test]
fn a_list_of_a_removed_app_closes_only_its_own_connection() {
    let mut world = World::new(|_, limits| limits.channels_per_connection = 10_000);
    let (owner, _) = world.connect();
    (0..1_000).for_each(|n| world.subscribe(owner, &format!("c{n}")));
    world.take(owner);
    let asker = world.open();
    let request = signed(&world, "GET", "/apps/1/channels", "", "");
    world.send(asker, &request);
    let mut next = config(&world);
    next.apps = vec![Settings::new("2", "other", SECRET)];
    world.hub.reconfigure(&next, world.now).unwrap();
    let bystander = world.open();
    world.hub.close(owner, world.now);
    next.limits.pipelined_requests += 1;
    world.hub.reconfigure(&next, world.now).unwrap();
    assert_eq!(world.hub.connections(), 2);
    // The remaining connections have the first places, in order.
    assert_eq!(world.hub.next_action(ConnId(0)), IoAction::Drop);
    assert_eq!(world.hub.next_action(bystander.min(ConnId(1))), IoAction::Stay);
}

#[test]
fn an_endless_body_times_out_however_often_it_is_held() {
    let mut world = World::new(|_, _| {});
    let (other, _) = world.connect();
    let id = world.open();
    let md5 = "&body_md5=0123456789abcdef0123456789abcdef";
    let headers = "Transfer-Encoding: chunked\r\n";
    let mut piece = signed(&world, "POST", "/apps/1/events", md5, headers);
    piece.extend(b"1000\r\n");
    let mut output = String::new();
    for _ in 0..4 {
        [id, other].into_iter().for_each(|ready| world.hub.ready(ready));
        world.hub.begin_turn();
        while let Some((next, _)) = world.hub.next_read(world.now) {
            if next == id && !piece.is_empty() {
                world.hub.receive(id, &mut std::mem::take(&mut piece), world.now);
            }
        }
        piece = b"x".to_vec();
        world.pass(4_000);
        output += &world.take(id);
    }
    assert!(output.contains("408 Request Timeout"), "{output}");
}

#[test]
fn an_incomplete_tick_leaves_work_and_no_deadline_in_the_past() {
    let mut world = World::new(|_, limits| limits.work_per_turn = 1_024);
    (0..2_000).for_each(|_| _ = world.open());
    world.now.ms += 300;
    (0..10).for_each(|_| _ = world.open());
    world.now.ms += 10_900;
    let mut ticks = 0;
    while world.hub.is_tick_due(world.now) {
        world.hub.begin_turn();
        let before = world.hub.work_done();
        world.hub.tick(world.now);
        assert!(world.hub.work_done() - before <= 300, "a quarter of a turn, and one connection");
        assert_eq!(world.hub.overdue(world.now), None);
        ticks += 1;
    }
    assert!(ticks > 5, "{ticks}");
}

#[test]
fn input_of_a_paused_client_is_read_after_it_was_closed() {
    let mut world = World::new(|_, limits| limits.pipelined_requests = 10);
    let (id, _) = world.connect();
    (0..20).for_each(|_| world.send_text(id, r#"{"event":"pusher:ping","data":{}}"#));
    world.hub.ready(id);
    assert_eq!(world.hub.next_read(world.now), None, "it is paused");
    world.hub.drain(world.now);
    assert!(matches!(world.hub.next_read(world.now), Some((read, _)) if read == id));
}

#[test]
fn clients_that_leave_at_once_are_visited_after_those_who_stay() {
    let mut world = World::new(|_, _| {});
    let leaving: Vec<ConnId> = (0..100).map(|_| world.connect().0).collect();
    let publisher = world.open();
    leaving.iter().for_each(|id| world.hub.ready_to_end(*id));
    world.hub.ready(publisher);
    world.hub.begin_turn();
    assert!(matches!(world.hub.next_read(world.now), Some((first, _)) if first == publisher));
    let rest: Vec<ConnId> =
        std::iter::from_fn(|| world.hub.next_read(world.now).map(|(id, _)| id)).collect();
    assert_eq!(rest, leaving);
}
