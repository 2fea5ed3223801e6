// The official HTTP library for Node verifies and parses what the server sends to a webhook.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { after, afterEach, test } from 'node:test';
import {
  APP,
  connected,
  endClients,
  http,
  Inbox,
  startServer,
  subscribed,
} from './support.mjs';

const servers = [];
afterEach(endClients);
after(() => Promise.all(servers.map((server) => server.stop?.() ?? server.close())));

/** A web server that keeps each request with its raw body, as `webhook()` needs it. */
async function receiver() {
  const inbox = new Inbox('the webhook');
  const web = createServer((request, response) => {
    let rawBody = '';
    request.setEncoding('utf8');
    request.on('data', (text) => (rawBody += text));
    request.on('end', () => {
      inbox.push({ headers: request.headers, rawBody });
      response.end();
    });
  });
  web.listen(0, '127.0.0.1');
  await once(web, 'listening');
  servers.push(web);
  return { inbox, url: `http://127.0.0.1:${web.address().port}/hook` };
}

/** The events of the next request, which the library must accept. */
async function verified(library, inbox) {
  const request = await inbox.take(() => true, 'a request');
  const webhook = library.webhook(request);
  assert.ok(webhook.isContentTypeValid(), request.headers['content-type']);
  assert.ok(webhook.isBodyValid(), request.rawBody);
  assert.ok(webhook.isValid(), JSON.stringify(request));
  assert.ok(Math.abs(webhook.getTime() - Date.now()) < 300_000);
  return webhook.getEvents();
}

test('the library accepts every event and another secret is rejected', async () => {
  const { inbox, url } = await receiver();
  const events = ['channel_occupied', 'channel_vacated', 'cache_miss'];
  const apps = [{ ...APP, webhooks: [{ url, events, batch_ms: 1 }] }];
  const server = await startServer({ apps });
  servers.push(server);
  const library = http(server);
  const pusher = await connected(server);
  await subscribed(pusher, 'news');
  assert.deepEqual(await verified(library, inbox), [{ name: 'channel_occupied', channel: 'news' }]);
  await subscribed(pusher, 'cache-scores');
  const names = (await verified(library, inbox)).map((event) => event.name);
  if (names.length < 2) names.push(...(await verified(library, inbox)).map((event) => event.name));
  assert.deepEqual(names.sort(), ['cache_miss', 'channel_occupied']);
  pusher.unsubscribe('news');
  assert.deepEqual(await verified(library, inbox), [{ name: 'channel_vacated', channel: 'news' }]);
  const forged = http({ port: server.port, app: { ...APP, secret: 'another' } });
  assert.equal(forged.webhook(inbox.all[0]).isValid(), false);
});
