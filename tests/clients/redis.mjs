// A real redis-server in a folder of its own, and servers that are nodes on it.

import { createInterface } from 'node:readline';
import {
  child,
  connected,
  fixedPort,
  folder,
  http,
  startServer,
  subscribed,
  within,
} from './support.mjs';

/** redis-server on a port of the loopback; resolves when it takes connections. */
export async function startRedis() {
  const port = await fixedPort();
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
  const redis = child('redis-server', args, {
    cwd: folder('redis'),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const said = [];
  const exited = new Promise((resolve) => redis.once('exit', resolve));
  const ready = new Promise((resolve, reject) => {
    redis.once('error', reject);
    exited.then((code) => reject(new Error(`redis-server ended (${code}): ${said.join('\n')}`)));
    createInterface(redis.stdout).on('line', (line) => {
      said.push(line);
      if (line.includes('eady to accept connections')) resolve();
    });
  });
  await within(ready, 'redis-server takes connections');
  const stop = async () => {
    redis.kill('SIGTERM');
    await within(exited, 'redis-server stops');
  };
  return { port, stop };
}

/** So many servers on one Redis that hear each other. */
export async function startNodes(count, redis, env = {}) {
  const target = { REDIS_HOST: '127.0.0.1', REDIS_PORT: String(redis.port) };
  const start = () => startServer({ env: { REVERB_SCALING_ENABLED: 'true', ...target, ...env } });
  const nodes = await Promise.all(Array.from({ length: count }, start));
  for (const from of nodes) {
    for (const to of nodes) await isHeard(from, to);
  }
  return nodes;
}

/** Waits until what is published at one node reaches a client of another. */
async function isHeard(from, to) {
  const pusher = await connected(to);
  const channel = await subscribed(pusher, 'is-heard');
  const publish = setInterval(() => http(from).trigger('is-heard', 'event', {}), 20);
  await channel.inbox.event('event').finally(() => clearInterval(publish));
  pusher.disconnect();
}
