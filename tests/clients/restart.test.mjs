// pusher-js and a server that stops: the client reconnects and resubscribes by itself.

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import {
  codes,
  connected,
  endClients,
  fixedPort,
  http,
  startServer,
  subscribed,
} from './support.mjs';

/**
 * pusher-js retries at once after 4200, and a second later after 4100 or a broken connection. An
 * attempt that finds the port closed costs it fifteen seconds more. On a busy machine that can
 * happen between the two servers, so a test waits longer than that, and checks the close codes.
 */
const COMING_BACK = 40_000;

afterEach(endClients);

/** A client of this server in a public, a private and a presence channel. */
async function present(server, user_id) {
  const pusher = await connected(server, { member: { user_id } });
  const channels = [];
  for (const name of ['news', 'private-orders', 'presence-room']) {
    channels.push(await subscribed(pusher, name));
  }
  return { pusher, channels };
}

/** Waits until the client has resubscribed to all its channels and receives events there. */
async function isBack({ pusher, channels }, server) {
  await pusher.states.event('connected', COMING_BACK);
  for (const channel of channels) await channel.inbox.event('pusher:subscription_succeeded');
  for (const channel of channels) {
    await http(server).trigger(channel.name, 'after', { back: true });
    assert.deepEqual((await channel.inbox.event('after')).data, { back: true });
  }
}

test('a few clients get close code 4100 and reconnect to the next server', async () => {
  const port = await fixedPort();
  const first = await startServer({ port });
  const ada = await present(first, 'ada');
  const id = ada.pusher.connection.socket_id;
  await first.stop();
  const second = await startServer({ port });
  await isBack(ada, second);
  assert.ok(codes(ada.pusher).every((code) => code === 4100), codes(ada.pusher).join());
  assert.notEqual(ada.pusher.connection.socket_id, id);
  endClients();
  await second.stop();
});

test('sixty clients all reconnect after a restart, the last ones to the next server', async () => {
  const port = await fixedPort();
  const first = await startServer({ port });
  const all = await Promise.all(Array.from({ length: 60 }, () => connected(first)));
  await first.stop();
  const second = await startServer({ port });
  await Promise.all(all.map((pusher) => pusher.states.event('connected', COMING_BACK)));
  // The last clients get 4100, not 4200: the server is about to exit, so they must retry later.
  const received = new Set(all.map((pusher) => codes(pusher)[0]));
  assert.deepEqual([...received].sort(), [4100, 4200]);
  // A client that got 4200 reconnected to the stopping server, which deferred it until the end.
  const changes = (of) => of.filter((code, at) => code !== of[at - 1]).join();
  assert.ok(all.some((pusher) => changes(codes(pusher)) === '4200,4100'));
  endClients();
  await second.stop();
});

test('a stopping server notifies connections without a channel, too', async () => {
  const server = await startServer();
  const pusher = await connected(server);
  await server.stop();
  await pusher.states.event('connecting');
  assert.equal(codes(pusher)[0], 4100);
});

test('after its server was killed the client reconnects to the next one', async () => {
  const port = await fixedPort();
  const first = await startServer({ port });
  const ada = await present(first, 'ada');
  await first.kill();
  const second = await startServer({ port });
  await isBack(ada, second);
  endClients();
  await second.stop();
});

test('an idle server stops at once', async () => {
  const server = await startServer();
  await server.stop();
  assert.deepEqual(await server.exited, { code: 0, signal: null });
});
