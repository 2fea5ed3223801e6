// The clients over TLS: pusher-js and the official library in Node, Laravel Echo in a real browser.
// The server has a certificate for its host name as Valet makes it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import tls from 'node:tls';
import { chromium } from 'playwright-core';
import { startSite } from './site.mjs';
import {
  client,
  connected,
  DEADLINE,
  endClients,
  folder,
  http,
  Inbox,
  startServer,
  subscribed,
  within,
} from './support.mjs';

const home = folder('home');
const certificates = join(home, '.config/valet/Certificates');
const file = (name) => join(certificates, name);

function openssl(...args) {
  return execFileSync('openssl', args, { cwd: certificates, stdio: ['ignore', 'pipe', 'ignore'] });
}

/** Makes the authority that all clients trust. */
function makeAuthority() {
  mkdirSync(certificates, { recursive: true });
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const kept = ['-keyout', 'ca.key', '-out', 'ca.pem', '-days', '30', '-subj', '/CN=Valet CA'];
  openssl('req', '-x509', ...curve, ...kept);
  // The clients have no list of authorities; they use that of Node.
  const ca = readFileSync(file('ca.pem'));
  const { createSecureContext } = tls;
  tls.createSecureContext = (options) => {
    const made = createSecureContext(options);
    made.context.addCACert(ca);
    return made;
  };
}

/** Makes a new certificate for `localhost` with the existing key, or with a new one. */
function makeCertificate() {
  const curve = ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'];
  openssl('genpkey', ...curve, '-out', 'new.key');
  openssl('req', '-new', '-key', 'new.key', '-subj', '/CN=localhost', '-out', 'localhost.csr');
  writeFileSync(file('extensions'), 'subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n');
  const signed = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-days', '30', '-extfile', 'extensions'];
  openssl('x509', '-req', '-in', 'localhost.csr', ...signed, '-out', 'new.crt');
  renameSync(file('new.crt'), file('localhost.crt'));
  renameSync(file('new.key'), file('localhost.key'));
}

/** The hash of a certificate's key, in the format of Chromium. */
function fingerprint() {
  const key = openssl('x509', '-in', 'localhost.crt', '-pubkey', '-noout');
  const der = execFileSync('openssl', ['pkey', '-pubin', '-outform', 'der'], { input: key });
  return execFileSync('openssl', ['dgst', '-sha256', '-binary'], { input: der }).toString('base64');
}

const SECURE = { forceTLS: true, wsHost: 'localhost', enabledTransports: ['ws', 'wss'] };
let server;
let api;

before(async () => {
  makeAuthority();
  makeCertificate();
  server = await startServer({ env: { HOME: home, REVERB_HOST: 'localhost' } });
  api = http(server, { useTLS: true, host: 'localhost' });
});
afterEach(endClients);
after(() => server?.stop());

const secure = (options) => ({ ...SECURE, wssPort: server.port, signer: api, ...options });

test('pusher-js over wss receives events that the official library sends over https', async () => {
  const pusher = await connected(server, secure());
  const channel = await subscribed(pusher, 'private-orders');
  const { status } = await api.trigger('private-orders', 'shipped', { id: 7, note: 'né 🚀' });
  assert.equal(status, 200);
  const { data } = await channel.inbox.event('shipped');
  assert.deepEqual(data, { id: 7, note: 'né 🚀' });
});

/** Waits until a client has failed to connect. */
async function keptOut(options) {
  const pusher = client(server, { signer: api, unavailableTimeout: 500, ...options });
  await pusher.states.event('unavailable');
  assert.equal(pusher.connection.socket_id, undefined);
}

test('pusher-js rejects a certificate for another name', async () => {
  await keptOut(secure({ wsHost: '127.0.0.1' }));
});

test('pusher-js without TLS cannot connect', async () => {
  await keptOut({ wsHost: 'localhost' });
});

/** The serial number of the certificate that a new connection gets. */
function shown() {
  const options = { host: 'localhost', port: server.port, path: '/up', agent: false };
  const serial = new Promise((resolve, reject) => {
    const sent = request(options, (response) => {
      resolve(response.socket.getPeerCertificate().serialNumber);
      response.resume();
    });
    sent.once('error', reject).end();
  });
  return within(serial, 'an answer over https');
}

test('a certificate is renewed while a connection stays', async () => {
  const pusher = await connected(server, secure());
  const channel = await subscribed(pusher, 'news');
  const socket = pusher.connection.socket_id;
  const old = await shown();
  makeCertificate();
  server.process.kill('SIGHUP');
  const deadline = Date.now() + DEADLINE;
  while ((await shown()) === old) assert.ok(Date.now() < deadline, 'the new certificate is shown');
  await api.trigger('news', 'after', { n: 1 });
  await channel.inbox.event('after');
  assert.equal(pusher.connection.socket_id, socket);
});

test('Echo connects over wss in a browser and receives events', async () => {
  const site = await startSite({ signer: api, forger: api });
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM_BIN ?? '/usr/bin/chromium',
    headless: true,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-background-networking',
      // The browser trusts only this key, regardless of its issuer.
      `--ignore-certificate-errors-spki-list=${fingerprint()}`,
    ],
  });
  try {
    const page = await browser.newPage();
    const inbox = new Inbox('the page');
    const frames = [];
    page.on('websocket', (socket) => frames.push(socket.url()));
    await page.exposeFunction('report', (event, data) => inbox.push({ event, data }));
    await page.goto(`http://localhost:${site.port}/`);
    await page.evaluate(
      ({ key, port }) => {
        window.echo = new window.Echo.default({
          broadcaster: 'reverb',
          key,
          wsHost: location.hostname,
          wsPort: port,
          wssPort: port,
          forceTLS: true,
          enabledTransports: ['ws', 'wss'],
          auth: { headers: { 'X-User': '1' } },
        });
        const record = (event) => (data) => window.report(event, data ?? null);
        window.echo
          .private('orders')
          .listen('.shipped', record('shipped'))
          .listenForWhisper('typing', record('typing'))
          .subscribed(record('subscribed'));
      },
      { key: server.app.key, port: server.port },
    );
    await inbox.event('subscribed');
    await api.trigger('private-orders', 'shipped', { id: 8 });
    assert.deepEqual((await inbox.event('shipped')).data, { id: 8 });
    const pusher = await connected(server, secure());
    const channel = await subscribed(pusher, 'private-orders');
    await page.evaluate(() => window.echo.private('orders').whisper('typing', { who: 'page' }));
    assert.deepEqual((await channel.inbox.event('client-typing')).data, { who: 'page' });
    assert.ok(frames.length > 0 && frames.every((url) => url.startsWith('wss://')), String(frames));
  } finally {
    await browser.close();
    await site.stop();
  }
});
