// The Live view of the console in a real browser, and names that try to script the page.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, afterEach, before, test } from 'node:test';
import { closePages, line, openLive, show, startBrowser, startConsole, stopAll } from './console.mjs';
import { barrier, connected, http, raw, rawConnected, subscribed } from './support.mjs';

/** The marks that a script of a hostile name would leave. */
const HOSTILE = [
  '<img src=x onerror="window.hacked=1">',
  '<script>window.hacked=1</script>',
  '"><svg onload=window.hacked=1>',
  "javascript:window.hacked=1//'",
  '\u202Etxt.exe\u0000{{7*7}}',
];

let server;
let api;

before(async () => {
  await startBrowser();
  server = await startConsole();
  api = http(server);
});
afterEach(closePages);
after(stopAll);

/** `auth` for a text. The official library rejects hostile names, so it is signed here. */
function sign(text) {
  const { key, secret } = server.app;
  return `${key}:${createHmac('sha256', secret).update(text).digest('hex')}`;
}

test('live shows each kind of line with its details', async () => {
  const page = await openLive(server);
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
  const page = await openLive(server);
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
  const page = await openLive(server);
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
  const page = await openLive(server);
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

test('names that strangers choose do not script the page', async () => {
  const page = await openLive(server);
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

test('a flood of lines leaves the page usable', async () => {
  const page = await openLive(server);
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

