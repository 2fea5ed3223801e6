// The base of every client test: the real server as a child process, the real clients, and waiting
// for events. It never sleeps; `DEADLINE` only limits the time of a failure.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import Pusher from 'pusher-js';
import PusherHttp from 'pusher';
import WebSocket from 'ws';

/** The longest time to wait for an event before a test fails. */
export const DEADLINE = 15_000;

/** The default app of a server. */
export const APP = { app_id: '1001', key: 'laravel-key', secret: 'laravel-secret' };

/** The key that official libraries encrypt with; the server never sees it. */
export const MASTER_KEY = Buffer.alloc(32, 'an encryption key').toString('base64');

// Waiting -----------------------------------------------------------------------------------

/** The promise, or an error that names what did not happen in time. */
export function within(promise, what, milliseconds = DEADLINE) {
  let timer;
  const late = new Promise((_, reject) => {
    const fail = () => reject(new Error(`not within ${milliseconds} ms: ${what}`));
    timer = setTimeout(fail, milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Received items in order, and methods to wait for the next. */
export class Inbox {
  all = [];
  #next = 0;
  #waiting = [];

  constructor(name) {
    this.name = name;
  }

  push(item) {
    this.all.push(item);
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** The next item that matches; earlier items are skipped. */
  async take(matches, what, milliseconds = DEADLINE) {
    const deadline = Date.now() + milliseconds;
    for (;;) {
      while (this.#next < this.all.length) {
        const item = this.all[this.#next++];
        if (matches(item)) return item;
      }
      const more = new Promise((resolve) => this.#waiting.push(resolve));
      try {
        await within(more, what, Math.max(0, deadline - Date.now()));
      } catch {
        const seen = JSON.stringify(this.all);
        throw new Error(`not within ${milliseconds} ms on ${this.name}: ${what}; seen: ${seen}`);
      }
    }
  }

  /** The next event of this name. */
  event(name, milliseconds) {
    return this.take((item) => item.event === name, name, milliseconds);
  }

  /** The data of all received events of this name, in order. */
  dataOf(name) {
    return this.all.filter((item) => item.event === name).map((item) => item.data);
  }
}

// The server --------------------------------------------------------------------------------

const children = new Set();
const folders = new Set();
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));

/** A child process that is killed with this one. */
export function child(command, args, options) {
  const started = spawn(command, args, options);
  children.add(started);
  started.once('exit', () => children.delete(started));
  return started;
}

/** A new folder that is removed with this process. */
export function folder(name) {
  const made = mkdtempSync(join(tmpdir(), `reverb-${name}-`));
  folders.add(made);
  return made;
}

/** The server's binary: `REVERB_BIN`, or the newer one of the two that cargo builds. */
export function binary() {
  if (process.env.REVERB_BIN) return process.env.REVERB_BIN;
  const root = fileURLToPath(new URL('../../target/', import.meta.url));
  const built = ['release/reverb', 'debug/reverb'].map((path) => join(root, path));
  const age = (path) => statSync(path).mtimeMs;
  const [newest] = built.filter(existsSync).sort((a, b) => age(b) - age(a));
  if (!newest) throw new Error(`no binary: build the server, or set REVERB_BIN`);
  return newest;
}

/** `config/reverb.php` as Laravel ships it, through `json_encode`, with these apps. */
function configuration(apps) {
  const app = (it) => ({
    options: { host: 'localhost', port: 443, scheme: 'https', useTLS: true },
    allowed_origins: ['*'],
    ping_interval: 60,
    activity_timeout: 30,
    max_connections: null,
    max_message_size: 10_000,
    accept_client_events_from: 'members',
    rate_limiting: {
      enabled: false,
      max_attempts: 60,
      decay_seconds: 60,
      terminate_on_limit: false,
    },
    ...it,
  });
  return {
    default: 'reverb',
    servers: {
      reverb: {
        host: '0.0.0.0',
        port: 8080,
        path: '',
        hostname: 'localhost',
        options: { tls: [] },
        max_request_size: 10_000,
        scaling: {
          enabled: false,
          channel: 'reverb',
          server: {
            url: null,
            host: '127.0.0.1',
            port: '6379',
            username: null,
            password: null,
            database: '0',
            timeout: 60,
          },
        },
        pulse_ingest_interval: 15,
        telescope_ingest_interval: 15,
      },
    },
    apps: { provider: 'config', apps: apps.map(app) },
  };
}

/** The real server in its own folder; resolves when it listens. */
export async function startServer({ env = {}, apps = null, port = 0 } = {}) {
  const cwd = folder('server');
  const variables = { PATH: process.env.PATH, HOME: cwd, ...env };
  if (apps) {
    writeFileSync(join(cwd, 'reverb.json'), JSON.stringify(configuration(apps)));
  } else {
    variables.REVERB_APP_ID = APP.app_id;
    variables.REVERB_APP_KEY = APP.key;
    variables.REVERB_APP_SECRET = APP.secret;
  }
  const args = ['start', '--host', '127.0.0.1', '--port', String(port)];
  const process_ = child(binary(), args, { cwd, env: variables, stdio: ['ignore', 'pipe', 'pipe'] });
  const server = new Server(process_, apps?.[0] ?? APP, cwd);
  server.port = await within(server.listening, 'the server listens');
  return server;
}

class Server {
  port = 0;
  #output = '';
  #stopping = false;

  constructor(process_, app, cwd) {
    this.process = process_;
    this.app = app;
    this.cwd = cwd;
    process_.stderr.on('data', (bytes) => (this.#output += bytes));
    this.exited = new Promise((resolve) => {
      process_.once('exit', (code, signal) => resolve({ code, signal }));
    });
    this.listening = new Promise((resolve, reject) => {
      createInterface(process_.stdout).once('line', (line) => {
        process_.stdout.resume();
        const found = /listening on 127\.0\.0\.1:(\d+)/.exec(line);
        if (found) resolve(Number(found[1]));
        else reject(new Error(`the first line has no port: ${line}`));
      });
      process_.once('error', reject);
      this.exited.then(({ code, signal }) => {
        reject(new Error(`the server exited (${code ?? signal}): ${this.#output}`));
      });
    });
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Stops the server as a service manager does, and waits until it has exited. */
  async stop() {
    if (!this.#stopping) this.process.kill('SIGTERM');
    this.#stopping = true;
    const { code, signal } = await within(this.exited, 'the server stops after SIGTERM');
    if (signal === 'SIGKILL' && this.killed) return;
    if (code !== 0) throw new Error(`the server exited (${code ?? signal}): ${this.#output}`);
  }

  /** Kills the server with SIGKILL. */
  async kill() {
    this.#stopping = true;
    this.killed = true;
    this.process.kill('SIGKILL');
    await within(this.exited, 'the server exits after SIGKILL');
  }
}

/** Runs `reverb reload`. */
export async function reload(server) {
  const args = ['reload', '--host', '127.0.0.1', '--port', String(server.port)];
  const env = { PATH: process.env.PATH };
  const command = child(binary(), args, { cwd: server.cwd, env, stdio: 'ignore' });
  const [code] = await within(once(command, 'exit'), 'the reload');
  if (code !== 0) throw new Error(`reverb reload exited with ${code}`);
}

/** A free port below the range that the system assigns by itself, so that it can be reused. */
export async function fixedPort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const probe = createServer();
    const free = await new Promise((resolve) => {
      probe.once('error', () => resolve(false));
      probe.listen({ host: '127.0.0.1', port }, () => resolve(true));
    });
    if (!free) continue;
    probe.close();
    await once(probe, 'close');
    return port;
  }
}

// pusher-js ---------------------------------------------------------------------------------

const clients = new Set();
const sockets = new Set();

/** The official HTTP library, for this server's app. */
export function http(server, options = {}) {
  const { app_id: appId, key, secret } = options.app ?? server.app;
  return new PusherHttp({
    appId,
    key,
    secret,
    host: '127.0.0.1',
    port: String(server.port),
    useTLS: false,
    timeout: DEADLINE,
    encryptionMasterKeyBase64: MASTER_KEY,
    ...options,
  });
}

/** Authorises channels as a Laravel app's `/broadcasting/auth` does, with the official library. */
function authorizer(signer, member) {
  return {
    customHandler({ socketId, channelName }, callback) {
      const data = channelName.startsWith('presence-') ? member : undefined;
      callback(null, signer.authorizeChannel(socketId, channelName, data));
    },
  };
}

/**
 * A client of this pusher-js `library`; `member` is its presence data, `user` its sign-in data.
 * Its errors and messages are in `errors` and `messages`, its states in `states`.
 */
export function client(server, given = {}) {
  const { library = Pusher, key, member, user, signer = http(server), ...options } = given;
  const pusher = new library(key ?? server.app.key, {
    cluster: '',
    wsHost: '127.0.0.1',
    wsPort: server.port,
    forceTLS: false,
    enabledTransports: ['ws'],
    channelAuthorization: authorizer(signer, member),
    userAuthentication: {
      customHandler({ socketId }, callback) {
        callback(null, signer.authenticateUser(socketId, user));
      },
    },
    ...options,
  });
  pusher.errors = new Inbox('errors');
  pusher.messages = new Inbox('messages');
  pusher.states = new Inbox('states');
  pusher.connection.bind('error', (error) => pusher.errors.push(error.error ?? error));
  pusher.connection.bind('message', (message) => pusher.messages.push(message));
  pusher.connection.bind('state_change', ({ current }) => pusher.states.push({ event: current }));
  clients.add(pusher);
  return pusher;
}

/** A connected pusher-js client. */
export async function connected(server, options) {
  const pusher = client(server, options);
  await pusher.states.event('connected');
  return pusher;
}

/** A subscribed pusher-js channel; its events are in `inbox`. */
export async function subscribed(pusher, name) {
  const channel = pusher.channel(name) ?? subscribe(pusher, name);
  await channel.inbox.event('pusher:subscription_succeeded');
  return channel;
}

/** A pusher-js channel that has requested its subscription. */
export function subscribe(pusher, name) {
  const channel = pusher.subscribe(name);
  channel.inbox = new Inbox(name);
  channel.bind_global((event, data) => channel.inbox.push({ event, data }));
  return channel;
}

/** Unsubscribes from a channel and waits until the server has removed the subscription. */
export async function leave(channel) {
  const { pusher, name } = channel;
  pusher.unsubscribe(name);
  pusher.send_event('pusher:ping', {});
  await pusher.messages.event('pusher:pong');
}

/** The official close codes that a client has received, in order. */
export function codes(pusher) {
  return pusher.errors.all.map((error) => error.data?.code).filter((code) => code !== undefined);
}

/** Whether the client has given up: it is not connected and plans no attempt. */
export function gaveUp(pusher) {
  const { state, connection, runner, retryTimer } = pusher.connection;
  return state === 'disconnected' && !connection && !runner && !retryTimer?.isRunning();
}

/** Disconnects all clients of a test. */
export function endClients() {
  for (const pusher of clients) pusher.disconnect();
  for (const socket of sockets) socket.terminate();
  clients.clear();
  sockets.clear();
}

let numbers = 0;

/**
 * Publishes an event and waits until it arrives. Earlier messages have arrived by then: one that
 * is not in the inbox was never sent.
 */
export async function barrier(api, ...channels) {
  for (const channel of channels) {
    const event = `barrier-${++numbers}`;
    await api.trigger(channel.name, event, {});
    await channel.inbox.event(event);
  }
}

// A bare WebSocket --------------------------------------------------------------------------

/** A WebSocket of the `ws` package: `inbox` has the messages, `closed` the close code. */
export function raw(server, { key = server.app.key, ...options } = {}) {
  const url = `ws://127.0.0.1:${server.port}/app/${key}?protocol=7&client=js&version=8.6.0&flash=false`;
  const socket = new WebSocket(url, options);
  sockets.add(socket);
  socket.inbox = new Inbox('a bare WebSocket');
  socket.on('message', (text) => socket.inbox.push(JSON.parse(text)));
  socket.on('error', (error) => socket.inbox.push({ event: 'error', data: error.message }));
  socket.closed = new Promise((resolve) => {
    socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() }));
  });
  socket.sendEvent = (event, data) => socket.send(JSON.stringify({ event, data }));
  return socket;
}

/** A bare WebSocket with its socket id. */
export async function rawConnected(server, options) {
  const socket = raw(server, options);
  const { data } = await socket.inbox.event('pusher:connection_established');
  socket.id = JSON.parse(data).socket_id;
  return socket;
}
