// A real redis-server in its own folder, and servers that use it as nodes.

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

/** redis-server on a loopback port; resolves when it accepts connections. */
export async function startRedis() {
  const port = await fixedPort();
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
  const redis = child('redis-server', args, {
    cwd: folder('redis'),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const output = [];
  const exited = new Promise((resolve) => redis.once('exit', resolve));
  const ready = new Promise((resolve, reject) => {
    redis.once('error', reject);
    exited.then((code) => reject(new Error(`redis-server exited (${code}): ${output.join('\n')}`)));
    createInterface(redis.stdout).on('line', (line) => {
      output.push(line);
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

/** This many connected servers on one Redis server. */
export async function startNodes(count, redis, env = {}) {
  const target = { REDIS_HOST: '127.0.0.1', REDIS_PORT: String(redis.port) };
  const start = () => startServer({ env: { REVERB_SCALING_ENABLED: 'true', ...target, ...env } });
  const nodes = await Promise.all(Array.from({ length: count }, start));
  for (const from of nodes) {
    for (const to of nodes) await isHeard(from, to);
  }
  return nodes;
}

/** Waits until an event published at one node reaches a client of another. */
async function isHeard(from, to) {
  const pusher = await connected(to);
  const channel = await subscribed(pusher, 'is-received');
  const publish = setInterval(() => http(from).trigger('is-received', 'event', {}), 20);
  await channel.inbox.event('event').finally(() => clearInterval(publish));
  pusher.disconnect();
}
