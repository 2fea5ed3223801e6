// A real nginx in a folder of its own, with the proxy block of Laravel's documentation word for
// word, for one server or for several.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { child, fixedPort, folder, within } from './support.mjs';

/** nginx in a folder of its own, in front of one server or several; resolves when it listens. */
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

        location / {
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Scheme $scheme;
            proxy_set_header SERVER_PORT $server_port;
            proxy_set_header REMOTE_ADDR $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "Upgrade";

            proxy_pass http://${target};
        }
    }
}
`;
  const file = join(prefix, 'nginx.conf');
  writeFileSync(file, configuration);
  const path = `${process.env.PATH}:/usr/local/sbin:/usr/sbin:/sbin`;
  const nginx = child('nginx', ['-e', 'stderr', '-p', prefix, '-c', file], {
    env: { PATH: path },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const said = [];
  const exited = new Promise((resolve) => nginx.once('exit', resolve));
  const listening = new Promise((resolve, reject) => {
    nginx.once('error', reject);
    exited.then((code) => reject(new Error(`nginx ended (${code}): ${said.join('\n')}`)));
    createInterface(nginx.stderr).on('line', (line) => {
      said.push(line);
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
