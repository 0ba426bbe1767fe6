#!/usr/bin/env bash
# What one would say: a server that drains sends GOAWAY with NO_ERROR and the last stream that it will answer, and then answers
# the streams up to that one (RFC 9113, section 6.8). A client sends no new request there and waits for the answers: a graceful
# stop costs no request. Node.js's own http2 client, on which undici's HTTP/2 stands, does just that.
#
# What happens: undici 7 takes each GOAWAY for a failure of the connection, whatever its error code and last stream. It closes
# the socket at once, and all requests in flight fail with UND_ERR_SOCKET, GETs too, though the server has processed every one
# of them and is about to answer. So each reload or age limit of a server costs all that is in flight at that moment, and a
# caller who repeats the failed requests has them processed twice.
#
# Seen with: undici 7.30.2 (lib/dispatcher/client-h2.js, onHttp2SessionGoAway; the latest version for Node.js 20, as 8 wants
# Node.js 22.19), Node.js 20.20.2 on both sides, HTTP/2 without TLS. Output when written:
#
#   node:http2: 10 of 10 requests answered; the server has processed 10
#   undici:     0 of 10 requests answered, 10 failed: UND_ERR_SOCKET HTTP/2: "GOAWAY" frame received with code 0; the server has processed 10
#
# Needs Node.js with npm. npm's registry aside, nothing but 127.0.0.1 is used.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
node --version
npm install --silent --no-audit --no-fund --ignore-scripts undici@7.30.2 >npm.log 2>&1 || { cat npm.log; exit 2; }

cat >main.js <<'JS'
'use strict';
const http2 = require('node:http2');
const { H2CClient } = require('undici');

const requests = 10;

// serve starts a server that has 10 requests on one connection before it drains, and then answers them.
function serve(processed) {
  const server = http2.createServer();
  server.on('session', (session) => {
    let waiting = [];
    session.on('error', () => {});
    session.on('stream', (stream, headers) => {
      stream.on('error', () => {});
      processed.push(headers[':path']);
      waiting.push(stream);
      if (waiting.length < requests) return;
      session.close(); // GOAWAY, NO_ERROR, the last stream that came
      setTimeout(() => {
        for (const s of waiting) {
          if (s.destroyed) continue;
          s.respond({ ':status': 200 });
          s.end('ok');
        }
      }, 200);
    });
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

const clients = {
  'node:http2': (origin) => {
    const session = http2.connect(origin);
    session.on('error', () => {});
    return (path) =>
      new Promise((resolve, reject) => {
        const stream = session.request({ ':path': path });
        let status;
        stream.on('response', (h) => (status = h[':status']));
        stream.on('error', reject);
        stream.on('end', () => resolve(status));
        stream.resume();
      });
  },
  'undici': (origin) => {
    const client = new H2CClient(origin, { maxConcurrentStreams: 100, pipelining: 100 });
    return async (path) => {
      const { statusCode, body } = await client.request({ method: 'GET', path });
      await body.dump();
      return statusCode;
    };
  },
};

(async () => {
  for (const [name, connect] of Object.entries(clients)) {
    const processed = [];
    const server = await serve(processed);
    const get = connect(`http://127.0.0.1:${server.address().port}`);
    const results = await Promise.allSettled(Array.from({ length: requests }, (_, i) => get(`/${i}`)));
    const answered = results.filter((r) => r.value === 200).length;
    const failed = results.filter((r) => r.status === 'rejected').map((r) => `${r.reason.code} ${r.reason.message}`);
    const why = failed.length ? `, ${failed.length} failed: ${[...new Set(failed)].join(' | ')}` : '';
    console.log(`${(name + ':').padEnd(11)} ${answered} of ${requests} requests answered${why}; the server has processed ${processed.length}`);
    server.close();
  }
  process.exit(0);
})();
JS
timeout 60 node main.js | tee out
cat >want <<'WANT'
node:http2: 10 of 10 requests answered; the server has processed 10
undici:     0 of 10 requests answered, 10 failed: UND_ERR_SOCKET HTTP/2: "GOAWAY" frame received with code 0; the server has processed 10
WANT
diff want out || { echo "it has changed"; exit 1; }
echo "as written down"
