// pusher-js on encrypted channels: the official library encrypts, pusher-js decrypts, and the
// server forwards data that it cannot decrypt.

import assert from 'node:assert/strict';
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

test('the client decrypts the events of the app', async () => {
  const channel = await subscribed(await connected(server), 'private-encrypted-vault');
  await api.trigger('private-encrypted-vault', 'secret', { pin: 'né 🔑' });
  await api.triggerBatch([
    { channel: 'private-encrypted-vault', name: 'secret', data: { pin: 'batch' } },
  ]);
  await barrier(api, channel);
  assert.deepEqual(channel.inbox.dataOf('secret'), [{ pin: 'né 🔑' }, { pin: 'batch' }]);
});

test('the server forwards no plain text', async () => {
  const socket = await rawConnected(server);
  const { auth } = api.authorizeChannel(socket.id, 'private-encrypted-raw');
  socket.sendEvent('pusher:subscribe', { channel: 'private-encrypted-raw', auth });
  await socket.inbox.event('pusher_internal:subscription_succeeded');
  await api.trigger('private-encrypted-raw', 'secret', { pin: 'in the clear' });
  const { data } = await socket.inbox.event('secret');
  assert.deepEqual(Object.keys(JSON.parse(data)).sort(), ['ciphertext', 'nonce']);
  assert.ok(!JSON.stringify(socket.inbox.all).includes('in the clear'));
});

test('a client with another key decrypts nothing', async () => {
  const other = http(server, {
    encryptionMasterKeyBase64: Buffer.alloc(32, 'another one').toString('base64'),
  });
  const channel = await subscribed(
    await connected(server, { signer: other }),
    'private-encrypted-keys',
  );
  await api.trigger('private-encrypted-keys', 'secret', { pin: 1 });
  await other.trigger('private-encrypted-keys', 'readable', { pin: 2 });
  assert.deepEqual((await channel.inbox.event('readable')).data, { pin: 2 });
  assert.deepEqual(channel.inbox.dataOf('secret'), []);
  const arrived = channel.pusher.messages.all.map(({ event }) => event);
  assert.ok(arrived.includes('secret'), 'it arrived, and was not decrypted');
});
