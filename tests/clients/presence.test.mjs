// pusher-js on presence channels: member lists, joins and leaves.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import {
  barrier,
  connected,
  endClients,
  http,
  leave,
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

/** A client of this user in this channel. */
async function join(name, user_id, user_info) {
  return subscribed(await connected(server, { member: { user_id, user_info } }), name);
}

/** The members of a channel as plain values. */
function members(channel) {
  const all = [];
  channel.members.each((member) => all.push([member.id, member.info]));
  return all.sort();
}

test('a new member receives the list of members, itself included', async () => {
  await join('presence-here', 'ada', { name: 'Ada' });
  const grace = await join('presence-here', 'grace', { name: 'Grace' });
  assert.equal(grace.members.count, 2);
  assert.deepEqual(members(grace), [
    ['ada', { name: 'Ada' }],
    ['grace', { name: 'Grace' }],
  ]);
  assert.deepEqual(grace.members.me, { id: 'grace', info: { name: 'Grace' } });
});

test('the other members receive joins and leaves', async () => {
  const ada = await join('presence-both', 'ada', { name: 'Ada' });
  const grace = await join('presence-both', 'grace', { name: 'Grace' });
  const added = await ada.inbox.event('pusher:member_added');
  assert.deepEqual(added.data, { id: 'grace', info: { name: 'Grace' } });
  assert.equal(ada.members.count, 2);

  grace.pusher.unsubscribe('presence-both');
  const removed = await ada.inbox.event('pusher:member_removed');
  assert.deepEqual(removed.data, { id: 'grace', info: { name: 'Grace' } });
  assert.deepEqual(members(ada), [['ada', { name: 'Ada' }]]);
});

test('a broken connection leaves its presence channels', async () => {
  const ada = await join('presence-cut', 'ada', {});
  const socket = await rawConnected(server);
  const { auth, channel_data } = api.authorizeChannel(socket.id, 'presence-cut', {
    user_id: 'grace',
    user_info: {},
  });
  socket.sendEvent('pusher:subscribe', { channel: 'presence-cut', auth, channel_data });
  await ada.inbox.event('pusher:member_added');
  socket.terminate();
  assert.equal((await ada.inbox.event('pusher:member_removed')).data.id, 'grace');
});

test('a user with two tabs joins once and leaves once', async () => {
  const watcher = await join('presence-tabs', 'watcher', {});
  const first = await join('presence-tabs', '7', { tab: 1 });
  const second = await join('presence-tabs', '7', { tab: 2 });
  assert.equal(second.members.count, 2);
  assert.deepEqual(second.members.get('7').info, { tab: 1 }, 'the info is that of the first tab');

  await leave(first);
  await barrier(api, watcher, second);
  assert.equal(watcher.members.count, 2, 'the second tab keeps the user in the channel');
  second.pusher.disconnect();
  await watcher.inbox.event('pusher:member_removed');
  await barrier(api, watcher);
  const seen = watcher.inbox.all.filter(({ event }) => event.startsWith('pusher:member_'));
  assert.deepEqual(
    seen.map(({ event, data }) => [event, data.id]),
    [
      ['pusher:member_added', '7'],
      ['pusher:member_removed', '7'],
    ],
  );
  assert.equal(watcher.members.count, 1);
});

test('a numeric user id is the same user as its digits', async () => {
  const watcher = await join('presence-numbers', 1, { name: 'one' });
  assert.deepEqual(watcher.members.me, { id: 1, info: { name: 'one' } });
  await join('presence-numbers', 7, { name: 'seven' });
  const added = await watcher.inbox.event('pusher:member_added');
  assert.deepEqual(added.data, { id: '7', info: { name: 'seven' } });
  const third = await join('presence-numbers', '7', { name: 'seven again' });
  assert.equal(third.members.count, 2);
  assert.deepEqual(members(third), [
    ['1', { name: 'one' }],
    ['7', { name: 'seven' }],
  ]);
  await barrier(api, watcher);
  assert.equal(watcher.inbox.dataOf('pusher:member_added').length, 1);
});

test('users 0 and 1 are an object of members, not a list', async () => {
  await join('presence-zero', '0', { name: 'zero' });
  const one = await join('presence-zero', '1', { name: 'one' });
  const [message] = one.pusher.messages.all.filter(
    ({ event }) => event === 'pusher_internal:subscription_succeeded',
  );
  assert.deepEqual(message.data, {
    presence: {
      count: 2,
      ids: ['0', '1'],
      hash: { 0: { name: 'zero' }, 1: { name: 'one' } },
    },
  });
});

test('a user without further information is a member like any other', async () => {
  const ada = await join('presence-plain', 'ada');
  assert.equal(ada.members.count, 1);
  await join('presence-plain', 'grace');
  assert.equal((await ada.inbox.event('pusher:member_added')).data.id, 'grace');
});

test('a client event names the user of its sender, even if the sender names another', async () => {
  const ada = await join('presence-chat', 'ada', {});
  const grace = await join('presence-chat', '7', {});
  const received = new Promise((resolve) => {
    ada.bind('client-typing', (data, metadata) => resolve({ data, metadata }));
  });
  const { channel, ...forged } = { channel: 'presence-chat', user_id: 'eve' };
  grace.pusher.connection.send(
    JSON.stringify({ event: 'client-typing', channel, data: { on: true }, ...forged }),
  );
  assert.deepEqual(await received, { data: { on: true }, metadata: { user_id: '7' } });
  await barrier(api, grace);
  assert.deepEqual(grace.inbox.dataOf('client-typing'), []);
});

test('an event of the app names no user', async () => {
  const ada = await join('presence-app', 'ada', {});
  const received = new Promise((resolve) => {
    ada.bind('news', (data, metadata) => resolve({ data, metadata }));
  });
  await api.trigger('presence-app', 'news', { n: 1 });
  assert.deepEqual(await received, { data: { n: 1 }, metadata: {} });
});

test('a subscription with unsigned channel data is rejected', async () => {
  const socket = await rawConnected(server);
  const { auth } = api.authorizeChannel(socket.id, 'presence-forged', { user_id: 'ada' });
  const channel_data = JSON.stringify({ user_id: 'eve' });
  socket.sendEvent('pusher:subscribe', { channel: 'presence-forged', auth, channel_data });
  const refused = await socket.inbox.event('pusher:subscription_error');
  assert.equal(refused.channel, 'presence-forged');
});

test('the list is right after thirty users join and leave at once', async () => {
  const watcher = await join('presence-crowd', 'watcher', {});
  const crowd = await Promise.all(
    Array.from({ length: 30 }, (_, n) => join('presence-crowd', `user-${n}`, { n })),
  );
  for (let n = 0; n < 30; n++) await watcher.inbox.event('pusher:member_added');
  assert.equal(watcher.members.count, 31);
  for (const channel of crowd) channel.pusher.disconnect();
  for (let n = 0; n < 30; n++) await watcher.inbox.event('pusher:member_removed');
  assert.deepEqual(members(watcher), [['watcher', {}]]);
});
