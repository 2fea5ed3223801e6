// The page of the console in a browser, for the tests of its views.

import { execFileSync } from 'node:child_process';
import { chromium } from 'playwright-core';
import { binary, DEADLINE, endClients, startServer } from './support.mjs';

const CONSOLE = { REVERB_SERVER_CONSOLE: '0', REVERB_CONSOLE_WRITE: 'true' };
export const DESKTOP = { viewport: { width: 1280, height: 800 } };
export const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };

let browser;
const contexts = new Set();
const servers = new Set();

/** Starts the browser. */
export async function startBrowser() {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM_BIN ?? '/usr/bin/chromium',
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'],
  });
}

/** Closes what a test has opened. */
export async function closePages() {
  await Promise.all([...contexts].map((context) => context.close()));
  contexts.clear();
  endClients();
}

/** Stops the browser and all servers. */
export async function stopAll() {
  await browser?.close();
  await Promise.all([...servers].map((started) => started.stop()));
}

/** Stops one of the servers. */
export async function stop(started) {
  servers.delete(started);
  await started.stop();
}

/** A server with a console: `console.url` and `console.token` are what `reverb console` prints. */
export async function startConsole(env = {}) {
  const started = await startServer({ env: { ...CONSOLE, ...env } });
  servers.add(started);
  started.console = printed(started);
  return started;
}

export function printed({ port, cwd }) {
  const args = ['console', '--host', '127.0.0.1', '--port', String(port)];
  const [url, token] = execFileSync(binary(), args, { cwd, encoding: 'utf8' }).split('\n');
  return { url, token: token.replace('token: ', '') };
}

/** The page in a browser of its own. What it logs as an error is in `errors`. */
export async function open(at, options = DESKTOP) {
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

export async function logIn(page, at) {
  await page.getByLabel('Token').fill(at.console.token);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  return page;
}

export async function show(page, view) {
  await page.getByRole('link', { name: view, exact: true }).click();
  await page.getByRole('heading', { name: view, level: 1 }).waitFor();
}

/** The page at Live, once its feed is open. */
export async function openLive(at, options) {
  const page = await logIn(await open(at, options), at);
  await show(page, 'Live');
  await page.locator('#live-state', { hasText: 'lines a second' }).waitFor();
  return page;
}

/** A line with all of these texts. */
export const line = (page, ...texts) =>
  texts.reduce((rows, hasText) => rows.filter({ hasText }), page.locator('.row'));

export const plotted = (page, title) =>
  page.locator('figure').filter({ hasText: title }).locator('figcaption b');
