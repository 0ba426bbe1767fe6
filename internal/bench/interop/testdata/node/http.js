// A pod: node http.js PORT KEEP_ALIVE_MS. It echoes. SIGHUP stops the server and
// starts another: server.close, which closes idle connections, and "Connection:
// close" on the others, which Node.js does not send by itself, so that a busy
// connection would go on.
'use strict';
const http = require('node:http');

function serve() {
  let closing = false;
  const server = http.createServer((req, res) => {
    const chunks = [];
    req.on('data', (c) => chunks.push(c));
    req.on('end', () => {
      const body = Buffer.concat(chunks);
      setTimeout(() => {
        if (closing) res.setHeader('connection', 'close');
        res.writeHead(200, { 'content-length': body.length });
        res.end(body);
      }, 2);
    });
  });
  server.keepAliveTimeout = Number(process.argv[3]);
  server.listen(Number(process.argv[2]), '127.0.0.1', () => console.log('listening'));
  process.once('SIGHUP', () => {
    closing = true;
    server.close(serve);
  });
}
serve();
