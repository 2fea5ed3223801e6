// pusher-js 8 and pusher-js 7.4: their common features, and the cost of a restart for each.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import Pusher7 from 'pusher-js-7';
import Pusher8 from 'pusher-js';
import {
  client,
  codes,
  connected,
  endClients,
  fixedPort,
  gaveUp,
  http,
  reload,
  startServer,
  subscribed,
} from './support.mjs';

/** Less than after an attempt with the port closed, which costs pusher-js 15 seconds. */
const COMING_BACK = 10_000;

let server;
before(async () => (server = await startServer()));
afterEach(endClients);
after(() => server.stop());

/** Waits until the client is connected and subscribed again, and receives an event. */
async function isBack(pusher, channel, own) {
  await pusher.states.event('connected', COMING_BACK);
  await channel.inbox.event('pusher:subscription_succeeded');
  await receives(channel, own);
}

async function receives(channel, own) {
  await http(own).trigger(channel.name, 'order', { n: 1 });
  assert.deepEqual((await channel.inbox.event('order')).data, { n: 1 });
}

for (const [version, library] of [['pusher-js 7', Pusher7], ['pusher-js 8', Pusher8]]) {
  test(`${version}: public, private and presence channels`, async () => {
    const ada = await connected(server, { library, member: { user_id: 'ada' } });
    for (const name of ['news', 'private-orders', 'presence-room']) {
      await receives(await subscribed(ada, name), server);
    }
    const room = ada.channel('presence-room');
    const bob = await connected(server, { library, member: { user_id: 'bob' } });
    await subscribed(bob, room.name);
    assert.equal((await room.inbox.event('pusher:member_added')).data.id, 'bob');
    assert.equal(room.members.count, 2);
    bob.disconnect();
    assert.equal((await room.inbox.event('pusher:member_removed')).data.id, 'bob');
  });

  test(`${version}: an unknown key stops it`, async () => {
    const pusher = client(server, { library, key: 'no-such-key' });
    await pusher.states.event('disconnected');
    assert.deepEqual(codes(pusher), [4001]);
    assert.equal(pusher.errors.all[0].data.message, 'Application does not exist');
    assert.ok(gaveUp(pusher));
  });

  test(`${version}: it reconnects after a restart`, async () => {
    const port = await fixedPort();
    const first = await startServer({ port });
    const pusher = await connected(first, { library });
    const channel = await subscribed(pusher, 'private-orders');
    await first.stop();
    const second = await startServer({ port });
    await isBack(pusher, channel, second);
    assert.ok(codes(pusher).every((code) => code === 4100));
    endClients();
    await second.stop();
  });

  test(`${version}: two reloads keep its connection`, async () => {
    const own = await startServer();
    const pusher = await connected(own, { library });
    const channel = await subscribed(pusher, 'private-orders');
    for (let n = 0; n < 2; n++) {
      await reload(own);
      await receives(channel, own);
    }
    assert.deepEqual(pusher.states.all, [{ event: 'connected' }]);
    endClients();
    await own.stop();
  });
}

test('pusher-js 8 reconnects after two restarts in a row', async () => {
  const port = await fixedPort();
  let own = await startServer({ port });
  const pusher = await connected(own);
  const channel = await subscribed(pusher, 'private-orders');
  for (let n = 0; n < 2; n++) {
    await own.stop();
    own = await startServer({ port });
    await isBack(pusher, channel, own);
  }
  endClients();
  await own.stop();
});

// In Node every close looks unclean to pusher-js, and two unclean closes of young connections
// disable the WebSocket transport of version 7: see reverb-deploy(7).

test('pusher-js 7 in Node gives up after two restarts in a row', async () => {
  const port = await fixedPort();
  const first = await startServer({ port });
  const pusher = await connected(first, { library: Pusher7 });
  await first.stop();
  const second = await startServer({ port });
  await pusher.states.event('connected', COMING_BACK);
  await second.stop();
  await pusher.states.event('failed');
  assert.ok(codes(pusher).every((code) => code === 4100));
});

test('pusher-js 7 in Node gives up after a restart with many clients that sends 4200', async () => {
  const port = await fixedPort();
  const first = await startServer({ port });
  const all = Array.from({ length: 20 }, () => connected(first, { library: Pusher7 }));
  const clients = await Promise.all(all);
  await first.stop();
  const second = await startServer({ port });
  const early = clients.filter((pusher) => codes(pusher)[0] === 4200);
  const late = clients.filter((pusher) => codes(pusher)[0] === 4100);
  assert.equal(early.length + late.length, 20);
  assert.ok(early.length > 0 && late.length > 0, `${early.length} of 20 were sent 4200`);
  await Promise.all(early.map((pusher) => pusher.states.event('failed')));
  await Promise.all(late.map((pusher) => pusher.states.event('connected', COMING_BACK)));
  endClients();
  await second.stop();
});
