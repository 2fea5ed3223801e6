// The page of the console outside of a test:
//
//   node tests/clients/console-page.mjs picture FILE   the picture of the README, as a PNG file
//   node tests/clients/console-page.mjs time [RUNS]    how long until the page is usable, next to an
//                                                      empty page of another server

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { chromium } from 'playwright-core';
import { binary, connected, http, rawConnected, startServer, subscribed } from './support.mjs';

const [task, argument] = process.argv.slice(2);
const server = await startServer({ env: { REVERB_SERVER_CONSOLE: '0' } });
const args = ['console', '--host', '127.0.0.1', '--port', String(server.port)];
const printed = execFileSync(binary(), args, { cwd: server.cwd, encoding: 'utf8' });
const [, url, token] = /^(\S+)\ntoken: (\S+)/.exec(printed);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM_BIN ?? '/usr/bin/chromium',
  headless: true,
  args: ['--no-sandbox', '--disable-gpu'],
});

const open = async () => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 640 } });
  return context.newPage();
};

async function picture(file) {
  const page = await open();
  await page.goto(`${url}#live`);
  await page.getByLabel('Token').fill(token);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByText('0 lines a second').waitFor();
  const api = http(server);
  const users = ['ada', 'grace', 'edsger', 'barbara'];
  const clients = [];
  for (const user_id of users) clients.push(await connected(server, { member: { user_id } }));
  for (const one of clients) {
    await subscribed(one, 'presence-room.7');
    await subscribed(one, 'private-orders.42');
    await subscribed(one, 'news');
  }
  for (let n = 1; n <= 4; n++) {
    await api.trigger('news', 'App\\Events\\ArticlePublished', { id: n, title: 'A console' });
    await api.trigger('private-orders.42', 'App\\Events\\OrderShipped', { order: { id: 42 + n } });
    clients[n - 1].channel('presence-room.7').trigger('client-typing', { user: users[n - 1] });
  }
  const forger = await rawConnected(server);
  const auth = api.authorizeChannel('1234.5678', 'private-orders.42').auth;
  forger.sendEvent('pusher:subscribe', { channel: 'private-orders.42', auth });
  await page.locator('.row.bad').first().click();
  await page.getByText('paused, 0 new').waitFor();
  await page.screenshot({ path: file });
}

/** Milliseconds from the navigation until an element is in the page and can have the focus. */
async function usable(page, address, selector) {
  await page.goto('about:blank');
  await page.goto(address);
  return page.evaluate((selector) => new Promise((resolve) => {
    const look = () => {
      const found = document.querySelector(selector);
      if (found?.offsetParent) resolve(performance.now());
      else requestAnimationFrame(look);
    };
    look();
  }), selector);
}

async function time(runs) {
  const empty = createServer((_, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.end('<!DOCTYPE html><title>empty</title><input id="token">');
  });
  empty.listen(0, '127.0.0.1');
  await once(empty, 'listening');
  const page = await open();
  const times = { empty: [], console: [] };
  for (let run = 0; run < runs; run++) {
    times.empty.push(await usable(page, `http://127.0.0.1:${empty.address().port}/`, '#token'));
    times.console.push(await usable(page, url, '#token'));
  }
  empty.close();
  const median = (all) => all.sort((a, b) => a - b)[Math.floor(all.length / 2)];
  const [floor, own] = [median(times.empty), median(times.console)];
  console.log(`empty page ${floor.toFixed(0)} ms, console ${own.toFixed(0)} ms, ratio ${(own / floor).toFixed(1)}`);
}

if (task === 'picture' && argument) await picture(argument);
else if (task === 'time') await time(Number(argument ?? 11));
else console.error('usage: console-page.mjs picture FILE | time [RUNS]');
await browser.close();
await server.stop();
process.exit(task === 'time' || (task === 'picture' && argument) ? 0 : 2);
