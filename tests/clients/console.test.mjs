// The page of the console in a real browser, with real clients connected.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { after, afterEach, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import {
  barrier,
  binary,
  connected,
  DEADLINE,
  endClients,
  fixedPort,
  http,
  raw,
  rawConnected,
  reload,
  startServer,
  subscribed,
} from './support.mjs';

const CONSOLE = { REVERB_SERVER_CONSOLE: '0', REVERB_CONSOLE_WRITE: 'true' };
const DESKTOP = { viewport: { width: 1280, height: 800 } };
const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };
/** The marks that a script of a hostile name would leave. */
const HOSTILE = [
  '<img src=x onerror="window.hacked=1">',
  '<script>window.hacked=1</script>',
  '"><svg onload=window.hacked=1>',
  "javascript:window.hacked=1//'",
  '\u202Etxt.exe\u0000{{7*7}}',
];

let browser;
let server;
let api;
const contexts = new Set();
const servers = new Set();

before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM_BIN ?? '/usr/bin/chromium',
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'],
  });
  server = await startConsole();
  api = http(server);
});
afterEach(async () => {
  await Promise.all([...contexts].map((context) => context.close()));
  contexts.clear();
  endClients();
});
after(async () => {
  await browser?.close();
  await Promise.all([...servers].map((started) => started.stop()));
});

/** A server with a console: `console.url` and `console.token` are what `reverb console` prints. */
async function startConsole(env = {}) {
  const started = await startServer({ env: { ...CONSOLE, ...env } });
  servers.add(started);
  started.console = printed(started);
  return started;
}

function printed({ port, cwd }) {
  const args = ['console', '--host', '127.0.0.1', '--port', String(port)];
  const [url, token] = execFileSync(binary(), args, { cwd, encoding: 'utf8' }).split('\n');
  return { url, token: token.replace('token: ', '') };
}

/** The page in a browser of its own. What it logs as an error is in `errors`. */
async function open(options = DESKTOP, at = server) {
  const context = await browser.newContext(options);
  contexts.add(context);
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE);
  page.errors = [];
  page.on('pageerror', (error) => page.errors.push(String(error)));
  page.on('console', (line) => {
    // The browser logs each 401: before the login there is one.
    if (line.type() === 'error' && !line.text().includes('401')) page.errors.push(line.text());
  });
  await page.goto(at.console.url);
  await page.getByLabel('Token').waitFor();
  return page;
}

async function logIn(page, at = server) {
  await page.getByLabel('Token').fill(at.console.token);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  return page;
}

async function show(page, view) {
  await page.getByRole('link', { name: view, exact: true }).click();
  await page.getByRole('heading', { name: view, level: 1 }).waitFor();
}

/** The page at Live, once its feed is open. */
async function openLive(options, at) {
  const page = await logIn(await open(options, at), at);
  await show(page, 'Live');
  await page.locator('#live-state', { hasText: 'lines a second' }).waitFor();
  return page;
}

/** A line with all of these texts. */
const line = (page, ...texts) =>
  texts.reduce((rows, hasText) => rows.filter({ hasText }), page.locator('.row'));

/** `auth` for a text. The official library rejects hostile names, so it is signed here. */
function sign(text) {
  const { key, secret } = server.app;
  return `${key}:${createHmac('sha256', secret).update(text).digest('hex')}`;
}

const plotted = (page, title) =>
  page.locator('figure').filter({ hasText: title }).locator('figcaption b');

test('a wrong token is rejected, and the right one opens the page', async () => {
  const page = await open();
  await page.getByLabel('Token').fill('wrong');
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('alert').filter({ hasText: 'This is not the token' }).waitFor();
  assert.equal(await page.locator('nav').isVisible(), false);
  const token = async () => {
    await logInOnce(page);
    return page.locator('nav').isVisible();
  };
  while (!(await token()));
  const [cookie] = await page.context().cookies();
  assert.equal(cookie.httpOnly, true);
  assert.equal(cookie.sameSite, 'Strict');
  assert.doesNotMatch(cookie.value, new RegExp(server.console.token));
  assert.doesNotMatch(page.url(), new RegExp(server.console.token));
  await page.getByRole('button', { name: 'Log out' }).click();
  await page.getByLabel('Token').waitFor();
  await page.reload();
  await page.getByLabel('Token').waitFor();
});

/** One attempt: after a wrong token the server compares the next one after a pause. */
async function logInOnce(page) {
  await page.getByLabel('Token').fill(server.console.token);
  const answer = page.waitForResponse((response) => response.url().endsWith('/api/login'));
  await page.getByRole('button', { name: 'Log in' }).click();
  if ((await answer).status() === 200) await page.locator('nav').waitFor();
}

test('the overview shows clients, channels and apps', async () => {
  const page = await logIn(await open());
  const clients = [await connected(server), await connected(server)];
  for (const one of clients) await subscribed(one, 'overview');
  await plotted(page, 'Clients').filter({ hasText: /^2$/ }).waitFor();
  await plotted(page, 'Channels').filter({ hasText: /^1$/ }).waitFor();
  await plotted(page, 'Memory').filter({ hasText: 'MB' }).waitFor();
  const app = page.locator('#apps tbody tr');
  await app.filter({ hasText: server.app.app_id }).waitFor();
  assert.equal(await page.locator('#plots canvas').count(), 9);
  await page.locator('#nodes', { hasText: 'A single node' }).waitFor();
  await page.locator('#state', { hasText: 'Connected' }).waitFor();
  assert.deepEqual(page.errors, []);
});

test('a limit that was exceeded is in the overview', async () => {
  const small = await startConsole({ REVERB_LIMIT_CHANNELS_PER_CONNECTION: '1' });
  const page = await logIn(await open(DESKTOP, small), small);
  const one = await connected(small);
  await subscribed(one, 'a');
  one.subscribe('b');
  const row = page.locator('#limits tr', { hasText: 'limits.channels_per_connection' });
  await row.filter({ hasText: '1' }).waitFor();
});

test('live shows each kind of line with its details', async () => {
  const page = await openLive();
  const [one, two] = [await connected(server), await connected(server)];
  const channels = [await subscribed(one, 'private-live'), await subscribed(two, 'private-live')];
  await line(page, 'connected').first().waitFor();
  await line(page, 'subscribed', 'private-live').first().waitFor();
  await line(page, 'occupied', 'private-live').waitFor();
  await api.trigger('private-live', 'App\\Events\\Shipped', { order: 7 });
  channels[0].trigger('client-typing', { on: true });
  await line(page, 'client event', 'client-typing').waitFor();
  await line(page, 'api event', 'App\\Events\\Shipped').click();
  const details = page.getByRole('region', { name: 'Details of the line' });
  await details.getByText('"order": 7').waitFor();
  await details.getByText('private-live').first().waitFor();
  // To choose a line pauses.
  assert.equal(await page.locator('#pause').getAttribute('aria-pressed'), 'true');
  await page.getByRole('button', { name: 'Pause' }).click();

  const forger = await rawConnected(server);
  const auth = `${server.app.key}:${'0'.repeat(64)}`;
  forger.sendEvent('pusher:subscribe', { channel: 'private-live', auth });
  await line(page, 'refused', 'private-live').click();
  await details.getByText(`${forger.id}:private-live`).waitFor();
  assert.deepEqual(page.errors, []);
});

test('filters choose lines at the server, the search in the page', async () => {
  const page = await openLive();
  await page.getByLabel('API events').check();
  await page.getByRole('textbox', { name: 'Channel' }).fill('wanted-*');
  await page.waitForResponse((it) => it.url().includes('channels=wanted-') && it.ok());
  const one = await connected(server);
  const channels = [await subscribed(one, 'wanted-1'), await subscribed(one, 'other')];
  await barrier(api, ...channels);
  await line(page, 'api event', 'wanted-1').waitFor();
  assert.equal(await page.locator('.row').count(), 1);
  await api.trigger('wanted-1', 'second', {});
  await line(page, 'second').waitFor();
  await page.getByRole('searchbox', { name: 'Search' }).fill('second');
  await page.locator('#live-state', { hasText: '1 shown' }).waitFor();
  assert.equal(await page.locator('.row').count(), 1);
});

test('a pause holds lines back, and its end shows them', async () => {
  const page = await openLive();
  const channel = await subscribed(await connected(server), 'paused');
  await line(page, 'subscribed', 'paused').waitFor();
  await page.getByRole('button', { name: 'Pause' }).click();
  const before = await page.locator('.row').count();
  await barrier(api, channel);
  await page.locator('#live-state', { hasText: 'paused, 1 new' }).waitFor();
  assert.equal(await page.locator('.row').count(), before);
  await page.getByRole('button', { name: 'Pause' }).click();
  await line(page, 'api event', 'paused').waitFor();
});

test('the keyboard moves through the lines', async () => {
  const page = await openLive();
  const channel = await subscribed(await connected(server), 'keys');
  for (const name of ['first', 'second', 'third']) await api.trigger('keys', name, {});
  await barrier(api, channel);
  await line(page, 'third').waitFor();
  await page.getByRole('listbox').focus();
  for (const wanted of ['barrier', 'third', 'second']) {
    await page.keyboard.press('ArrowDown');
    await page.locator('.row[aria-selected=true]', { hasText: wanted }).waitFor();
  }
  const active = await page.getByRole('listbox').getAttribute('aria-activedescendant');
  assert.match(await page.locator(`#${active}`).textContent(), /second/);
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'details');
});

test('channels are searched and sorted, and one shows members, clients and its event', async () => {
  const page = await logIn(await open());
  const names = ['ada', 'bob'];
  for (const user_id of names) {
    const one = await connected(server, { member: { user_id, user_info: {} } });
    await subscribed(one, 'presence-desk');
    await subscribed(one, `cache-${user_id}`);
  }
  await api.trigger('cache-ada', 'price', { cents: 5 });
  await show(page, 'Channels');
  const rows = page.locator('#channels tbody tr');
  await rows.first().filter({ hasText: 'presence-desk' }).waitFor();
  assert.equal(await rows.count(), 3);
  await page.getByRole('button', { name: 'Channel', exact: true }).click();
  await rows.first().filter({ hasText: 'cache-ada' }).waitFor();
  await page.getByRole('searchbox').fill('DESK');
  await page.locator('#channels-state', { hasText: '1 found, 3 in all' }).waitFor();
  await page.getByRole('button', { name: 'presence-desk' }).click();
  const channel = page.getByRole('region', { name: 'Channel' });
  for (const user of names) {
    await channel.getByRole('cell', { name: user, exact: true }).first().waitFor();
  }
  await channel.getByRole('cell', { name: '127.0.0.1' }).first().waitFor();
  await page.getByRole('searchbox').fill('');
  await page.getByRole('button', { name: 'cache-ada' }).click();
  await channel.getByText('Cached event').waitFor();
  await channel.getByText('price').waitFor();
  assert.deepEqual(page.errors, []);
});

test('a client is disconnected after a confirmation', async () => {
  const page = await logIn(await open());
  const one = await connected(server);
  await subscribed(one, 'kicked');
  await show(page, 'Channels');
  await page.getByRole('button', { name: 'kicked' }).click();
  const disconnect = page.getByRole('button', { name: /^Disconnect \d/ });
  await disconnect.click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  await disconnect.click();
  await page.getByRole('dialog').getByRole('button', { name: 'Disconnect' }).click();
  await one.states.event('disconnected');
  await page.getByText('This channel has no subscriber.').waitFor();
});

test('an event is published, and is in the history', async () => {
  const page = await logIn(await open());
  const channel = await subscribed(await connected(server), 'published');
  await show(page, 'Publish');
  const form = page.locator('#publish');
  await form.getByLabel('Channels').fill('published');
  await form.getByLabel('Event').fill('made-by-hand');
  await form.getByLabel('Data').fill('{"n": 1}');
  await form.getByRole('button', { name: 'Publish', exact: true }).click();
  assert.deepEqual((await channel.inbox.event('made-by-hand')).data, { n: 1 });
  await page.getByText('published: 1 subscriber').waitFor();
  await form.getByLabel('Event').fill('');
  await form.getByRole('button', { name: 'Use' }).click();
  assert.equal(await form.getByLabel('Event').inputValue(), 'made-by-hand');
  await form.getByLabel('Channels').fill('x'.repeat(300));
  await form.getByRole('button', { name: 'Publish', exact: true }).click();
  await page.getByText('limits.channel_name_length').waitFor();
});

test('the check of a signature names the wrong part', async () => {
  const page = await logIn(await open());
  await show(page, 'Publish');
  const form = page.locator('#signature');
  const check = async (data, socket = '1234.5678') => {
    await form.getByLabel('Message or auth').fill(JSON.stringify({ event: 'pusher:subscribe', data }));
    await form.getByLabel('Socket id').fill(socket);
    await form.getByRole('button', { name: 'Check' }).click();
  };
  const wrong = (part, text) =>
    page.locator('#verdict tr').filter({ hasText: part }).filter({ hasText: 'wrong' }).filter({ hasText: text }).waitFor();
  const { auth } = api.authorizeChannel('1234.5678', 'private-a');
  await check({ auth, channel: 'private-a' });
  await page.getByText('The signature is right.').waitFor();
  await check({ auth, channel: 'private-b' });
  await page.getByText('The signature is wrong.').waitFor();
  await wrong('signature', 'another secret, or signs another text');
  await page.locator('#verdict pre', { hasText: '1234.5678:private-b' }).waitFor();
  await check({ auth: auth.replace(server.app.key, 'other'), channel: 'private-a' });
  await wrong('key', 'No app of this server has this key');
  await check({ auth: auth.toUpperCase().replace(server.app.key.toUpperCase(), server.app.key), channel: 'private-a' });
  await wrong('signature', 'lower case');
  await check({ auth, channel: 'presence-a', channel_data: '{"user_id":"1"}' });
  await wrong('signature', 'with private-');
  const text = await page.content();
  assert.equal(text.includes(server.app.secret), false);
});

test('a console without the right to write only reads', async () => {
  const reading = await startConsole({ REVERB_CONSOLE_WRITE: 'false' });
  const page = await logIn(await open(DESKTOP, reading), reading);
  await subscribed(await connected(reading), 'read');
  await show(page, 'Publish');
  await page.getByText('This console only reads').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Publish', exact: true }).isDisabled(), true);
  for (const path of ['publish', 'kick']) {
    const status = await page.evaluate(async (path) => {
      const body = JSON.stringify({ name: 'x', channel: 'read', data: '', socket_id: '1.1' });
      return (await fetch(`/api/${path}?app=${known.overview.apps[0].id}`, { method: 'POST', body })).status;
    }, path);
    assert.equal(status, 403);
  }
});

test('names that strangers choose do not script the page', async () => {
  const page = await openLive(DESKTOP);
  for (const [n, name] of HOSTILE.entries()) {
    const one = await rawConnected(server);
    one.sendEvent('pusher:subscribe', { channel: name });
    const [channel, channel_data] = [`presence-${n}${name}`, JSON.stringify({ user_id: name })];
    const auth = sign(`${one.id}:${channel}:${channel_data}`);
    one.sendEvent('pusher:subscribe', { channel, channel_data, auth });
    await one.inbox.event('pusher_internal:subscription_succeeded');
    await one.inbox.event('pusher_internal:subscription_succeeded');
    await api.post({ path: '/events', body: { channel: name, name, data: name } });
    raw(server, { key: encodeURIComponent(name), origin: name.replace(/[^\x20-\x7e]/g, '') });
  }
  await line(page, 'api event', HOSTILE[1]).first().waitFor();
  for (const name of HOSTILE.slice(0, 3)) {
    await page.getByRole('searchbox', { name: 'Search' }).fill(name.slice(1, 5));
    await line(page, 'api event', name).first().click();
    await page.locator('#details dd', { hasText: name }).first().waitFor();
  }
  await show(page, 'Channels');
  for (const name of HOSTILE.slice(0, 4)) {
    await page.getByRole('button', { name, exact: true }).click();
    await page.locator('#channel h2', { hasText: name }).waitFor();
  }
  await page.locator('#channels button', { hasText: 'presence-0' }).click();
  await page.getByRole('cell', { name: HOSTILE[0], exact: true }).first().waitFor();
  await show(page, 'Publish');
  const form = page.locator('#publish');
  await form.getByLabel('Channels').fill(HOSTILE[0]);
  await form.getByLabel('Event').fill(HOSTILE[1]);
  await form.getByRole('button', { name: 'Publish', exact: true }).click();
  await page.locator('#history li', { hasText: HOSTILE[1] }).waitFor();
  await page.locator('#signature').getByLabel('Message or auth').fill(HOSTILE[0]);
  await page.locator('#signature').getByLabel('Socket id').fill(HOSTILE[1]);
  await page.locator('#signature').getByRole('button').click();
  await page.locator('#verdict pre', { hasText: HOSTILE[1] }).waitFor();
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.equal(await page.locator('main img, main script, main figure svg').count(), 0);
  assert.deepEqual(page.errors, []);
  // The policy is a second line: a script in the page is not executed either.
  await page.evaluate(() => {
    const script = document.createElement('script');
    script.textContent = 'window.hacked = 1';
    document.body.append(script);
  });
  assert.equal(await page.evaluate(() => window.hacked), undefined);
});

test('the page goes on after a reload of the server', async () => {
  const reloaded = await startConsole();
  const page = await openLive(DESKTOP, reloaded);
  const channel = await subscribed(await connected(reloaded), 'kept');
  await line(page, 'subscribed', 'kept').waitFor();
  await reload(reloaded);
  assert.deepEqual(printed(reloaded), reloaded.console);
  // The feed connects again. Lines of the moment between are lost, so the event is repeated.
  const again = http(reloaded);
  for (;;) {
    await barrier(again, channel);
    if (await line(page, 'api event', 'kept').first().isVisible()) break;
  }
  await line(page, 'subscribed', 'kept').waitFor();
  await show(page, 'Overview');
  await plotted(page, 'Clients').filter({ hasText: /^1$/ }).waitFor();
  await page.locator('#state', { hasText: 'Connected' }).waitFor();
  assert.equal(await page.getByLabel('Token').isVisible(), false);
});

test('a restart of the server ends the session', async () => {
  const REVERB_SERVER_CONSOLE = String(await fixedPort());
  const one = await startConsole({ REVERB_SERVER_CONSOLE });
  const page = await logIn(await open(DESKTOP, one), one);
  await one.stop();
  servers.delete(one);
  await page.locator('#state', { hasText: 'Reconnecting' }).waitFor();
  const two = await startConsole({ REVERB_SERVER_CONSOLE });
  assert.equal(two.console.url, one.console.url);
  assert.notEqual(two.console.token, one.console.token);
  await page.getByLabel('Token').waitFor();
  await logIn(page, two);
});

test('a flood of lines leaves the page usable', async () => {
  const page = await openLive();
  const flood = await rawConnected(server);
  let isFlooding = true;
  // Each pair of messages makes four lines.
  const pour = () => {
    if (!isFlooding) return;
    for (let n = 0; n < 500; n++) {
      flood.sendEvent('pusher:subscribe', { channel: `flood-${n}` });
      flood.sendEvent('pusher:unsubscribe', { channel: `flood-${n}` });
    }
    flood.inbox.all.length = 0;
    setTimeout(pour, 20);
  };
  pour();
  await page.waitForFunction(() => live.total + live.dropped > 100_000, null, { timeout: 60_000 });
  // Clicks work while lines arrive, and rows are few.
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.locator('#live-state', { hasText: 'paused' }).waitFor();
  assert.ok((await page.locator('.row').count()) < 100);
  const kept = await page.evaluate(() => live.lines.length + live.held.length);
  assert.ok(kept <= 8_000, `${kept} lines are kept`);
  await show(page, 'Overview');
  await page.locator('#state', { hasText: 'Connected' }).waitFor();
  isFlooding = false;
  assert.deepEqual(page.errors, []);
});

test('100,000 channels stall neither the server nor the page', async () => {
  const many = await startConsole({ REVERB_LIMIT_CHANNELS_PER_CONNECTION: '20000' });
  for (let at = 0; at < 5; at++) {
    const one = await rawConnected(many);
    for (let n = 0; n < 20_000; n++) {
      one.sendEvent('pusher:subscribe', { channel: `room-${at * 20_000 + n}` });
      if (n % 2_000 === 1_999) {
        one.sendEvent('pusher:ping', {});
        await one.inbox.event('pusher:pong');
      }
    }
  }
  const two = await rawConnected(many);
  two.sendEvent('pusher:subscribe', { channel: 'room-77777' });
  const page = await logIn(await open(DESKTOP, many), many);
  await show(page, 'Channels');
  await page.locator('#channels-state', { hasText: '1 to 100 of 100,000 found' }).waitFor();
  await page.locator('#channels tbody tr').first().filter({ hasText: 'room-77777' }).waitFor();
  assert.equal(await page.locator('#channels tbody tr').count(), 100);
  await page.getByRole('button', { name: 'Next' }).click();
  await page.locator('#channels-state', { hasText: '101 to 200 of' }).waitFor();
  await page.getByRole('button', { name: 'Previous' }).click();
  await page.getByRole('searchbox').fill('99999');
  await page.locator('#channels-state', { hasText: '1 to 1 of 1 found, 100,000 in all' }).waitFor();
  await page.getByRole('button', { name: 'room-99999' }).click();
  await page.getByText('public, 1 subscriber').waitFor();
});

test('the page is readable on a phone', async () => {
  const page = await logIn(await open(PHONE));
  await subscribed(await connected(server, { member: { user_id: 'phone' } }), 'presence-phone');
  for (const view of ['Overview', 'Live', 'Channels', 'Publish']) {
    await show(page, view);
    const wide = () => document.documentElement.scrollWidth > document.documentElement.clientWidth;
    assert.equal(await page.evaluate(wide), false, `${view} scrolls sideways`);
  }
  await show(page, 'Live');
  await api.trigger('presence-phone', 'rings', {});
  await line(page, 'rings').first().tap();
  await page.getByRole('region', { name: 'Details of the line' }).getByText('rings').waitFor();
  // Rows are as high as their style says: none covers another.
  const boxes = await page.locator('.row').evaluateAll((rows) => rows.map((row) => row.getBoundingClientRect().toJSON()));
  boxes.sort((a, b) => a.top - b.top);
  for (let n = 1; n < boxes.length; n++) assert.ok(boxes[n].top >= boxes[n - 1].bottom - 1);
});

test('each control has a name, and views are landmarks', async () => {
  const page = await logIn(await open());
  const unnamed = await page.evaluate(() =>
    [...document.querySelectorAll('input, textarea, select, button')]
      .filter((it) => !(it.labels?.length || it.textContent.trim() || it.ariaLabel))
      .map((it) => it.outerHTML));
  assert.deepEqual(unnamed, []);
  await page.getByRole('main').waitFor();
  await page.getByRole('navigation', { name: 'Views' }).waitFor();
  await show(page, 'Channels');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'h-channels');
  assert.equal(await page.title(), 'Channels – reverb');
});
