// A pod: node http2.js PORT. It echoes over HTTP/2 without TLS. SIGHUP stops the
// server and starts another: server.close, and session.close for each session, as
// the documentation of server.close asks for.
'use strict';
const http2 = require('node:http2');

function serve() {
  const server = http2.createServer();
  const sessions = new Set();
  server.on('session', (s) => {
    sessions.add(s);
    s.on('close', () => sessions.delete(s));
    s.on('error', () => {});
  });
  server.on('stream', (stream) => {
    const chunks = [];
    stream.on('error', () => {});
    stream.on('data', (c) => chunks.push(c));
    stream.on('end', () => {
      const body = Buffer.concat(chunks);
      setTimeout(() => {
        if (stream.destroyed) return;
        stream.respond({ ':status': 200, 'content-length': body.length });
        stream.end(body);
      }, 2);
    });
  });
  server.listen(Number(process.argv[2]), '127.0.0.1', () => console.log('listening'));
  process.once('SIGHUP', () => {
    server.close(serve);
    for (const s of sessions) s.close();
  });
}
serve();
