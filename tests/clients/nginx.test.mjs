// A real nginx in front, with the proxy block of Laravel's documentation word for word. The block
// sends `Connection: Upgrade` with every request, WebSocket or not.

import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { after, afterEach, before, test } from 'node:test';
import { startNginx } from './nginx.mjs';
import {
  barrier,
  client,
  codes,
  connected,
  endClients,
  gaveUp,
  http,
  rawConnected,
  startServer,
  subscribed,
} from './support.mjs';

let server;
let proxy;
let api;
before(async () => {
  server = await startServer();
  proxy = await startNginx(server);
  api = http(proxy);
});
afterEach(endClients);
after(async () => {
  await proxy.stop();
  await server.stop();
});

test('the health check passes through nginx', async () => {
  const response = await fetch(`${proxy.url}/up`);
  assert.equal(response.status, 200);
  assert.match(response.headers.get('server'), /^nginx/);
  assert.deepEqual(await response.json(), { health: 'OK' });
  const head = await fetch(`${proxy.url}/up`, { method: 'HEAD' });
  assert.equal(head.status, 200);
  assert.equal(await head.text(), '');
});

test('pusher-js connects through nginx to public, private and presence channels', async () => {
  const pusher = await connected(proxy, { member: { user_id: '7', user_info: { name: 'Ada' } } });
  const channels = [
    await subscribed(pusher, 'news'),
    await subscribed(pusher, 'private-news'),
    await subscribed(pusher, 'presence-news'),
  ];
  await api.trigger(['news', 'private-news', 'presence-news'], 'event', { via: 'nginx' });
  for (const channel of channels) {
    assert.deepEqual((await channel.inbox.event('event')).data, { via: 'nginx' });
  }
});

test('a client event passes through nginx', async () => {
  const one = await subscribed(await connected(proxy), 'private-chat');
  const two = await subscribed(await connected(proxy), 'private-chat');
  one.trigger('client-typing', { on: true });
  assert.deepEqual((await two.inbox.event('client-typing')).data, { on: true });
});

test('a hundred events published through nginx arrive in order', async () => {
  const behind = await subscribed(await connected(proxy), 'ordered');
  const direct = await subscribed(await connected(server), 'ordered');
  for (let n = 0; n < 100; n++) {
    const response = await api.trigger('ordered', 'n', { n });
    assert.equal(response.status, 200);
    assert.deepEqual(await response.json(), {});
  }
  await barrier(api, behind, direct);
  const expected = Array.from({ length: 100 }, (_, n) => ({ n }));
  assert.deepEqual(behind.inbox.dataOf('n'), expected);
  assert.deepEqual(direct.inbox.dataOf('n'), expected);
});

test('the HTTP library queries and publishes through nginx over one kept connection', async () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const kept = http(proxy, { agent });
  const channel = await subscribed(await connected(proxy), 'kept');
  for (let n = 0; n < 20; n++) {
    await (await kept.trigger('kept', 'n', { n })).json();
    const { channels } = await (await kept.get({ path: '/channels' })).json();
    assert.deepEqual(channels.kept, {});
  }
  agent.destroy();
  await barrier(api, channel);
  assert.equal(channel.inbox.dataOf('n').length, 20);
});

test('an event of half a megabyte passes through nginx', async () => {
  const channel = await subscribed(await connected(proxy), 'large');
  const text = 'x'.repeat(500_000);
  await api.trigger('large', 'event', { text });
  assert.equal((await channel.inbox.event('event')).data.text, text);
});

test('a wrong secret is rejected with 401 through nginx', async () => {
  const wrong = http(proxy, { app: { ...proxy.app, secret: 'not-the-secret' } });
  await assert.rejects(wrong.trigger('one', 'event', {}), (error) => {
    assert.equal(error.status, 401);
    assert.match(error.body, /signature/i);
    return true;
  });
});

test('close codes pass through nginx: an unknown key stops a client', async () => {
  const pusher = client(proxy, { key: 'no-such-key' });
  await pusher.states.event('disconnected');
  assert.deepEqual(codes(pusher), [4001]);
  assert.ok(gaveUp(pusher));
});

test('a client that disconnects from nginx leaves its presence channel', async () => {
  const ada = await subscribed(
    await connected(proxy, { member: { user_id: 'ada' } }),
    'presence-proxied',
  );
  const socket = await rawConnected(proxy);
  const signed = api.authorizeChannel(socket.id, 'presence-proxied', { user_id: 'grace' });
  socket.sendEvent('pusher:subscribe', { channel: 'presence-proxied', ...signed });
  assert.equal((await ada.inbox.event('pusher:member_added')).data.id, 'grace');
  socket.terminate();
  assert.equal((await ada.inbox.event('pusher:member_removed')).data.id, 'grace');
});
