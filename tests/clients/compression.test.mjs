// permessage-deflate with real clients: the `ws` package with and without it, through nginx, and the
// WebSockets of browsers. What arrives is the same; the counters of the server and of the sockets show
// whether it was compressed.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { startNginx } from './nginx.mjs';
import {
  child,
  endClients,
  fixedPort,
  folder,
  http,
  Inbox,
  raw,
  rawConnected,
  reload,
  startServer,
  within,
} from './support.mjs';

let server;
let proxy;
let api;
let metrics;
before(async () => {
  metrics = await fixedPort();
  server = await startServer({ env: { REVERB_SERVER_METRICS: String(metrics) } });
  proxy = await startNginx(server);
  api = http(server);
});
afterEach(endClients);
after(async () => {
  await proxy.stop();
  await server.stop();
});

/** Data of about this many bytes, as Laravel broadcasts it. */
function order(bytes) {
  const line = (n) => ({ id: n * 7919, sku: `SKU-${n * 104_729}`, name: 'USB-C cable', price: n / 7 });
  const lines = [];
  while (JSON.stringify(lines).length < bytes) lines.push(line(lines.length));
  return { order: { status: 'shipped', lines } };
}

/** The value of a counter of the server. */
async function counted(name) {
  const text = await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)[1]);
}

/** A subscribed bare WebSocket; `received` counts the bytes that its TCP socket has received. */
async function subscribed(at, channel, options) {
  const socket = await rawConnected(at, options);
  socket.sendEvent('pusher:subscribe', { channel });
  await socket.inbox.event('pusher_internal:subscription_succeeded');
  socket.received = () => socket._socket.bytesRead;
  return socket;
}

test('ws gets events compressed, and plain ones without the extension', async () => {
  const [one, two] = [await subscribed(server, 'orders'), await subscribed(server, 'orders')];
  const plain = await subscribed(server, 'orders', { perMessageDeflate: false });
  assert.equal(one.extensions, 'permessage-deflate');
  assert.equal(plain.extensions, '');
  const sockets = [one, two, plain];
  for (const bytes of [200, 2_000, 8_000, 100_000]) {
    const data = order(bytes);
    const before = sockets.map((socket) => socket.received());
    await api.trigger('orders', 'OrderShipped', data);
    for (const socket of sockets) {
      const event = await socket.inbox.event('OrderShipped');
      assert.deepEqual(JSON.parse(event.data), data);
    }
    const [ofOne, ofTwo, ofPlain] = sockets.map((socket, n) => socket.received() - before[n]);
    assert.equal(ofOne, ofTwo);
    if (bytes < 1_000) assert.equal(ofOne, ofPlain);
    else assert.ok(ofOne < ofPlain / 2, `${ofOne} of ${ofPlain}`);
  }
});

test('compressed messages of ws are handled, in fragments as well', async () => {
  const before = await counted('reverb_messages_decompressed_total');
  const socket = await rawConnected(server, { perMessageDeflate: { threshold: 0 } });
  socket.sendEvent('pusher:ping', {});
  await socket.inbox.event('pusher:pong');
  socket.send('{"event":', { fin: false });
  socket.send('"pusher:', { fin: false });
  socket.send('ping"}', { fin: true });
  await socket.inbox.event('pusher:pong');
  assert.equal(await counted('reverb_messages_decompressed_total'), before + 2);
});

test('an offer that limits the window of the server is declined, and ws connects without', async () => {
  const options = { perMessageDeflate: { serverMaxWindowBits: 10 } };
  const socket = await subscribed(server, 'orders', options);
  assert.equal(socket.extensions, '');
});

test('events are compressed through nginx', async () => {
  const sockets = [await subscribed(proxy, 'orders'), await subscribed(proxy, 'orders')];
  const before = await counted('reverb_events_compressed_total');
  for (let n = 0; n < 20; n++) await api.trigger('orders', `n-${n}`, order(2_000 + n));
  for (const socket of sockets) {
    assert.equal(socket.extensions, 'permessage-deflate');
    for (let n = 0; n < 20; n++) {
      const event = await socket.inbox.event(`n-${n}`);
      assert.deepEqual(JSON.parse(event.data), order(2_000 + n));
    }
  }
  assert.equal(await counted('reverb_events_compressed_total'), before + 20);
});

test('clients keep what they negotiated in a reload', async () => {
  const sockets = [await subscribed(server, 'orders'), await subscribed(server, 'orders')];
  await api.trigger('orders', 'before', order(2_000));
  await reload(server);
  const before = await counted('reverb_events_compressed_total');
  await api.trigger('orders', 'after', order(2_000));
  for (const socket of sockets) {
    for (const name of ['before', 'after']) {
      const event = await socket.inbox.event(name);
      assert.deepEqual(JSON.parse(event.data), order(2_000));
    }
  }
  assert.equal(await counted('reverb_events_compressed_total'), before + 1);
});

test('a bomb closes the connection with 1009', async () => {
  const socket = raw(server, { perMessageDeflate: { threshold: 0 } });
  await socket.inbox.event('pusher:connection_established');
  socket.send(' '.repeat(1_000_000));
  const { code, reason } = await within(socket.closed, 'the close frame');
  assert.equal(code, 1009);
  assert.match(reason, /max_message_size/);
});

// Browsers ----------------------------------------------------------------------------------

/** The script of the page: two clients, which report what they get, and one sends a message. */
function listen({ url, channel, ping }) {
  const report = (of, event, data) =>
    fetch(`/report/${of}`, { method: 'POST', body: JSON.stringify({ event, data }) });
  for (const of of [0, 1]) {
    const socket = new WebSocket(url);
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.event === 'pusher:connection_established') {
        socket.send(JSON.stringify({ event: 'pusher:subscribe', data: { channel } }));
      }
      if (message.event === 'ping now') socket.send(JSON.stringify(ping));
      report(of, message.event, { extensions: socket.extensions, data: message.data });
    };
    socket.onclose = ({ code }) => report(of, 'closed', code);
  }
}

/** A browser gets events of several sizes and sends a message; `open` opens a page, and closes it. */
async function inBrowser(channel, open) {
  const inboxes = [new Inbox('the first client'), new Inbox('the second client')];
  const url = `ws://127.0.0.1:${server.port}/app/${server.app.key}?protocol=7`;
  const ping = { event: 'pusher:ping', data: order(5_000) };
  const script = `(${listen})(${JSON.stringify({ url, channel, ping })})`;
  const site = createServer(async (request, response) => {
    const of = /^\/report\/(\d)$/.exec(request.url)?.[1];
    if (of) {
      let text = '';
      for await (const part of request) text += part;
      inboxes[of].push(JSON.parse(text));
    }
    response.setHeader('Content-Type', 'text/html');
    response.end(of ? '' : `<!doctype html><script>${script}</script>`);
  });
  site.listen(0, '127.0.0.1');
  await once(site, 'listening');
  const close = await open(`http://127.0.0.1:${site.address().port}/`);
  try {
    for (const inbox of inboxes) await inbox.event('pusher_internal:subscription_succeeded', SLOW);
    const before = await counted('reverb_events_compressed_total');
    for (const bytes of [200, 2_000, 8_000, 100_000]) {
      await api.trigger(channel, `of-${bytes}`, order(bytes));
      for (const inbox of inboxes) {
        const { data } = await inbox.event(`of-${bytes}`);
        assert.match(data.extensions, /^permessage-deflate\b/);
        assert.deepEqual(JSON.parse(data.data), order(bytes));
      }
    }
    assert.equal(await counted('reverb_events_compressed_total'), before + 3);
    const received = await counted('reverb_messages_decompressed_total');
    await api.trigger(channel, 'ping now', {});
    for (const inbox of inboxes) await inbox.event('pusher:pong');
    assert.ok((await counted('reverb_messages_decompressed_total')) >= received + 2);
  } finally {
    await close();
    site.closeAllConnections();
    site.close();
  }
}

/** The first start of a browser takes long. */
const SLOW = 60_000;

test('Chromium gets and sends compressed messages', async () => {
  await inBrowser('in-chromium', async (url) => {
    const browser = await chromium.launch({
      executablePath: process.env.CHROMIUM_BIN ?? '/usr/bin/chromium',
      headless: true,
      args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'],
    });
    await (await browser.newPage()).goto(url);
    return () => browser.close();
  });
});

test('Firefox gets and sends compressed messages', async () => {
  await inBrowser('in-firefox', async (url) => {
    const profile = folder('firefox');
    // Without these, the first page is one about the browser, and it calls its maker.
    const preferences = {
      'browser.aboutwelcome.enabled': false,
      'browser.shell.checkDefaultBrowser': false,
      'datareporting.policy.dataSubmissionEnabled': false,
      'app.normandy.enabled': false,
      'network.captive-portal-service.enabled': false,
      'network.connectivity-service.enabled': false,
      'services.settings.server': 'data:,',
      'termsofuse.bypassNotification': true,
    };
    const lines = Object.entries(preferences).map(
      ([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`,
    );
    writeFileSync(join(profile, 'user.js'), lines.join(''));
    const binary = process.env.FIREFOX_BIN ?? '/usr/bin/firefox-esr';
    const args = ['--headless', '--no-remote', '--profile', profile, url];
    const env = { PATH: process.env.PATH, HOME: profile, MOZ_DISABLE_CONTENT_SANDBOX: '1' };
    const browser = child(binary, args, { env, stdio: 'ignore' });
    const exited = once(browser, 'exit');
    return async () => {
      browser.kill('SIGTERM');
      await within(exited, 'Firefox exits');
    };
  });
});
