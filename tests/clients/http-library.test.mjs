// The official HTTP library for Node: the requests of a backend, and their responses.

import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { after, afterEach, before, test } from 'node:test';
import {
  barrier,
  connected,
  endClients,
  http,
  rawConnected,
  startServer,
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

const get = async (path, params) => (await api.get({ path, params })).json();

/** The error that the library throws for this request. */
async function refused(request) {
  const answer = await request.then(
    (response) => assert.fail(`answered with ${response.status}`),
    (error) => error,
  );
  assert.equal(answer.name, 'PusherRequestError', answer.message);
  return answer;
}

test('an event on one channel is answered with an empty object', async () => {
  const response = await api.trigger('one', 'event', { n: 1 });
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-type'), /^application\/json/);
  assert.deepEqual(await response.json(), {});
});

test('an event on a hundred channels reaches each of them', async () => {
  const names = Array.from({ length: 100 }, (_, n) => `many-${n}`);
  const pusher = await connected(server);
  const ends = [await subscribed(pusher, names[0]), await subscribed(pusher, names[99])];
  assert.equal((await api.trigger(names, 'event', { n: 1 })).status, 200);
  for (const channel of ends) assert.deepEqual((await channel.inbox.event('event')).data, { n: 1 });
});

test('a batch of ten events arrives completely and in order', async () => {
  const channel = await subscribed(await connected(server), 'batch');
  const batch = Array.from({ length: 10 }, (_, n) => ({ channel: 'batch', name: 'n', data: { n } }));
  const response = await api.triggerBatch(batch);
  assert.equal(response.status, 200);
  assert.deepEqual(await response.json(), {});
  await barrier(api, channel);
  const expected = Array.from({ length: 10 }, (_, n) => ({ n }));
  assert.deepEqual(channel.inbox.dataOf('n'), expected);
});

test('a batch with an invalid event is rejected completely', async () => {
  const channel = await subscribed(await connected(server), 'whole');
  const good = { channel: 'whole', name: 'good', data: '1' };
  const error = await refused(
    api.post({ path: '/batch_events', body: { batch: [good, { channel: 'whole', data: '2' }] } }),
  );
  assert.equal(error.status, 422);
  await barrier(api, channel);
  assert.deepEqual(channel.inbox.dataOf('good'), []);
});

test('the response to an event has the requested counts', async () => {
  await subscribed(await connected(server), 'info');
  await subscribed(await connected(server, { member: { user_id: '1' } }), 'presence-info');
  const params = { info: 'user_count,subscription_count' };
  const response = await api.trigger(['info', 'presence-info', 'nobody'], 'event', {}, params);
  const { channels } = await response.json();
  assert.equal(channels.info.subscription_count, 1);
  assert.equal(channels['presence-info'].user_count, 1);
  assert.deepEqual(Object.keys(channels).sort(), ['info', 'nobody', 'presence-info']);
});

test('the response to a batch has the requested counts, by position', async () => {
  await subscribed(await connected(server), 'batch-info');
  const item = { channel: 'batch-info', name: 'event', data: {} };
  const response = await api.triggerBatch([{ ...item }, { ...item, info: 'subscription_count' }]);
  assert.deepEqual(await response.json(), { batch: [{}, { subscription_count: 1 }] });
});

test('an empty list of channels is an object, too', async () => {
  const own = await startServer();
  const empty = { channels: {} };
  assert.deepEqual(await (await http(own).get({ path: '/channels' })).json(), empty);
  await own.stop();
  assert.deepEqual(await get('/channels', { filter_by_prefix: 'nothing-begins-so-' }), empty);
});

test('the list of channels can be filtered by prefix and count users', async () => {
  for (const user_id of ['1', '2', '2']) {
    const pusher = await connected(server, { member: { user_id } });
    await subscribed(pusher, 'presence-listed');
    await subscribed(pusher, 'listed-too');
  }
  const params = { filter_by_prefix: 'presence-', info: 'user_count' };
  const { channels } = await get('/channels', params);
  assert.deepEqual(channels['presence-listed'], { user_count: 2 });
  assert.ok(Object.keys(channels).every((name) => name.startsWith('presence-')));
  const all = await get('/channels');
  assert.deepEqual(all.channels['listed-too'], {});
});

test('a single channel reports whether it is occupied, and its counts', async () => {
  for (const user_id of ['1', '2', '2']) {
    await subscribed(await connected(server, { member: { user_id } }), 'presence-room');
  }
  await subscribed(await connected(server), 'room');
  assert.deepEqual(await get('/channels/presence-room', { info: 'user_count' }), {
    occupied: true,
    user_count: 2,
  });
  assert.deepEqual(await get('/channels/room', { info: 'subscription_count' }), {
    occupied: true,
    subscription_count: 1,
  });
  assert.deepEqual(await get('/channels/empty-room'), { occupied: false });
});

test('a slash within a name is encoded as %2F', async () => {
  const pusher = await connected(server);
  await subscribed(pusher, 'one/two');
  const name = encodeURIComponent('one/two');
  assert.deepEqual(await get(`/channels/${name}`), { occupied: true });
  assert.equal((await api.terminateUserConnections(encodeURIComponent('a/b @c'))).status, 200);
});

test('a presence channel lists each of its users once', async () => {
  for (const user_id of ['ada', 'grace', 'grace']) {
    await subscribed(await connected(server, { member: { user_id } }), 'presence-users');
  }
  assert.deepEqual(await get('/channels/presence-users/users'), {
    users: [{ id: 'ada' }, { id: 'grace' }],
  });
});

test('a vacant presence channel has no users, and other channels get 400 or 404', async () => {
  assert.deepEqual(await get('/channels/presence-empty/users'), { users: [] });
  await subscribed(await connected(server), 'no-users');
  assert.equal((await refused(api.get({ path: '/channels/no-users/users' }))).status, 400);
  assert.equal((await refused(api.get({ path: '/channels/empty/users' }))).status, 404);
});

test('the API reports the number of connections to Pulse', async () => {
  const own = await startServer();
  const pulse = http(own);
  const count = async () => (await pulse.get({ path: '/connections' })).json();
  assert.deepEqual(await count(), { connections: 0 });
  const socket = await rawConnected(own);
  await subscribed(await connected(own), 'counted');
  await subscribed(await connected(own), 'counted');
  assert.deepEqual(await count(), { connections: 3 });
  socket.close(1000);
  await socket.closed;
  assert.deepEqual(await count(), { connections: 2 });
  endClients();
  await own.stop();
});

test('a wrong secret is rejected with 401 and a reason', async () => {
  const wrong = http(server, { app: { ...server.app, secret: 'not-the-secret' } });
  const requests = [() => wrong.trigger('one', 'event', {}), () => wrong.get({ path: '/channels' })];
  for (const request of requests) {
    const error = await refused(request());
    assert.equal(error.status, 401);
    assert.match(error.body, /signature/i);
  }
});

test('the key of another app, an unknown app and an unknown path are rejected', async () => {
  const key = http(server, { app: { ...server.app, key: 'another-key' } });
  assert.equal((await refused(key.get({ path: '/channels' }))).status, 401);
  const app = http(server, { app: { ...server.app, app_id: 'nobody' } });
  const error = await refused(app.get({ path: '/channels' }));
  assert.equal(error.status, 404);
  assert.match(error.body, /nobody/);
  assert.equal((await refused(api.get({ path: '/no/such/path' }))).status, 404);
});

test('a request signed half an hour ago is rejected', async () => {
  const query = (seconds) => {
    const now = Date.now;
    Date.now = () => now() - seconds * 1000;
    try {
      return api.createSignedQueryString({
        method: 'GET',
        path: `/apps/${server.app.app_id}/channels`,
      });
    } finally {
      Date.now = now;
    }
  };
  const status = async (seconds) => {
    const path = `/apps/${server.app.app_id}/channels?${query(seconds)}`;
    return (await fetch(server.url + path)).status;
  };
  assert.equal(await status(1800), 401);
  assert.equal(await status(-1800), 401);
  assert.equal(await status(300), 200);
});

test('an event without a name is rejected with 422 and the name of the field', async () => {
  const error = await refused(api.post({ path: '/events', body: { channel: 'one', data: '1' } }));
  assert.equal(error.status, 422);
  assert.ok('name' in JSON.parse(error.body), error.body);
});

test('a request over the limit is rejected with 413, its size and the setting', async () => {
  const own = await startServer({ env: { REVERB_MAX_REQUEST_SIZE: '10000' } });
  const small = http(own);
  assert.equal((await small.trigger('one', 'event', 'x'.repeat(8_000))).status, 200);
  const error = await refused(small.trigger('one', 'event', 'x'.repeat(53_000)));
  assert.equal(error.status, 413);
  assert.match(error.body, /too large/i);
  assert.match(error.body, /10000/);
  assert.match(error.body, /max_request_size/i);
  assert.equal((await small.trigger('one', 'event', {})).status, 200);
  await own.stop();
});

test('a response of 413 arrives even if the request is many times too large', async () => {
  const error = await refused(api.trigger('one', 'event', 'x'.repeat(8 << 20)));
  assert.equal(error.status, 413, error.error?.message);
  assert.match(error.body, /too large/i);
});

test('an event of half a megabyte arrives completely', async () => {
  const channel = await subscribed(await connected(server), 'large');
  const text = 'é'.repeat(250_000);
  await api.trigger('large', 'event', { text });
  assert.equal((await channel.inbox.event('event')).data.text, text);
});

test('five hundred sequential requests use one kept connection', async () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  let opened = 0;
  const { createConnection } = agent;
  agent.createConnection = (...args) => {
    opened += 1;
    return createConnection.apply(agent, args);
  };
  const channel = await subscribed(await connected(server), 'kept');
  const kept = http(server, { agent });
  for (let n = 0; n < 250; n++) {
    await (await kept.trigger('kept', 'n', { n })).json();
    await (await kept.get({ path: '/connections' })).json();
  }
  agent.destroy();
  assert.equal(opened, 1);
  await barrier(api, channel);
  assert.equal(channel.inbox.dataOf('n').length, 250);
});

test('fifty requests at once are all answered', async () => {
  const channel = await subscribed(await connected(server), 'at-once');
  const all = Array.from({ length: 50 }, (_, n) => api.trigger('at-once', 'n', { n }));
  for (const response of await Promise.all(all)) assert.equal(response.status, 200);
  await barrier(api, channel);
  const numbers = channel.inbox.dataOf('n').map(({ n }) => n);
  assert.deepEqual(
    numbers.sort((a, b) => a - b),
    Array.from({ length: 50 }, (_, n) => n),
  );
});
