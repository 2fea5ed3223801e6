// Two nodes on one Redis server, with nginx as the load balancer as in Laravel's documentation, and
// pusher-js and Laravel Echo on both.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import Echo from 'laravel-echo';
import { startNginx } from './nginx.mjs';
import { startNodes, startRedis } from './redis.mjs';
import {
  barrier,
  connected,
  endClients,
  http,
  Inbox,
  leave,
  subscribed,
} from './support.mjs';

/** See `restart.test.mjs`: an attempt while no server listens costs pusher-js 15 s. */
const COMING_BACK = 10_000;

let redis;
let nodes;
let proxy;
let api;
before(async () => {
  redis = await startRedis();
  nodes = await startNodes(2, redis, { REVERB_LIMIT_NODE_LEASE_MS: '6000' });
  proxy = await startNginx(...nodes);
  api = http(proxy);
});
afterEach(endClients);
after(async () => {
  await proxy.stop();
  for (const node of nodes) await node.stop();
  await redis.stop();
});

/** Laravel Echo with a client of this server; `inbox` has the events of a room. */
async function echo(server, user_id, room) {
  const pusher = await connected(server, { member: { user_id, user_info: { name: user_id } } });
  const it = new Echo({ broadcaster: 'reverb', key: server.app.key, client: pusher });
  it.inbox = new Inbox(`the Echo of ${user_id}`);
  const record = (event) => (data) => it.inbox.push({ event, data });
  it.room = it.join(room).here(record('here')).joining(record('joining')).leaving(record('leaving'));
  it.room.listen('.event', record('event'));
  const { data } = await it.inbox.event('here');
  it.here = data.map(({ name }) => name).sort();
  return it;
}

test('events published at either node reach the clients of both, once and in order', async () => {
  const pushers = await Promise.all(Array.from({ length: 8 }, () => connected(proxy)));
  const channels = await Promise.all(pushers.map((pusher) => subscribed(pusher, 'news')));
  for (let n = 0; n < 60; n++) await http(nodes[n % 2]).trigger('news', 'n', { n });
  const ofNode = (data, node) => data.filter(({ n }) => n % 2 === node).map(({ n }) => n);
  for (const node of nodes) await barrier(http(node), ...channels);
  for (const channel of channels) {
    const data = channel.inbox.dataOf('n');
    assert.equal(data.length, 60);
    for (const node of [0, 1]) {
      assert.deepEqual(ofNode(data, node), Array.from({ length: 30 }, (_, n) => 2 * n + node));
    }
  }
});

test('the sender is excluded on either node', async () => {
  const [one, two] = await Promise.all(nodes.map((node) => connected(node)));
  const channels = await Promise.all([one, two].map((pusher) => subscribed(pusher, 'others')));
  for (let n = 0; n < 10; n++) {
    await api.trigger('others', 'n', { n }, { socket_id: one.connection.socket_id });
  }
  for (const node of nodes) await barrier(http(node), ...channels);
  assert.deepEqual(channels[0].inbox.dataOf('n'), []);
  assert.equal(channels[1].inbox.dataOf('n').length, 10);
});

test('a client event reaches the clients of the other node', async () => {
  const [one, two] = await Promise.all(nodes.map((node) => connected(node)));
  const [here, there] = await Promise.all([one, two].map((it) => subscribed(it, 'private-chat')));
  here.trigger('client-typing', { on: true });
  assert.deepEqual((await there.inbox.event('client-typing')).data, { on: true });
});

test('the API behind the load balancer counts the clients of both nodes', async () => {
  const pushers = await Promise.all([...nodes, ...nodes].map((node) => connected(node)));
  for (const pusher of pushers) await subscribed(pusher, 'counted');
  // A client of each node has received an event of the other node, and all messages before it.
  for (const node of nodes) await barrier(http(node), ...pushers.map((it) => it.channel('counted')));
  for (let n = 0; n < 4; n++) {
    const params = { info: 'subscription_count' };
    const answer = await api.get({ path: '/channels/counted', params });
    assert.deepEqual(await answer.json(), { occupied: true, subscription_count: 4 });
  }
});

test('Echo on both nodes receives all members, joins and leaves', async () => {
  const ada = await echo(nodes[0], 'ada', 'room');
  const grace = await echo(nodes[1], 'grace', 'room');
  await ada.inbox.event('joining');
  const joan = await echo(nodes[0], 'joan', 'room');
  assert.deepEqual(joan.here, ['ada', 'grace', 'joan']);
  for (const it of [ada, grace]) {
    assert.equal((await it.inbox.event('joining')).data.name, 'joan');
  }
  for (const node of nodes) {
    const answer = await http(node).get({ path: '/channels/presence-room/users' });
    const { users } = await answer.json();
    assert.deepEqual(users.map(({ id }) => id).sort(), ['ada', 'grace', 'joan']);
  }
  await api.trigger('presence-room', 'event', { to: 'all' });
  for (const it of [ada, grace, joan]) {
    assert.deepEqual((await it.inbox.event('event')).data, { to: 'all' });
  }
  grace.connector.pusher.disconnect();
  for (const it of [ada, joan]) {
    assert.equal((await it.inbox.event('leaving')).data.name, 'grace');
  }
});

test('a user with connections on both nodes joins once and leaves once', async () => {
  const watcher = await echo(nodes[0], 'watcher', 'tabs');
  const first = await echo(nodes[0], 'ada', 'tabs');
  const second = await echo(nodes[1], 'ada', 'tabs');
  assert.deepEqual(second.here, ['ada', 'watcher']);
  // When this arrives from the other node, the earlier message about the second tab has arrived.
  await http(nodes[1]).trigger('presence-tabs', 'event', {});
  await watcher.inbox.event('event');
  await leave(first.connector.pusher.channel('presence-tabs'));
  second.connector.pusher.disconnect();
  await watcher.inbox.event('leaving');
  await api.trigger('presence-tabs', 'event', {});
  await watcher.inbox.event('event');
  const seen = watcher.inbox.all.map(({ event, data }) => [event, data.name]);
  assert.deepEqual(seen.filter(([event]) => event.endsWith('ing')), [
    ['joining', 'ada'],
    ['leaving', 'ada'],
  ]);
});

test('the clients of a killed node reconnect to the other without a member event', async () => {
  const [doomed] = await startNodes(1, redis, { REVERB_LIMIT_NODE_LEASE_MS: '6000' });
  const balancer = await startNginx(doomed, nodes[0]);
  const lost = new Inbox('connections that were lost');
  const all = [];
  // nginx sends every second connection to each node.
  for (let n = 0; n < 6; n++) {
    const pusher = await connected(balancer, { member: { user_id: `user-${n}` } });
    pusher.connection.bind('connecting', () => lost.push(pusher));
    all.push(await subscribed(pusher, 'presence-survivors'));
  }
  const watcher = await connected(nodes[1], { member: { user_id: 'watcher' } });
  const room = await subscribed(watcher, 'presence-survivors');
  while (room.members.count < 7) await room.inbox.event('pusher:member_added');

  await doomed.kill();
  for (let n = 0; n < 3; n++) {
    const pusher = await lost.take(() => true, 'a connection is lost');
    await pusher.states.event('connected', COMING_BACK);
    await pusher.channel('presence-survivors').inbox.event('pusher:subscription_succeeded');
  }
  for (const node of nodes) await barrier(http(node), room, ...all);
  assert.equal(room.members.count, 7);
  assert.deepEqual(room.inbox.dataOf('pusher:member_removed'), []);
  assert.equal(lost.all.length, 3);
  await balancer.stop();
});
