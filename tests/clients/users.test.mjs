// pusher-js that signs in: events for a user, termination of its connections, and watchlists.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import {
  barrier,
  codes,
  connected,
  endClients,
  gaveUp,
  http,
  Inbox,
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

/** A signed-in client; the events for its user are in `letters`. */
async function signedIn(user, options) {
  const pusher = await connected(server, { user, ...options });
  pusher.letters = new Inbox(`letters to ${user.id}`);
  pusher.user.bind_global((event, data) => pusher.letters.push({ event, data }));
  pusher.watched = new Inbox(`watchlist of ${user.id}`);
  pusher.user.watchlist.bind_global((event, data) => pusher.watched.push({ event, data }));
  pusher.signin();
  await pusher.messages.take(
    ({ event, channel }) =>
      event === 'pusher_internal:subscription_succeeded' &&
      channel === `#server-to-user-${user.id}`,
    'the subscription of the user channel',
  );
  return pusher;
}

test('a client signs in with a signature of the app', async () => {
  const pusher = await signedIn({ id: '42', user_info: { name: 'Ada' } });
  assert.deepEqual(pusher.user.user_data, { id: '42', user_info: { name: 'Ada' } });
});

test('a sign-in with a wrong signature is rejected', async () => {
  const signer = http(server, { app: { ...server.app, secret: 'not-the-secret' } });
  const pusher = await connected(server, { user: { id: '42' }, signer });
  pusher.signin();
  await pusher.errors.take(() => true, 'the error');
  assert.equal(pusher.user.user_data, null);
});

test('an event for a user reaches only its connections', async () => {
  const tabs = [await signedIn({ id: 'grace' }), await signedIn({ id: 'grace' })];
  const other = await signedIn({ id: 'ada' });
  await api.sendToUser('grace', 'letter', { n: 1 });
  await api.sendToUser('ada', 'letter', { n: 2 });
  for (const tab of tabs) assert.deepEqual((await tab.letters.event('letter')).data, { n: 1 });
  await other.letters.event('letter');
  assert.deepEqual(other.letters.dataOf('letter'), [{ n: 2 }]);
});

test('a client cannot subscribe to the events of another user', async () => {
  await signedIn({ id: 'victim' });
  const socket = await rawConnected(server);
  socket.sendEvent('pusher:subscribe', { channel: '#server-to-user-victim' });
  await socket.inbox.take(
    ({ event }) => event === 'pusher:error' || event === 'pusher:subscription_error',
    'the refusal',
  );
  await api.sendToUser('victim', 'letter', {});
  socket.sendEvent('pusher:ping', {});
  await socket.inbox.event('pusher:pong');
  const events = socket.inbox.all.map(({ event }) => event);
  assert.ok(!events.includes('letter'), events.join());
  assert.ok(!events.includes('pusher_internal:subscription_succeeded'), events.join());
});

test('the channel of a user is not in the list of channels', async () => {
  await signedIn({ id: 'hidden' });
  const { channels } = await (await api.get({ path: '/channels' })).json();
  assert.deepEqual(
    Object.keys(channels).filter((name) => name.startsWith('#')),
    [],
  );
});

test('terminating a user closes only its connections, which do not reconnect', async () => {
  const tabs = [await signedIn({ id: 'banned' }), await signedIn({ id: 'banned' })];
  const other = await signedIn({ id: 'guest' });
  const response = await api.terminateUserConnections('banned');
  assert.deepEqual(await response.json(), {});
  for (const tab of tabs) {
    await tab.states.event('disconnected');
    assert.equal(codes(tab).at(-1), 4009);
    assert.ok(gaveUp(tab));
  }
  await api.sendToUser('guest', 'letter', {});
  await other.letters.event('letter');
});

test('terminating a user closes connections with the user as a presence member, too', async () => {
  const pusher = await connected(server, { member: { user_id: '7' } });
  await subscribed(pusher, 'public-first');
  await subscribed(pusher, 'presence-room');
  const other = await connected(server, { member: { user_id: '8' } });
  const room = await subscribed(other, 'presence-room');
  await api.terminateUserConnections('7');
  await pusher.states.event('disconnected');
  assert.ok(gaveUp(pusher));
  assert.equal((await room.inbox.event('pusher:member_removed')).data.id, '7');
  assert.equal(other.connection.state, 'connected');
});

test('a signed-in user needs no channel data on a presence channel', async () => {
  const ada = await subscribed(
    await connected(server, { member: { user_id: 'ada' } }),
    'presence-signed-in',
  );
  const user = { id: 'grace', user_info: { name: 'Grace' } };
  const grace = await signedIn(user, { member: undefined });
  const channel = await subscribed(grace, 'presence-signed-in');
  assert.deepEqual(channel.members.me, { id: 'grace', info: { name: 'Grace' } });
  const added = await ada.inbox.event('pusher:member_added');
  assert.deepEqual(added.data, { id: 'grace', info: { name: 'Grace' } });
});

test('a presence channel without channel data and without sign-in is rejected', async () => {
  const socket = await rawConnected(server);
  const { auth } = api.authorizeChannel(socket.id, 'presence-nobody');
  socket.sendEvent('pusher:subscribe', { channel: 'presence-nobody', auth });
  const refused = await socket.inbox.event('pusher:subscription_error');
  assert.equal(refused.channel, 'presence-nobody');
});

test('a watchlist reports which users are online and offline', async () => {
  const early = await signedIn({ id: 'early' });
  const watcher = await signedIn({ id: 'watcher', watchlist: ['early', 'late'] });
  assert.deepEqual((await watcher.watched.event('online')).data.user_ids, ['early']);
  assert.deepEqual((await watcher.watched.event('offline')).data.user_ids, ['late']);

  const tabs = [await signedIn({ id: 'late' }), await signedIn({ id: 'late' })];
  assert.deepEqual((await watcher.watched.event('online')).data.user_ids, ['late']);
  for (const tab of tabs) tab.disconnect();
  assert.deepEqual((await watcher.watched.event('offline')).data.user_ids, ['late']);
  early.disconnect();
  assert.deepEqual((await watcher.watched.event('offline')).data.user_ids, ['early']);
  assert.deepEqual(
    watcher.watched.all.map(({ event, data }) => [event, ...data.user_ids]),
    [
      ['online', 'early'],
      ['offline', 'late'],
      ['online', 'late'],
      ['offline', 'late'],
      ['offline', 'early'],
    ],
  );
});

test('signing in keeps the channels of a client', async () => {
  const pusher = await connected(server, { user: { id: 'same' } });
  const channel = subscribe(pusher, 'private-before');
  await channel.inbox.event('pusher:subscription_succeeded');
  pusher.signin();
  await pusher.messages.event('pusher:signin_success');
  await barrier(api, channel);
});
