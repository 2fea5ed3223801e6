// A real nginx in its own folder, with the proxy block of man/reverb-deploy.7, which is that of
// Laravel's documentation, for one or more servers.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { child, fixedPort, folder, within } from './support.mjs';

const PAGE = new URL('../../man/reverb-deploy.7', import.meta.url);

/** The `location` block of the manual, with this target. */
function location(target) {
  const [block] = /^location \/ \{\n[^}]*\}\n/m.exec(readFileSync(PAGE, 'utf8'));
  return block.replace('http://127.0.0.1:8080', `http://${target}`);
}

/** nginx in its own folder, in front of one or more servers; resolves when it listens. */
export async function startNginx(first, ...others) {
  const prefix = folder('nginx');
  const port = await fixedPort();
  const addresses = [first, ...others].map((server) => `127.0.0.1:${server.port}`);
  const isOne = addresses.length === 1;
  const target = isOne ? addresses[0] : 'nodes';
  const listed = addresses.map((address) => `        server ${address};\n`).join('');
  const upstream = isOne ? '' : `    upstream nodes {\n${listed}    }\n`;
  const configuration = `
daemon off;
pid ${prefix}/nginx.pid;
error_log stderr notice;
worker_processes 1;
${process.getuid() === 0 ? 'user root;' : ''}

events {
    worker_connections 512;
}

http {
    access_log off;
    client_body_temp_path ${prefix}/body;
    proxy_temp_path ${prefix}/proxy;
    fastcgi_temp_path ${prefix}/fastcgi;
    uwsgi_temp_path ${prefix}/uwsgi;
    scgi_temp_path ${prefix}/scgi;

${upstream}
    server {
        listen 127.0.0.1:${port};

${location(target)}    }
}
`;
  const file = join(prefix, 'nginx.conf');
  writeFileSync(file, configuration);
  const path = `${process.env.PATH}:/usr/local/sbin:/usr/sbin:/sbin`;
  const nginx = child('nginx', ['-e', 'stderr', '-p', prefix, '-c', file], {
    env: { PATH: path },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const output = [];
  const exited = new Promise((resolve) => nginx.once('exit', resolve));
  const listening = new Promise((resolve, reject) => {
    nginx.once('error', reject);
    exited.then((code) => reject(new Error(`nginx exited (${code}): ${output.join('\n')}`)));
    createInterface(nginx.stderr).on('line', (line) => {
      output.push(line);
      if (line.includes('start worker process ')) resolve();
    });
  });
  await within(listening, 'nginx listens');
  const stop = async () => {
    nginx.kill('SIGTERM');
    await within(exited, 'nginx stops');
  };
  return { port, app: first.app, url: `http://127.0.0.1:${port}`, stop };
}
