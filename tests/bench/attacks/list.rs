//! The attacks. Each opens its sockets, calls [`Scene::begin`], sends what the attackers send, and
//! returns the attackers.

use std::ops::Range;
use std::time::Duration;

use reverb::proto::auth::Signer;

use super::{Attackers, Scene};
use crate::event;
use crate::process::APP_KEY;
use crate::swarm::Fault;
use crate::world::frame;

/// One attack.
pub struct Attack {
    pub name: &'static str,
    /// Environment variables of the server, in addition to the app's.
    pub variables: &'static [(&'static str, &'static str)],
    pub run: fn(&mut Scene<'_>) -> Result<Attackers, Fault>,
}

pub const ATTACKS: [Attack; 9] = [
    Attack {
        name: "700 tabs of members subscribe twice to a presence channel of 2,500, whose list is \
               2.9 MB, and never read",
        variables: &[],
        run: |scene| lists(scene, false),
    },
    Attack { name: "the same by 700 new members", variables: &[], run: |scene| lists(scene, true) },
    Attack {
        name: "100 strangers × 110 client events to a public channel of 3,000",
        variables: OPEN,
        run: |scene| strangers(scene, true),
    },
    Attack {
        name: "the same, and the 3,000 do not read",
        variables: OPEN,
        run: |scene| strangers(scene, false),
    },
    Attack {
        name: "5 publishers × 50 requests for a list of 100,000 channels, never read",
        variables: &[],
        run: channel_lists,
    },
    Attack {
        name: "20 members of a presence channel of 3,000 leave and rejoin it, 20 times each",
        variables: &[],
        run: leave_and_rejoin,
    },
    Attack {
        name: "20 clients × 90 client events to a private channel of 4,000",
        variables: &[],
        run: client_events,
    },
    Attack {
        name: "3,000 members of a presence channel disconnect while one socket leaves and rejoins \
               another",
        variables: &[],
        run: disconnect_together,
    },
    Attack {
        name: "10 publishes of 2,000 B to 20,000 subscribers, or as many as the open-file limit \
               allows",
        variables: &[],
        run: publishes,
    },
];

/// Allows client events on public channels and at any rate, so that their delivery is measured. A
/// server without these settings only warns.
const OPEN: &[(&str, &str)] = &[
    ("REVERB_APP_CLIENT_EVENTS_ON_PUBLIC_CHANNELS", "true"),
    ("REVERB_LIMIT_CLIENT_EVENTS_PER_SECOND", "0"),
];

/// Infos of many `""`, which become `\"\"` as JSON in JSON: the list grows by two thirds when it is
/// sent.
fn lists(scene: &mut Scene<'_>, as_new_members: bool) -> Result<Attackers, Fault> {
    let info = format!("[{}]", vec![r#""""#; 225].join(","));
    let members = members(scene, 2_500, CHANNEL, &info)?;
    let count = scene.scaled(700);
    let attackers = scene.crowd.open(count)?;
    scene.crowd.deafen(attackers.clone());
    scene.begin();
    for index in attackers.clone() {
        let socket_id = scene.crowd.socket_id(index);
        // The list is near its limit: a new member adds little to it.
        let (user, info) = match as_new_members {
            true => (index, "0"),
            false => (index - attackers.start + members.start, &*info),
        };
        let twice = frame(&join(&scene.signer, socket_id, CHANNEL, user, info)).repeat(2);
        scene.crowd.send(index, &twice);
    }
    Ok(attackers)
}

fn strangers(scene: &mut Scene<'_>, others_read: bool) -> Result<Attackers, Fault> {
    let subscribers = scene.crowd.open(scene.scaled(3_000))?;
    let strangers = scene.crowd.open(scene.scaled(100))?;
    let all = subscribers.start..strangers.end;
    scene.crowd.subscribe(all.clone(), |_, _| subscription(OPEN_CHANNEL))?;
    if !others_read {
        scene.crowd.deafen(subscribers);
    }
    scene.begin();
    let events = frame(&client_event(OPEN_CHANNEL)).repeat(110);
    strangers.clone().for_each(|index| scene.crowd.send(index, &events));
    Ok(if others_read { strangers } else { all })
}

fn channel_lists(scene: &mut Scene<'_>) -> Result<Attackers, Fault> {
    let owners = scene.crowd.open(scene.scaled(100))?;
    for index in owners {
        let all = (0..1_000).map(|n| frame(&subscription(&format!("channel-{index}-{n}"))));
        let all: Vec<u8> = all.flatten().collect();
        scene.crowd.send(index, &all);
        scene.crowd.wait_for_subscriptions(index, 1_000)?;
    }
    let attackers = scene.crowd.open_http(5);
    scene.crowd.deafen(attackers.clone());
    scene.begin();
    let request = event::get(&scene.signer, "channels", "info=subscription_count");
    attackers.clone().for_each(|index| scene.crowd.send(index, &request.repeat(50)));
    Ok(attackers)
}

fn leave_and_rejoin(scene: &mut Scene<'_>) -> Result<Attackers, Fault> {
    let members = members(scene, 3_000, CHANNEL, "0")?;
    scene.begin();
    let attackers = members.start..members.start + 20;
    for index in attackers.clone() {
        let flaps = flap(scene, index, CHANNEL).repeat(20);
        scene.crowd.send(index, &flaps);
    }
    Ok(attackers)
}

fn client_events(scene: &mut Scene<'_>) -> Result<Attackers, Fault> {
    let members = scene.crowd.open(scene.scaled(4_000))?;
    let signer = scene.signer.clone();
    scene.crowd.subscribe(members.clone(), |_, socket_id| private(&signer, socket_id))?;
    scene.begin();
    let attackers = members.start..members.start + 20;
    let events = frame(&client_event(PRIVATE_CHANNEL)).repeat(90);
    attackers.clone().for_each(|index| scene.crowd.send(index, &events));
    Ok(attackers)
}

/// The server delays the announcement of members that leave together, but a member that joins any
/// channel forces the announcement of all that have left so far.
fn disconnect_together(scene: &mut Scene<'_>) -> Result<Attackers, Fault> {
    let members = members(scene, 3_000, CHANNEL, "0")?;
    let flapper = scene.crowd.open(1)?;
    scene.begin();
    let flaps = flap(scene, flapper.start, "presence-other").repeat(5);
    for first in members.clone().step_by(10) {
        scene.crowd.close(first..(first + 10).min(members.end));
        scene.crowd.send(flapper.start, &flaps);
        scene.crowd.pass(Duration::ZERO);
    }
    for _ in 0..100 {
        scene.crowd.send(flapper.start, &flaps);
        scene.crowd.pass(Duration::from_millis(10));
    }
    Ok(flapper)
}

fn publishes(scene: &mut Scene<'_>) -> Result<Attackers, Fault> {
    let subscribers = scene.crowd.open(scene.scaled(20_000))?;
    let channel = event::channel(1);
    scene.crowd.subscribe(subscribers, |_, _| subscription(&channel))?;
    let publisher = scene.crowd.open_http(1);
    scene.begin();
    for number in 0..10 {
        let request = event::publish(&scene.signer, 1, number, 2_000);
        scene.crowd.send(publisher.start, &request);
        scene.crowd.pass(Duration::from_millis(200));
    }
    Ok(publisher)
}

/// Opens this many members of a presence channel, each with this info.
fn members(
    scene: &mut Scene<'_>,
    count: usize,
    channel: &str,
    info: &str,
) -> Result<Range<usize>, Fault> {
    let members = scene.crowd.open(scene.scaled(count))?;
    let signer = scene.signer.clone();
    scene.crowd.subscribe(members.clone(), |index, socket_id| {
        join(&signer, socket_id, channel, index, info)
    })?;
    Ok(members)
}

/// The frames by which a socket leaves a presence channel and rejoins it.
fn flap(scene: &Scene<'_>, index: usize, channel: &str) -> Vec<u8> {
    let leave = format!(r#"{{"event":"pusher:unsubscribe","data":{{"channel":"{channel}"}}}}"#);
    let join = join(&scene.signer, scene.crowd.socket_id(index), channel, index, "0");
    [frame(&leave), frame(&join)].concat()
}

fn join(signer: &Signer, socket_id: &str, channel: &str, user: usize, info: &str) -> String {
    let data = format!(r#"{{"user_id":"u{user:04}","user_info":{info}}}"#);
    let signature = signer.sign(&[socket_id, ":", channel, ":", &data]);
    let (auth, data) = (format!("{APP_KEY}:{signature}"), data.replace('"', "\\\""));
    let data = format!(r#""channel":"{channel}","auth":"{auth}","channel_data":"{data}""#);
    format!(r#"{{"event":"pusher:subscribe","data":{{{data}}}}}"#)
}

fn private(signer: &Signer, socket_id: &str) -> String {
    let signature = signer.sign(&[socket_id, ":", PRIVATE_CHANNEL]);
    let data = format!(r#""channel":"{PRIVATE_CHANNEL}","auth":"{APP_KEY}:{signature}""#);
    format!(r#"{{"event":"pusher:subscribe","data":{{{data}}}}}"#)
}

fn subscription(channel: &str) -> String {
    format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}"}}}}"#)
}

fn client_event(channel: &str) -> String {
    format!(r#"{{"event":"client-e","channel":"{channel}","data":1}}"#)
}

const CHANNEL: &str = "presence-room";
const PRIVATE_CHANNEL: &str = "private-room";
const OPEN_CHANNEL: &str = "open";
