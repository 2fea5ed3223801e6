// The curl command: health checks, kept connections, and the features of HTTP that scripts and load
// balancers use.

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

/** Runs curl; returns its output, its log and its exit code. */
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

test('the health check succeeds', async () => {
  const { stdout, stderr } = await curl([`${server.url}/up`, ...STATUS]);
  assert.equal(stdout, '{"health":"OK"}\n200 1.1 1\n');
  assert.match(stderr, /^< content-length: 15\r?$/im);
  assert.match(stderr, /^< content-type: application\/json/im);
});

test('the health check answers HEAD without a body and keeps the connection', async () => {
  const up = `${server.url}/up`;
  const { stdout, stderr } = await curl(['--head', ...STATUS, up, '--next', ...STATUS, up]);
  assert.match(stdout, /^HTTP\/1\.1 200 /);
  assert.match(stdout, /^content-length: 15\r?$/im);
  assert.match(stdout, /\n200 1\.1 1\n\{"health":"OK"\}\n200 1\.1 0\n$/);
  assert.match(stderr, /re-using existing connection/i);
});

test('two requests use one connection', async () => {
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

test('an event with a chunked body is published', async () => {
  const channel = await subscribed(await connected(server), 'curl');
  const body = event('chunk '.repeat(20_000));
  const chunked = ['--header', 'Transfer-Encoding: chunked'];
  const { stdout, stderr } = await curl([...chunked, ...JSON_BODY, signed(body), ...STATUS], body);
  assert.match(stderr, /^> transfer-encoding: chunked\r?$/im);
  assert.equal(stdout, '{}\n200 1.1 1\n');
  assert.equal((await channel.inbox.event('event')).data, 'chunk '.repeat(20_000));
});

test('a client that expects 100-continue receives it, and its event is published', async () => {
  const channel = await subscribed(await connected(server), 'curl');
  const body = event('continue '.repeat(1_000));
  const expect = ['--header', 'Expect: 100-continue', '--expect100-timeout', '60'];
  const { stdout, stderr } = await curl([...expect, ...JSON_BODY, signed(body), ...STATUS], body);
  assert.match(stderr, /^< HTTP\/1\.1 100 Continue\r?$/im);
  assert.equal(stdout, '{}\n200 1.1 1\n');
  assert.equal((await channel.inbox.event('event')).data, 'continue '.repeat(1_000));
});

test('a client that expects 100-continue for too large a body is rejected', async () => {
  const body = event('x'.repeat(8 << 20));
  const expect = ['--header', 'Expect: 100-continue', '--expect100-timeout', '60'];
  const { stdout, stderr } = await curl([...expect, ...JSON_BODY, signed(body), ...STATUS], body);
  assert.doesNotMatch(stderr, /100 Continue/i);
  assert.match(stdout, /too large/i);
  assert.match(stdout, /\n413 1\.1 1\n$/);
});

test('HTTP/1.0 is answered, and the connection closes', async () => {
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

test('an unsigned request is rejected with 401 and a reason', async () => {
  const address = `${server.url}/apps/${server.app.app_id}/events`;
  const { stdout, stderr } = await curl([...JSON_BODY, address, ...STATUS], event('unsigned'));
  assert.match(stdout, /[a-z]+.*\n401 1\.1 1\n$/is);
  assert.match(stderr, /^< content-length: [1-9]/im);
});

test('an unknown path and a wrong method are rejected', async () => {
  const nothing = await curl([`${server.url}/nothing`, ...STATUS]);
  assert.match(nothing.stdout, /\n404 1\.1 1\n$/);
  const put = await curl(['--request', 'PUT', `${server.url}/up`, ...STATUS]);
  assert.match(put.stdout, /\n405 1\.1 1\n$/);
  assert.match(put.stderr, /^< allow: .*GET/im);
});

test('a plain request to the WebSocket path is rejected, and the server stays up', async () => {
  const address = `${server.url}/app/${server.app.key}`;
  const { stdout } = await curl([address, ...STATUS]);
  assert.match(stdout, /\n4\d\d 1\.1 1\n$/);
  assert.equal((await curl([`${server.url}/up`])).stdout, '{"health":"OK"}');
});
