// pusher-js on public and private channels: publishing, client events, and their recipients.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import {
  barrier,
  connected,
  endClients,
  http,
  leave,
  raw,
  rawConnected,
  startServer,
  subscribe,
  subscribed,
} from './support.mjs';

let server;
let api;
before(async () => {
  server = await startServer();
  api = http(server);
});
afterEach(endClients);
after(() => server.stop());

test('a public channel delivers published events', async () => {
  const channel = await subscribed(await connected(server), 'orders');
  const order = { id: 7, note: 'naïve café 🚀 </script> \\ / "', price: 1.0, empty: {}, list: [] };
  await api.trigger('orders', 'App\\Events\\OrderShipped', order);
  await api.trigger('orders', 'plain', 'a text that is no JSON');
  await api.trigger('orders', 'number', '12345678901234567890');
  await barrier(api, channel);
  assert.deepEqual(channel.inbox.dataOf('App\\Events\\OrderShipped'), [order]);
  assert.deepEqual(channel.inbox.dataOf('plain'), ['a text that is no JSON']);
});

test('the data of an event is forwarded byte for byte', async () => {
  const socket = await rawConnected(server);
  socket.sendEvent('pusher:subscribe', { channel: 'bytes' });
  await socket.inbox.event('pusher_internal:subscription_succeeded');
  const data = '{"a":1.0,"b":12345678901234567890,"c":{},"d":"\\u00e9/é"}';
  await api.trigger('bytes', 'exact', data);
  const event = await socket.inbox.event('exact');
  assert.deepEqual(event, { event: 'exact', channel: 'bytes', data });
});

test('two hundred events arrive in the order of publishing', async () => {
  const channel = await subscribed(await connected(server), 'ordered');
  for (let n = 0; n < 200; n++) await api.trigger('ordered', 'n', { n });
  await barrier(api, channel);
  const expected = Array.from({ length: 200 }, (_, n) => ({ n }));
  assert.deepEqual(channel.inbox.dataOf('n'), expected);
});

test('an event on three channels reaches a client on two of them twice', async () => {
  const pusher = await connected(server);
  const [red, green] = [await subscribed(pusher, 'red'), await subscribed(pusher, 'green')];
  await api.trigger(['red', 'green', 'blue'], 'paint', { coat: 1 });
  await barrier(api, red, green);
  assert.deepEqual(red.inbox.dataOf('paint'), [{ coat: 1 }]);
  assert.deepEqual(green.inbox.dataOf('paint'), [{ coat: 1 }]);
});

test('an unsubscribed channel delivers no more events', async () => {
  const pusher = await connected(server);
  const left = await subscribed(pusher, 'left');
  const kept = await subscribed(pusher, 'kept');
  await leave(left);
  await api.trigger(['left', 'kept'], 'news', {});
  await barrier(api, kept);
  assert.equal(kept.inbox.dataOf('news').length, 1);
  assert.equal(left.inbox.dataOf('news').length, 0);
  const messages = pusher.messages.all.filter(({ event }) => event === 'news');
  assert.deepEqual(
    messages.map(({ channel }) => channel),
    ['kept'],
  );
});

test('a client can resubscribe to a channel', async () => {
  const pusher = await connected(server);
  await subscribed(pusher, 'again');
  pusher.unsubscribe('again');
  const channel = await subscribed(pusher, 'again');
  await barrier(api, channel);
});

test('a private channel accepts a client with a signature of the app', async () => {
  const channel = await subscribed(await connected(server), 'private-orders.7');
  await api.trigger('private-orders.7', 'shipped', { id: 7 });
  assert.deepEqual((await channel.inbox.event('shipped')).data, { id: 7 });
});

test('a wrong signature fires the subscription error, and the connection stays', async () => {
  const signer = http(server, { app: { ...server.app, secret: 'not-the-secret' } });
  const pusher = await connected(server, { signer, member: { user_id: '1' } });
  for (const name of ['private-secret', 'presence-secret', 'private-encrypted-secret']) {
    const channel = subscribe(pusher, name);
    const { data } = await channel.inbox.event('pusher:subscription_error');
    assert.equal(data.type, 'AuthError', name);
    assert.equal(data.status, 401, name);
    assert.equal(channel.subscribed, false, name);
    const error = await pusher.errors.take(() => true, 'the connection error');
    assert.equal(error.data.code, 4009, name);
    assert.equal(error.data.message, 'Connection is unauthorized', name);
  }
  const open = await subscribed(pusher, 'open');
  await api.trigger(['private-secret', 'open'], 'news', {});
  await barrier(api, open);
  const channels = pusher.messages.all.filter(({ event }) => event === 'news');
  assert.deepEqual(
    channels.map(({ channel }) => channel),
    ['open'],
  );
});

test('a signature for another connection or another channel is rejected', async () => {
  const pusher = await connected(server);
  const socket = await rawConnected(server);
  const stolen = [
    api.authorizeChannel(pusher.connection.socket_id, 'private-mine').auth,
    api.authorizeChannel(socket.id, 'private-other').auth,
    '',
    server.app.key,
    `${server.app.key}:`,
    undefined,
  ];
  for (const auth of stolen) {
    socket.sendEvent('pusher:subscribe', { channel: 'private-mine', auth });
    const refused = await socket.inbox.event('pusher:subscription_error');
    assert.equal(refused.channel, 'private-mine', auth);
  }
});

test('an event is not sent to the connection it excludes', async () => {
  const [me, other] = [await connected(server), await connected(server)];
  const [mine, theirs] = [await subscribed(me, 'chat'), await subscribed(other, 'chat')];
  const { socket_id } = me.connection;
  await api.trigger('chat', 'message', { n: 1 }, { socket_id });
  await api.triggerBatch([{ channel: 'chat', name: 'message', data: { n: 2 }, socket_id }]);
  await api.trigger('chat', 'message', { n: 3 });
  await barrier(api, mine, theirs);
  assert.deepEqual(theirs.inbox.dataOf('message'), [{ n: 1 }, { n: 2 }, { n: 3 }]);
  assert.deepEqual(mine.inbox.dataOf('message'), [{ n: 3 }]);
});

test('a client event on a private channel reaches the others but not its sender', async () => {
  const names = ['sender', 'second', 'third'];
  const all = await Promise.all(
    names.map(async () => subscribed(await connected(server), 'private-chat')),
  );
  const typing = { name: 'Ada', at: 1.5, list: [], empty: {} };
  assert.ok(all[0].trigger('client-typing', typing));
  for (const channel of all.slice(1)) await channel.inbox.event('client-typing');
  await barrier(api, ...all);
  assert.deepEqual(
    all.map((channel) => channel.inbox.dataOf('client-typing')),
    [[], [typing], [typing]],
  );
});

test('a client event from a client that is not subscribed is not delivered', async () => {
  const listener = await subscribed(await connected(server), 'private-closed');
  const stranger = await connected(server);
  stranger.send_event('client-knock', {}, 'private-closed');
  await stranger.errors.take(() => true, 'the error');
  await barrier(api, listener);
  assert.deepEqual(listener.inbox.dataOf('client-knock'), []);
});

test('a public channel whose name begins like a private one needs no signature', async () => {
  const pusher = await connected(server);
  const socket = await rawConnected(server);
  socket.sendEvent('pusher:subscribe', { channel: 'privateer' });
  await socket.inbox.event('pusher_internal:subscription_succeeded');
  const channel = await subscribed(pusher, 'cached-items');
  await barrier(api, channel);
  assert.deepEqual(channel.inbox.dataOf('pusher:cache_miss'), []);
});

test('subscription counts are sent if the app enables them', async () => {
  const env = { REVERB_APP_SUBSCRIPTION_COUNT: 'true' };
  const own = await startServer({ env });
  try {
    const first = await subscribed(await connected(own), 'counted');
    assert.equal((await first.inbox.event('pusher:subscription_count')).data.subscription_count, 1);
    const socket = raw(own);
    await socket.inbox.event('pusher:connection_established');
    socket.sendEvent('pusher:subscribe', { channel: 'counted' });
    assert.equal((await first.inbox.event('pusher:subscription_count')).data.subscription_count, 2);
    socket.terminate();
    assert.equal((await first.inbox.event('pusher:subscription_count')).data.subscription_count, 1);
  } finally {
    endClients();
    await own.stop();
  }
});
