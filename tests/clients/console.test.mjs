// The page of the console in a real browser, with real clients connected: the session, and each view
// but Live, which `console-live.test.mjs` has.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import {
  closePages,
  line,
  logIn,
  open,
  openLive,
  PHONE,
  plotted,
  printed,
  show,
  startBrowser,
  startConsole,
  stop,
  stopAll,
} from './console.mjs';
import { barrier, connected, DEADLINE, fixedPort, http, rawConnected, reload, subscribed } from './support.mjs';

let server;
let api;

before(async () => {
  await startBrowser();
  server = await startConsole();
  api = http(server);
});
afterEach(closePages);
after(stopAll);

test('a wrong token is rejected, and the right one opens the page', async () => {
  const page = await open(server);
  await page.getByLabel('Token').fill('wrong');
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('alert').filter({ hasText: 'This is not the token' }).waitFor();
  assert.equal(await page.locator('nav').isVisible(), false);
  const token = async () => {
    await logInOnce(page);
    return page.locator('nav').isVisible();
  };
  const end = Date.now() + DEADLINE;
  while (!(await token())) assert.ok(Date.now() < end);
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
  const page = await logIn(await open(server), server);
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
  const page = await logIn(await open(small), small);
  const one = await connected(small);
  await subscribed(one, 'a');
  one.subscribe('b');
  const row = page.locator('#limits tr', { hasText: 'limits.channels_per_connection' });
  await row.filter({ hasText: '1' }).waitFor();
});

test('channels are searched and sorted, and one shows members, clients and its event', async () => {
  const page = await logIn(await open(server), server);
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
  const page = await logIn(await open(server), server);
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
  const page = await logIn(await open(server), server);
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
  const page = await logIn(await open(server), server);
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
  const page = await logIn(await open(reading), reading);
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

test('the page goes on after a reload of the server', async () => {
  const reloaded = await startConsole();
  const page = await openLive(reloaded);
  const channel = await subscribed(await connected(reloaded), 'kept');
  await line(page, 'subscribed', 'kept').waitFor();
  await reload(reloaded);
  assert.deepEqual(printed(reloaded), reloaded.console);
  // The feed connects again. Lines of the moment between are lost, so the event is repeated.
  const again = http(reloaded);
  const end = Date.now() + DEADLINE;
  const isShown = () => line(page, 'api event', 'kept').first().isVisible();
  do {
    assert.ok(Date.now() < end);
    await barrier(again, channel);
  } while (!(await isShown()));
  await line(page, 'subscribed', 'kept').waitFor();
  await show(page, 'Overview');
  await plotted(page, 'Clients').filter({ hasText: /^1$/ }).waitFor();
  await page.locator('#state', { hasText: 'Connected' }).waitFor();
  assert.equal(await page.getByLabel('Token').isVisible(), false);
});

test('a restart of the server ends the session', async () => {
  const REVERB_SERVER_CONSOLE = String(await fixedPort());
  const one = await startConsole({ REVERB_SERVER_CONSOLE });
  const page = await logIn(await open(one), one);
  await stop(one);
  await page.locator('#state', { hasText: 'Reconnecting' }).waitFor();
  const two = await startConsole({ REVERB_SERVER_CONSOLE });
  assert.equal(two.console.url, one.console.url);
  assert.notEqual(two.console.token, one.console.token);
  await page.getByLabel('Token').waitFor();
  await logIn(page, two);
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
  const page = await logIn(await open(many), many);
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
  const page = await logIn(await open(server, PHONE), server);
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
  const page = await logIn(await open(server), server);
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
