// pusher-js and the connection itself: the handshake, pings, and rejections.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import {
  client,
  codes,
  connected,
  endClients,
  gaveUp,
  http,
  raw,
  rawConnected,
  startServer,
  subscribed,
  within,
} from './support.mjs';

let server;
before(async () => (server = await startServer()));
afterEach(endClients);
after(() => server.stop());

/** Runs `body` with its own server. */
async function withServer(options, body) {
  const own = await startServer(options);
  try {
    await body(own);
  } finally {
    endClients();
    await own.stop();
  }
}

test('a client connects and receives a socket id of two numbers', async () => {
  const pusher = await connected(server);
  assert.match(pusher.connection.socket_id, /^\d+\.\d+$/);
  assert.equal(pusher.connection.activityTimeout, 30_000);
});

test('no two of fifty clients have the same socket id', async () => {
  const all = await Promise.all(Array.from({ length: 50 }, () => connected(server)));
  assert.equal(new Set(all.map((pusher) => pusher.connection.socket_id)).size, 50);
});

test('a client with an unknown key gets close code 4001 and does not reconnect', async () => {
  const pusher = client(server, { key: 'no-such-key' });
  await pusher.states.event('disconnected');
  assert.deepEqual(codes(pusher), [4001]);
  assert.equal(pusher.errors.all[0].data.message, 'Application does not exist');
  assert.ok(gaveUp(pusher));
});

test('an unknown key is reported in an event first and then in the close frame', async () => {
  const socket = raw(server, { key: 'no-such-key' });
  const { data } = await socket.inbox.event('pusher:error');
  assert.equal(data.code, 4001);
  const { code } = await within(socket.closed, 'the close frame');
  assert.equal(code, 4001);
});

test('a ping of the client is answered with a pong', async () => {
  const pusher = await connected(server);
  pusher.send_event('pusher:ping', {});
  await pusher.messages.event('pusher:pong');
});

test('a control ping is answered with the same bytes', async () => {
  const socket = await rawConnected(server);
  const answer = new Promise((resolve) => socket.once('pong', resolve));
  socket.ping('are you there');
  assert.equal((await within(answer, 'the pong')).toString(), 'are you there');
});

test('a message that is not JSON gets an error, and the connection stays', async () => {
  const socket = await rawConnected(server);
  socket.send('{"event":');
  const { data } = await socket.inbox.event('pusher:error');
  assert.deepEqual(data, { code: 4200, message: 'Invalid message format' });
  socket.sendEvent('pusher:ping', {});
  await socket.inbox.event('pusher:pong');
});

test('a silent client pings after the activity timeout and receives a pong', async () => {
  await withServer({ env: { REVERB_APP_ACTIVITY_TIMEOUT: '1' } }, async (own) => {
    const pusher = await connected(own);
    assert.equal(pusher.connection.activityTimeout, 1000);
    await pusher.messages.event('pusher:pong');
    await pusher.messages.event('pusher:pong');
    assert.equal(pusher.connection.state, 'connected');
  });
});

test('a client that ignores control pings gets close code 4201, and others stay', async () => {
  const env = { REVERB_APP_PING_INTERVAL: '1', REVERB_LIMIT_PONG_TIMEOUT_MS: '3000' };
  await withServer({ env }, async (own) => {
    const alive = await rawConnected(own);
    const pings = [];
    alive.on('ping', () => pings.push('ping'));
    const browser = await connected(own);
    const id = browser.connection.socket_id;

    const deaf = await rawConnected(own, { autoPong: false });
    assert.equal((await within(deaf.closed, 'the unresponsive client is closed')).code, 4201);
    const error = deaf.inbox.all.find(({ event }) => event === 'pusher:error');
    assert.equal(error.data.code, 4201);

    assert.ok(pings.length > 0, 'the responsive client received pings, too');
    alive.sendEvent('pusher:ping', {});
    await alive.inbox.event('pusher:pong');
    assert.equal(browser.connection.state, 'connected');
    assert.equal(browser.connection.socket_id, id);
  });
});

test('a client over the quota gets close code 4004 until another disconnects', async () => {
  await withServer({ env: { REVERB_APP_MAX_CONNECTIONS: '1' } }, async (own) => {
    const first = await rawConnected(own);

    const second = client(own);
    await second.states.event('disconnected');
    assert.deepEqual(codes(second), [4004]);
    assert.equal(second.errors.all[0].data.message, 'Application is over connection quota');
    assert.ok(gaveUp(second));

    first.close(1000);
    await within(first.closed, 'the server answers the close frame');
    const third = await connected(own);
    assert.equal(third.connection.state, 'connected');
  });
});

test('only allowed origins connect, and others get close code 4009', async () => {
  const apps = [
    {
      app_id: '1',
      key: 'strict',
      secret: 'secret-1',
      allowed_origins: ['example.com', '*.example.org'],
    },
    { app_id: '2', key: 'open', secret: 'secret-2', allowed_origins: ['*'] },
  ];
  await withServer({ apps }, async (own) => {
    await rawConnected(own, { origin: 'https://example.com' });
    await rawConnected(own, { origin: 'http://example.com:8080' });
    await rawConnected(own, { origin: 'https://a.example.org' });
    await rawConnected(own, { key: 'open', origin: 'https://anybody.test' });
    await rawConnected(own, { key: 'open' });

    for (const origin of ['https://example.com.test', 'https://example.org', 'null', undefined]) {
      const refused = raw(own, { origin });
      const { data } = await refused.inbox.event('pusher:error');
      assert.deepEqual(data, { code: 4009, message: 'Origin not allowed' }, origin);
      assert.equal((await within(refused.closed, 'the close frame')).code, 4009, origin);
    }
  });
});

test('apps on one server do not receive the events of other apps', async () => {
  const apps = [
    { app_id: '1', key: 'key-1', secret: 'secret-1' },
    { app_id: '2', key: 'key-2', secret: 'secret-2' },
  ];
  await withServer({ apps }, async (own) => {
    const [one, two] = apps.map((app) => http(own, { app }));
    const a = await subscribed(await connected(own, { key: 'key-1', signer: one }), 'private-room');
    const b = await subscribed(await connected(own, { key: 'key-2', signer: two }), 'private-room');
    await one.trigger('private-room', 'news', 'for one');
    await two.trigger('private-room', 'news', 'for two');
    await a.inbox.event('news');
    await b.inbox.event('news');
    assert.deepEqual(a.inbox.dataOf('news'), ['for one']);
    assert.deepEqual(b.inbox.dataOf('news'), ['for two']);

    const stranger = await rawConnected(own, { key: 'key-2' });
    const { auth } = one.authorizeChannel(stranger.id, 'private-room');
    stranger.sendEvent('pusher:subscribe', { channel: 'private-room', auth });
    await stranger.inbox.event('pusher:subscription_error');
  });
});
