// The curl command: health checks, kept connections, and the corners of HTTP that scripts and load
// balancers come along with.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import {
  child,
  connected,
  DEADLINE,
  endClients,
  http,
  startServer,
  subscribed,
  within,
} from './support.mjs';

let server;
let api;
before(async () => {
  server = await startServer();
  api = http(server);
});
afterEach(endClients);
after(() => server.stop());

/** Runs curl; what it printed, what it told on its way, and how it ended. */
async function curl(args, input) {
  const common = ['--silent', '--show-error', '--verbose', '--max-time', String(DEADLINE / 1000)];
  const started = child('curl', [...common, '--noproxy', '*', ...args]);
  const out = { stdout: '', stderr: '' };
  started.stdout.on('data', (bytes) => (out.stdout += bytes));
  started.stderr.on('data', (bytes) => (out.stderr += bytes));
  started.stdin.on('error', () => {});
  started.stdin.end(input);
  const ended = new Promise((resolve, reject) => {
    started.once('error', reject);
    started.once('close', resolve);
  });
  out.code = await within(ended, 'curl ends', DEADLINE + 5000);
  assert.equal(out.code, 0, out.stderr);
  return out;
}

/** The address of an event request for this body, signed. */
function signed(body) {
  const path = `/apps/${server.app.app_id}/events`;
  return `${server.url}${path}?${api.createSignedQueryString({ method: 'POST', path, body })}`;
}

const JSON_BODY = ['--header', 'Content-Type: application/json', '--data-binary', '@-'];
const STATUS = ['--write-out', '\n%{http_code} %{http_version} %{num_connects}\n'];
const event = (data) => JSON.stringify({ name: 'event', channel: 'curl', data });

test('the health check answers that all is well', async () => {
  const { stdout, stderr } = await curl([`${server.url}/up`, ...STATUS]);
  assert.equal(stdout, '{"health":"OK"}\n200 1.1 1\n');
  assert.match(stderr, /^< content-length: 15\r?$/im);
  assert.match(stderr, /^< content-type: application\/json/im);
});

test('the health check answers HEAD without a body, and the connection can be used again', async () => {
  const up = `${server.url}/up`;
  const { stdout, stderr } = await curl(['--head', ...STATUS, up, '--next', ...STATUS, up]);
  assert.match(stdout, /^HTTP\/1\.1 200 /);
  assert.match(stdout, /^content-length: 15\r?$/im);
  assert.match(stdout, /\n200 1\.1 1\n\{"health":"OK"\}\n200 1\.1 0\n$/);
  assert.match(stderr, /re-using existing connection/i);
});

test('two requests go over one connection', async () => {
  const up = `${server.url}/up`;
  const { stdout } = await curl([up, up, ...STATUS]);
  assert.equal(stdout, '{"health":"OK"}\n200 1.1 1\n{"health":"OK"}\n200 1.1 0\n');
});

test('an offer of HTTP/2 is answered with HTTP/1.1', async () => {
  const { stdout, stderr } = await curl(['--http2', `${server.url}/up`, ...STATUS]);
  assert.match(stderr, /^> upgrade: h2c\r?$/im);
  assert.equal(stdout, '{"health":"OK"}\n200 1.1 1\n');
});

test('an event is published although the request offers HTTP/2', async () => {
  const channel = await subscribed(await connected(server), 'curl');
  const body = event('h2c');
  const { stdout } = await curl(['--http2', ...JSON_BODY, signed(body), ...STATUS], body);
  assert.equal(stdout, '{}\n200 1.1 1\n');
  assert.equal((await channel.inbox.event('event')).data, 'h2c');
});

test('a signed event is published', async () => {
  const channel = await subscribed(await connected(server), 'curl');
  const body = event('signed');
  const { stdout } = await curl([...JSON_BODY, signed(body), ...STATUS], body);
  assert.equal(stdout, '{}\n200 1.1 1\n');
  assert.equal((await channel.inbox.event('event')).data, 'signed');
});

test('an event is published that comes in chunks', async () => {
  const channel = await subscribed(await connected(server), 'curl');
  const body = event('chunk '.repeat(20_000));
  const chunked = ['--header', 'Transfer-Encoding: chunked'];
  const { stdout, stderr } = await curl([...chunked, ...JSON_BODY, signed(body), ...STATUS], body);
  assert.match(stderr, /^> transfer-encoding: chunked\r?$/im);
  assert.equal(stdout, '{}\n200 1.1 1\n');
  assert.equal((await channel.inbox.event('event')).data, 'chunk '.repeat(20_000));
});

test('a client that asks whether to go on is told so, and then its event is published', async () => {
  const channel = await subscribed(await connected(server), 'curl');
  const body = event('continue '.repeat(1_000));
  const expect = ['--header', 'Expect: 100-continue', '--expect100-timeout', '60'];
  const { stdout, stderr } = await curl([...expect, ...JSON_BODY, signed(body), ...STATUS], body);
  assert.match(stderr, /^< HTTP\/1\.1 100 Continue\r?$/im);
  assert.equal(stdout, '{}\n200 1.1 1\n');
  assert.equal((await channel.inbox.event('event')).data, 'continue '.repeat(1_000));
});

test('a client that asks whether to go on with too much is refused before it does', async () => {
  const body = event('x'.repeat(8 << 20));
  const expect = ['--header', 'Expect: 100-continue', '--expect100-timeout', '60'];
  const { stdout, stderr } = await curl([...expect, ...JSON_BODY, signed(body), ...STATUS], body);
  assert.doesNotMatch(stderr, /100 Continue/i);
  assert.match(stdout, /too large/i);
  assert.match(stdout, /\n413 1\.1 1\n$/);
});

test('HTTP/1.0 is answered, and the connection ends', async () => {
  const up = `${server.url}/up`;
  const { stdout } = await curl(['--http1.0', up, up, ...STATUS]);
  const answers = stdout.trim().split('\n');
  assert.equal(answers[0], '{"health":"OK"}');
  assert.match(answers[1], /^200 1\.[01] 1$/);
  assert.match(answers[3], /^200 1\.[01] 1$/);
});

test('an event is published over HTTP/1.0', async () => {
  const channel = await subscribed(await connected(server), 'curl');
  const body = event('old');
  const { stdout } = await curl(['--http1.0', ...JSON_BODY, signed(body), ...STATUS], body);
  assert.match(stdout, /^\{\}\n200 /);
  assert.equal((await channel.inbox.event('event')).data, 'old');
});

test('an unsigned request is refused with 401 and a sentence', async () => {
  const address = `${server.url}/apps/${server.app.app_id}/events`;
  const { stdout, stderr } = await curl([...JSON_BODY, address, ...STATUS], event('unsigned'));
  assert.match(stdout, /[a-z]+.*\n401 1\.1 1\n$/is);
  assert.match(stderr, /^< content-length: [1-9]/im);
});

test('a path that does not exist and a method that does not fit are refused', async () => {
  const nothing = await curl([`${server.url}/nothing`, ...STATUS]);
  assert.match(nothing.stdout, /\n404 1\.1 1\n$/);
  const put = await curl(['--request', 'PUT', `${server.url}/up`, ...STATUS]);
  assert.match(put.stdout, /\n405 1\.1 1\n$/);
  assert.match(put.stderr, /^< allow: .*GET/im);
});

test('a page request for the WebSocket address is refused without harm', async () => {
  const address = `${server.url}/app/${server.app.key}`;
  const { stdout } = await curl([address, ...STATUS]);
  assert.match(stdout, /\n4\d\d 1\.1 1\n$/);
  assert.equal((await curl([`${server.url}/up`])).stdout, '{"health":"OK"}');
});
