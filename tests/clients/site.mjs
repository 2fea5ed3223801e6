// The Laravel app of the browser tests: one page with Laravel Echo on it, `/broadcasting/auth` and
// `/broadcasting/user-auth` signed by the official library, and a route that broadcasts.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const packages = createRequire(import.meta.url);
const inPackage = (name, path) => join(dirname(packages.resolve(`${name}/package.json`)), path);

const FILES = {
  '/': ['text/html', page()],
  '/pusher.js': script(inPackage('pusher-js', 'dist/web/pusher-with-encryption.min.js')),
  '/echo.js': script(join(dirname(packages.resolve('laravel-echo')), 'echo.iife.js')),
};

function script(path) {
  return ['text/javascript', readFileSync(path)];
}

function page() {
  return `<!doctype html><meta charset="utf-8"><title>Laravel Echo</title>
<link rel="icon" href="data:,"><script src="/pusher.js"></script><script src="/echo.js"></script>`;
}

/** `routes/channels.php` of the app: the data of a user, and its permitted channels. */
const userInfo = (user) => ({ id: user, name: `User ${user}` });

/** Starts the app; `signer` has the right secret, `forger` a wrong one. */
export async function startSite({ signer, forger }) {
  const app = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://site');
    const file = request.method === 'GET' && FILES[pathname];
    const answer = file ? [200, ...file] : await post(pathname, request, { signer, forger });
    const [status, type, body] = answer;
    response.writeHead(status, { 'Content-Type': type }).end(body);
  });
  app.listen(0, '127.0.0.1');
  await once(app, 'listening');
  const stop = async () => {
    app.closeAllConnections();
    app.close();
    await once(app, 'close');
  };
  return { port: app.address().port, stop };
}

/** Responds to a form or a JSON body as the app's routes do. */
async function post(pathname, request, { signer, forger }) {
  const json = (status, value) => [status, 'application/json', JSON.stringify(value)];
  let text = '';
  for await (const part of request) text += part;
  const user = Number(request.headers['x-user']);
  const form = new URLSearchParams(text);
  const socket = form.get('socket_id');

  if (pathname === '/broadcasting/auth') {
    const channel = form.get('channel_name');
    if (channel.endsWith('forbidden')) return json(403, { message: 'This action is unauthorized.' });
    const library = channel.endsWith('forged') ? forger : signer;
    const presence = { user_id: user, user_info: userInfo(user) };
    const member = channel.startsWith('presence-') ? presence : undefined;
    return json(200, library.authorizeChannel(socket, channel, member));
  }
  if (pathname === '/broadcasting/user-auth') {
    return json(200, signer.authenticateUser(socket, { ...userInfo(user), id: String(user) }));
  }
  if (pathname === '/broadcast') {
    const { channel, event, data } = JSON.parse(text);
    const socket_id = request.headers['x-socket-id'];
    await signer.trigger(channel, event, data, { socket_id });
    return json(200, {});
  }
  return [404, 'text/plain', 'not found'];
}
