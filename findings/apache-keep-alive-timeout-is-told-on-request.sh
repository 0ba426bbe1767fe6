#!/usr/bin/env bash
# What one would say: Apache tells its KeepAliveTimeout with each answer on a connection that stays open, "Keep-Alive:
# timeout=5, max=100", so a client that heeds the header does not send a request on a connection that is about to be closed.
#
# What happens: it tells only those that ask. Over HTTP/1.1, where connections persist by default, a request without
# "Connection: keep-alive" is kept alive and answered with neither Connection nor Keep-Alive; with that header in the request
# both are there. Go's net/http sends no Connection header, so whoever reads Keep-Alive above it never sees it from Apache. npm's
# undici sends the request's header always, and so knows. Node.js's own server tells both. The two clients' requests here are
# on connections that stay open just the same (each sends two on one).
#
# Seen with: Debian 12 apache2 2.4.71 (mpm_event, KeepAliveTimeout 5), Node.js 20.20.2 as the other server, Go 1.26.8,
# undici 7.16.0. Output when written:
#
#   Apache to Go:      Connection "", Keep-Alive "", 2 requests on 1 connection
#   Apache to undici:  Connection "Keep-Alive", Keep-Alive "timeout=5, max=100"
#   Node.js to Go:     Connection "keep-alive", Keep-Alive "timeout=5", 2 requests on 1 connection
#
# Needs Go, Node.js with npm, and Apache (apt-get install apache2-bin). npm's registry aside, nothing but 127.0.0.1 is used.
set -euo pipefail

server=$(command -v apache2 || echo /usr/sbin/apache2)
[[ -x $server ]] || { echo "Apache is not installed: apt-get install apache2-bin"; exit 2; }
work=$(mktemp -d)
apache='' node=''
trap '[[ -z $apache ]] || kill "$apache" 2>/dev/null || true; [[ -z $node ]] || kill "$node" 2>/dev/null || true; sleep 0.2; rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
"$server" -v | sed -n 1p
node --version
go version
npm install --silent --no-audit --no-fund --ignore-scripts undici@7.16.0 >npm.log 2>&1 || { cat npm.log; exit 2; }

# PORT_A and PORT_N are free.
read -r port_a port_n < <(node -e '
  const net = require("node:net");
  const a = net.createServer().listen(0, "127.0.0.1", () => {
    const b = net.createServer().listen(0, "127.0.0.1", () => {
      console.log(a.address().port, b.address().port);
      a.close(); b.close();
    });
  });')

mkdir www
echo hello >www/hello
modules=/usr/lib/apache2/modules
cat >apache.conf <<CONF
ServerRoot $work
DefaultRuntimeDir $work
PidFile $work/pid
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authz_core_module $modules/mod_authz_core.so
ServerName localhost
Listen 127.0.0.1:$port_a
ErrorLog $work/error.log
DocumentRoot $work/www
KeepAlive On
KeepAliveTimeout 5
MaxKeepAliveRequests 100
CONF
[[ $EUID != 0 ]] || printf 'User nobody\nGroup nogroup\n' >>apache.conf # it does not serve as root
"$server" -DFOREGROUND -f "$work/apache.conf" &
apache=$!
node -e 'require("node:http").createServer((q, r) => r.end("hello")).listen(+process.argv[1], "127.0.0.1")' "$port_n" &
node=$!
for port in "$port_a" "$port_n"; do
  for _ in {1..500}; do
    if (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
    sleep 0.02
  done
done

cat >go.mod <<'GO'
module finding
go 1.26
GO
cat >main.go <<'GO'
package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
)

func main() {
	connections := map[string]bool{}
	var header http.Header
	for range 2 {
		req, _ := http.NewRequest(http.MethodGet, os.Args[2], nil)
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			GotConn: func(i httptrace.GotConnInfo) { connections[i.Conn.LocalAddr().String()] = true },
		}))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			panic(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		header = resp.Header
	}
	fmt.Printf("%s to Go: Connection %q, Keep-Alive %q, 2 requests on %d connection\n", os.Args[1],
		header.Get("Connection"), header.Get("Keep-Alive"), len(connections))
}
GO
cat >undici.js <<'JS'
const { request } = require('undici');
request(process.argv[2]).then(async ({ headers, body }) => {
  await body.dump();
  console.log(`Apache to undici: Connection "${headers.connection ?? ''}", Keep-Alive "${headers['keep-alive'] ?? ''}"`);
  process.exit(0);
});
JS
{
  go run . Apache "http://127.0.0.1:$port_a/hello"
  node undici.js "http://127.0.0.1:$port_a/hello"
  go run . Node.js "http://127.0.0.1:$port_n/hello"
} | tee out
cat >want <<'WANT'
Apache to Go: Connection "", Keep-Alive "", 2 requests on 1 connection
Apache to undici: Connection "Keep-Alive", Keep-Alive "timeout=5, max=100"
Node.js to Go: Connection "keep-alive", Keep-Alive "timeout=5", 2 requests on 1 connection
WANT
diff want out || { echo "it has changed"; exit 1; }
echo "as written down"
