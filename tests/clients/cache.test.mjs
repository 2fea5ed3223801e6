// pusher-js on cache channels: a later subscriber receives the last event.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import {
  barrier,
  connected,
  endClients,
  http,
  leave,
  startServer,
  subscribe,
  subscribed,
} from './support.mjs';

const KINDS = ['cache-', 'private-cache-', 'presence-cache-', 'private-encrypted-cache-'];

let server;
let api;
before(async () => {
  server = await startServer();
  api = http(server);
});
afterEach(endClients);
after(() => server.stop());

const join = async (name, user_id = '7') =>
  subscribed(await connected(server, { member: { user_id } }), name);

for (const kind of KINDS) {
  test(`a ${kind} channel without an event sends a cache miss after the subscription`, async () => {
    const channel = await join(`${kind}empty`);
    await channel.inbox.event('pusher:cache_miss');
    assert.deepEqual(
      channel.inbox.all.map(({ event }) => event),
      ['pusher:subscription_succeeded', 'pusher:cache_miss'],
    );
  });

  test(`a ${kind} channel keeps its last event, also without subscribers`, async () => {
    const name = `${kind}prices`;
    await api.trigger(name, 'price', { cents: 1 });
    await api.trigger(name, 'price', { cents: 2 });

    const first = await join(name);
    assert.deepEqual((await first.inbox.event('price')).data, { cents: 2 });
    await api.trigger(name, 'changed', { cents: 3 });
    assert.deepEqual((await first.inbox.event('changed')).data, { cents: 3 });
    await leave(first);

    const second = await join(name);
    assert.deepEqual((await second.inbox.event('changed')).data, { cents: 3 });
    await barrier(api, second);
    assert.deepEqual(second.inbox.dataOf('price'), []);
    assert.deepEqual(second.inbox.dataOf('pusher:cache_miss'), []);
  });
}

test('only the new subscriber receives the kept event', async () => {
  await api.trigger('cache-alone', 'news', { n: 1 });
  const first = await join('cache-alone');
  await first.inbox.event('news');
  const second = await join('cache-alone');
  await second.inbox.event('news');
  await barrier(api, first, second);
  assert.deepEqual(first.inbox.dataOf('news'), [{ n: 1 }]);
  assert.deepEqual(second.inbox.dataOf('news'), [{ n: 1 }]);
});

test('neither client events nor members are kept', async () => {
  const name = 'presence-cache-room';
  await api.trigger(name, 'topic', { is: 'kept' });
  const [ada, grace] = [await join(name, 'ada'), await join(name, 'grace')];
  ada.trigger('client-typing', { on: true });
  await grace.inbox.event('client-typing');
  ada.pusher.disconnect();
  await grace.inbox.event('pusher:member_removed');

  const late = await join(name, 'late');
  assert.deepEqual((await late.inbox.event('topic')).data, { is: 'kept' });
  assert.deepEqual(late.inbox.dataOf('client-typing'), []);
});

test('an event is kept for the connection it excludes, too', async () => {
  const pusher = await connected(server);
  const channel = await subscribed(pusher, 'cache-others');
  await channel.inbox.event('pusher:cache_miss');
  const { socket_id } = pusher.connection;
  await api.trigger('cache-others', 'news', { n: 1 }, { socket_id });
  pusher.unsubscribe('cache-others');
  const again = subscribe(pusher, 'cache-others');
  assert.deepEqual((await again.inbox.event('news')).data, { n: 1 });
  assert.deepEqual(channel.inbox.dataOf('news'), []);
});
