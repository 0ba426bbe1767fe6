// Package dialbalancer is a DialContext that spreads connections over the pods of
// a Kubernetes Service, for clients that speak neither gRPC nor HTTP: Redis,
// PostgreSQL, NATS, a protocol of your own.
//
//	dialer, err := dialbalancer.New("k8s:///redis.shop:redis", dialbalancer.Config{})
//	if err != nil {
//		return err
//	}
//	defer dialer.Close()
//	rdb := redis.NewClient(&redis.Options{Addr: "redis.shop:6379", Dialer: dialer.DialContext})
//
// docs/dial.md has the settings that go-redis, rueidis, pgx, database/sql and
// nats.go need.
//
// It balances connections and not requests, since it does not know where a request
// begins. For HTTP use package httpbalancer, for gRPC package grpcbalancer.
//
// # Which pod
//
// A connection goes to the pod that has the fewest of this Dialer's connections
// open. A pod to which no connection can be made gets none until a redial, with
// back-off, has reached it. A pod that accepts connections and ends them before it
// has sent a byte is ejected when it does so more than the others, see package
// health; so is one whose [Conn.Report] says that it fails. When no pod is fit, all
// are tried rather than none.
//
// One call of DialContext tries three pods at most, each once, and only one when no
// pod is fit. A client that dials again by itself gets another pod, since the one
// that failed is known to have failed.
//
// # Addresses
//
// The address given to DialContext decides what it does:
//
//   - A name of the Service (redis, redis.shop, redis.shop.svc, …) or its cluster IP
//     and port is balanced. The port of a name does not count: that of the target
//     does. A static target has no name, so there every name is balanced.
//   - The address and port of a pod is a connection to that pod.
//   - Everything else is dialed as it is, as by a [net.Dialer].
//
// # When pods come and go
//
// [Config.Removal] says what becomes of open connections when their pod is no
// longer one to use. When pods are added, the connections that the others have too
// many of are marked over a few seconds, see [Config.RebalanceOver]: those are
// replaced when their pool looks at them next. A connection that is marked is
// [Conn.Stale], and its SyscallConn method fails. go-redis and
// github.com/go-sql-driver/mysql call that before they reuse a connection, and
// discard it without an error to anybody; for other pools see docs/dial.md.
package dialbalancer
