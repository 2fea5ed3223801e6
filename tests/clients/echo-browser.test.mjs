// Laravel Echo in a real browser, on the page of an app that signs with the official library.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { startSite } from './site.mjs';
import { DEADLINE, fixedPort, http, Inbox, startServer } from './support.mjs';

/** See `restart.test.mjs`: an attempt while no server listens costs pusher-js 15 s. */
const COMING_BACK = 10_000;

const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1',
];

let browser;
let server;
let api;
let site;
const contexts = new Set();

before(async () => {
  server = await startServer();
  api = http(server);
  const forger = http(server, { app: { ...server.app, secret: 'not-the-secret' } });
  site = await startSite({ signer: api, forger });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM_BIN ?? '/usr/bin/chromium',
    headless: true,
    args: ARGUMENTS,
  });
});
afterEach(async () => {
  await Promise.all([...contexts].map((context) => context.close()));
  contexts.clear();
});
after(async () => {
  await browser?.close();
  await site.stop();
  await server.stop();
});

/** Runs in the page: the snippet of Laravel's documentation, with listeners. */
function startEcho({ key, port, user }) {
  window.echo = new window.Echo.default({
    broadcaster: 'reverb',
    key,
    wsHost: location.hostname,
    wsPort: port,
    wssPort: port,
    forceTLS: false,
    enabledTransports: ['ws', 'wss'],
    auth: { headers: { 'X-User': user } },
    userAuthentication: {
      endpoint: '/broadcasting/user-auth',
      headers: { 'X-User': user },
    },
  });
  window.record = (event) => (data) => window.report(event, data ?? null);
  const { connection } = window.echo.connector.pusher;
  connection.bind('state_change', ({ current }) => window.report(current, null));
  connection.bind('error', (error) => {
    window.report('connection error', (error.error ?? error).data);
  });
}

/** A new browser for this user, with the page of the app open; `inbox` has its events. */
async function open({ user = '1', host = 'localhost', at = server, key = at.app.key } = {}) {
  const context = await browser.newContext();
  contexts.add(context);
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE);
  page.inbox = new Inbox(`the page of user ${user}`);
  page.on('pageerror', (error) => page.inbox.push({ event: 'page error', data: String(error) }));
  await page.exposeFunction('report', (event, data) => page.inbox.push({ event, data }));
  await page.goto(`http://${host}:${site.port}/`);
  await page.evaluate(startEcho, { key, port: at.port, user });
  return page;
}

/** The same, connected. */
async function visit(options) {
  const page = await open(options);
  await page.inbox.event('connected');
  return page;
}

/** Runs a function in the page and waits until the server has answered its subscription. */
async function listen(page, body) {
  await page.evaluate(body);
  await page.inbox.event('subscribed');
}

test('Echo connects with the settings of the documentation', async () => {
  const page = await visit();
  const [status, socket] = await page.evaluate(() => [
    window.echo.connectionStatus(),
    window.echo.socketId(),
  ]);
  assert.equal(status, 'connected');
  assert.match(socket, /^\d+\.\d+$/);
});

test('a page receives the events of a public channel', async () => {
  const page = await visit();
  await listen(page, () => {
    window.echo
      .channel('orders')
      .listen('OrderShipped', window.record('OrderShipped'))
      .listen('.short.name', window.record('short.name'))
      .subscribed(window.record('subscribed'));
  });
  await api.trigger('orders', 'App\\Events\\OrderShipped', { order: { id: 7, note: 'né 🚀' } });
  await api.trigger('orders', 'short.name', { n: 1 });
  const { data } = await page.inbox.event('OrderShipped');
  assert.deepEqual(data, { order: { id: 7, note: 'né 🚀' } });
  assert.deepEqual((await page.inbox.event('short.name')).data, { n: 1 });
});

test('a page receives the events and notifications of a private channel', async () => {
  const page = await visit();
  await listen(page, () => {
    window.echo
      .private('App.Models.User.1')
      .listen('OrderShipped', window.record('OrderShipped'))
      .notification(window.record('notification'))
      .subscribed(window.record('subscribed'));
  });
  const channel = 'private-App.Models.User.1';
  await api.trigger(channel, 'App\\Events\\OrderShipped', { id: 7 });
  const notification = 'Illuminate\\Notifications\\Events\\BroadcastNotificationCreated';
  await api.trigger(channel, notification, { type: 'paid' });
  assert.deepEqual((await page.inbox.event('OrderShipped')).data, { id: 7 });
  assert.deepEqual((await page.inbox.event('notification')).data, { type: 'paid' });
});

test('pages of a presence channel receive members, joins and leaves', async () => {
  const join = () => {
    window.echo
      .join('room.1')
      .here(window.record('subscribed'))
      .joining(window.record('joining'))
      .leaving(window.record('leaving'));
  };
  const one = await visit({ user: '1' });
  await one.evaluate(join);
  const alone = await one.inbox.event('subscribed');
  assert.deepEqual(alone.data, [{ id: 1, name: 'User 1' }]);

  const two = await visit({ user: '2' });
  await two.evaluate(join);
  const both = await two.inbox.event('subscribed');
  assert.deepEqual(both.data, [
    { id: 1, name: 'User 1' },
    { id: 2, name: 'User 2' },
  ]);
  assert.deepEqual((await one.inbox.event('joining')).data, { id: 2, name: 'User 2' });

  await two.evaluate(() => window.echo.leave('room.1'));
  assert.deepEqual((await one.inbox.event('leaving')).data, { id: 2, name: 'User 2' });

  const three = await visit({ user: '3' });
  await three.evaluate(join);
  assert.deepEqual((await one.inbox.event('joining')).data, { id: 3, name: 'User 3' });
  await three.close();
  assert.deepEqual((await one.inbox.event('leaving')).data, { id: 3, name: 'User 3' });
});

test('a whisper reaches the other page and not its sender', async () => {
  const enter = () => {
    window.echo
      .private('chat')
      .listenForWhisper('typing', window.record('typing'))
      .listen('.end', window.record('end'))
      .subscribed(window.record('subscribed'));
  };
  const [one, two] = [await visit({ user: '1' }), await visit({ user: '2' })];
  await listen(one, enter);
  await listen(two, enter);
  await one.evaluate(() => window.echo.private('chat').whisper('typing', { name: 'Ada' }));
  assert.deepEqual((await two.inbox.event('typing')).data, { name: 'Ada' });
  await api.trigger('private-chat', 'end', {});
  await one.inbox.event('end');
  assert.deepEqual(one.inbox.dataOf('typing'), []);
});

test('a whisper reaches the members of a presence channel', async () => {
  const enter = () => {
    window.echo
      .join('table')
      .here(window.record('subscribed'))
      .listenForWhisper('typing', window.record('typing'));
  };
  const [one, two] = [await visit({ user: '1' }), await visit({ user: '2' })];
  await listen(one, enter);
  await listen(two, enter);
  await two.evaluate(() => window.echo.join('table').whisper('typing', { on: true }));
  assert.deepEqual((await one.inbox.event('typing')).data, { on: true });
});

test('a page decrypts the events of an encrypted channel', async () => {
  const page = await visit();
  await listen(page, () => {
    window.echo
      .encryptedPrivate('vault')
      .listen('Opened', window.record('Opened'))
      .subscribed(window.record('subscribed'));
  });
  await api.trigger('private-encrypted-vault', 'App\\Events\\Opened', { pin: 'né 🔑' });
  assert.deepEqual((await page.inbox.event('Opened')).data, { pin: 'né 🔑' });
});

test('a page receives a cache miss, and a later page the last event', async () => {
  const enter = () => {
    window.echo
      .channel('cache-prices')
      .on('pusher:cache_miss', window.record('cache miss'))
      .listen('.price', window.record('price'))
      .subscribed(window.record('subscribed'));
  };
  const early = await visit();
  await listen(early, enter);
  await early.inbox.event('cache miss');
  await api.trigger('cache-prices', 'price', { cents: 5 });
  await early.inbox.event('price');

  const late = await visit();
  await listen(late, enter);
  assert.deepEqual((await late.inbox.event('price')).data, { cents: 5 });
  assert.deepEqual(late.inbox.dataOf('cache miss'), []);
});

test('a broadcast to others does not reach its sender', async () => {
  const enter = () => {
    window.echo
      .channel('toothers')
      .listen('.message', window.record('message'))
      .subscribed(window.record('subscribed'));
  };
  const [one, two] = [await visit(), await visit()];
  await listen(one, enter);
  await listen(two, enter);
  await one.evaluate(async () => {
    const send = (n, headers) =>
      fetch('/broadcast', {
        method: 'POST',
        headers,
        body: JSON.stringify({ channel: 'toothers', event: 'message', data: { n } }),
      });
    await send(1, { 'X-Socket-ID': window.echo.socketId() });
    await send(2, {});
  });
  await one.inbox.event('message');
  await two.inbox.event('message');
  await two.inbox.event('message');
  assert.deepEqual(one.inbox.dataOf('message'), [{ n: 2 }]);
  assert.deepEqual(two.inbox.dataOf('message'), [{ n: 1 }, { n: 2 }]);
});

test('a page receives an error if the app rejects a private channel', async () => {
  const page = await visit();
  await page.evaluate(() => window.echo.private('forbidden').error(window.record('refused')));
  const { data } = await page.inbox.event('refused');
  assert.equal(data.type, 'AuthError');
  assert.equal(data.status, 403);
});

test('a page receives an error and stays connected if the server rejects a channel', async () => {
  const page = await visit();
  for (const kind of ['private', 'join', 'encryptedPrivate']) {
    await page.evaluate((kind) => {
      window.echo[kind]('forged').error(window.record('refused'));
    }, kind);
    const { data } = await page.inbox.event('refused');
    assert.equal(data.type, 'AuthError', kind);
    assert.equal(data.status, 401, kind);
  }
  assert.equal(await page.evaluate(() => window.echo.connectionStatus()), 'connected');
});

test('a page signs in and receives the events for its user', async () => {
  const page = await visit({ user: '42' });
  await page.evaluate(() => {
    const { pusher } = window.echo.connector;
    pusher.user.bind('letter', window.record('letter'));
    pusher.connection.bind('message', ({ event, channel }) => {
      if (event === 'pusher_internal:subscription_succeeded') window.report('subscribed', channel);
    });
    window.echo.connector.signin();
  });
  assert.equal((await page.inbox.event('subscribed')).data, '#server-to-user-42');
  await api.sendToUser('42', 'letter', { n: 1 });
  assert.deepEqual((await page.inbox.event('letter')).data, { n: 1 });
});

test('a page with an unknown key gets close code 4001 and does not reconnect', async () => {
  const page = await open({ key: 'no-such-key' });
  assert.equal((await page.inbox.event('connection error')).data.code, 4001);
  await page.inbox.event('disconnected');
  const { state, planned } = await page.evaluate(() => {
    const { state, runner, connection, retryTimer } = window.echo.connector.pusher.connection;
    return { state, planned: Boolean(runner || connection || retryTimer?.isRunning()) };
  });
  assert.deepEqual({ state, planned }, { state: 'disconnected', planned: false });
});

test('a page connects from an allowed origin and gets close code 4009 from another', async () => {
  const apps = [{ app_id: '1', key: 'strict', secret: 'secret', allowed_origins: ['localhost'] }];
  const strict = await startServer({ apps });
  await visit({ at: strict, host: 'localhost' });
  const refused = await open({ at: strict, host: '127.0.0.1' });
  const { data } = await refused.inbox.event('connection error');
  assert.deepEqual(data, { code: 4009, message: 'Origin not allowed' });
  await refused.inbox.event('disconnected');
  await Promise.all([...contexts].map((context) => context.close()));
  contexts.clear();
  await strict.stop();
});

for (const [how, end] of [
  ['was killed', (it) => it.kill()],
  ['has stopped', (it) => it.stop()],
]) {
  test(`a page reconnects by itself after its server ${how}`, async () => {
    const port = await fixedPort();
    const first = await startServer({ port });
    const page = await visit({ at: first });
    await listen(page, () => {
      window.echo
        .private('orders')
        .listen('.shipped', window.record('shipped'))
        .subscribed(window.record('subscribed'));
    });
    await http(first).trigger('private-orders', 'shipped', { n: 1 });
    await page.inbox.event('shipped');

    await end(first);
    const second = await startServer({ port });
    await page.inbox.event('connecting');
    await page.inbox.event('connected', COMING_BACK);
    await page.inbox.event('subscribed');
    await http(second).trigger('private-orders', 'shipped', { n: 2 });
    await page.inbox.event('shipped');
    assert.deepEqual(page.inbox.dataOf('shipped'), [{ n: 1 }, { n: 2 }]);
    await page.close();
    await second.stop();
  });
}
