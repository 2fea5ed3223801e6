// The snippets of README.md, as pasted: a server from the shell, a listener and a publisher in
// Node.
// The test skips lines that install something; the packages are those of this folder.

import assert from 'node:assert/strict';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Inbox, binary, child, fixedPort, folder, within } from './support.mjs';

const README = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');

/** The code blocks of a language. */
function blocks(language) {
  const pattern = new RegExp('^```' + language + '\\n([^]*?)^```$', 'gm');
  return [...README.matchAll(pattern)].map(([, text]) => text);
}

/** The shell lines of the README that run one of these programs. */
function lines(...programs) {
  const all = blocks('sh').flatMap((block) => block.trim().split('\n'));
  return all.filter((line) => programs.includes(line.split(' ')[0]));
}

test('the snippets of the README run as pasted', async () => {
  const cwd = folder('readme');
  symlinkSync(fileURLToPath(new URL('node_modules', import.meta.url)), join(cwd, 'node_modules'));
  for (const script of blocks('js')) {
    const [, name] = /^\/\/ (\w+\.mjs)$/m.exec(script);
    writeFileSync(join(cwd, name), script);
  }
  // The binary may have another name than `reverb`.
  symlinkSync(binary(), join(cwd, 'reverb'));
  const port = String(await fixedPort());
  const env = {
    PATH: `${cwd}:${dirname(process.execPath)}:/usr/bin:/bin`,
    HOME: cwd,
    // The default port may be in use here.
    REVERB_SERVER_PORT: port,
    REVERB_PORT: port,
  };
  const shell = (line) => {
    const stdio = ['ignore', 'pipe', 'pipe'];
    const started = child('sh', ['-c', `exec ${line}`], { cwd, env, stdio });
    started.output = new Inbox(line);
    for (const stream of [started.stdout, started.stderr]) {
      createInterface(stream).on('line', (text) => started.output.push(text));
    }
    started.ended = new Promise((resolve) => started.once('exit', resolve));
    return started;
  };
  const commands = lines('reverb');
  assert.deepEqual(commands, ['reverb --version', 'reverb install', 'reverb start']);
  for (const command of commands.slice(0, 2)) {
    assert.equal(await within(shell(command).ended, command), 0);
  }
  const server = shell(commands[2]);
  await server.output.take((line) => line.includes(' listening on '), 'the server listens');

  const scripts = lines('node');
  assert.equal(scripts.length, 2);
  const listener = shell(scripts[0]);
  await listener.output.take((line) => line === 'subscribed', 'the listener is subscribed');
  assert.equal(await within(shell(scripts[1]).ended, scripts[1]), 0);
  const received = await listener.output.take((line) => line.startsWith('received'), 'the event');
  assert.equal(received, "received { to: 'everybody' }");
  listener.kill('SIGTERM');
  server.kill('SIGTERM');
  assert.equal(await within(server.ended, 'the server stops'), 0);
});
