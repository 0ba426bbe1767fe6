package httpbalancer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection"
	"github.com/sidestep-lb/sidestep/health"
)

// Config says how a Transport works. The zero value is ready to use in a pod.
type Config struct {
	// Name tells this Transport from others to the same Service, in the Client field of
	// balancer.Statuses and in the log. The default is none.
	Name string
	// Balancer says how to choose among the pods of a Service.
	Balancer balancer.Config
	// Source finds the endpoints of Services. The default is the process's own, see
	// [selection.DefaultSource]: the API server of the cluster, with DNS to fall back
	// on where that refuses or cannot be reached from the start.
	Source discovery.Source
	// Selection says which of the endpoints of a Service this client uses. The
	// default is all that kube-proxy would use.
	Selection selection.Config
	// Base serves all hosts that are no Services, and is the pattern of the
	// connections to the pods, which use no proxy. Its limits are those for each
	// pod: MaxConnsPerHost, which is none by default, of connections open and being
	// made, whether or not they are HTTP/2; MaxIdleConnsPerHost, which is 100; and
	// IdleConnTimeout. Its TLSHandshakeTimeout, which is 10 seconds if it is 0, is
	// also how long a server of HTTP/2 may take for its SETTINGS. HTTP/2 pings are
	// sent if HTTP2.SendPingTimeout is set: servers of gRPC close connections on
	// which they come more often than every five minutes. Its DialContext and
	// DialTLSContext, if set, are called with the address of the pod; a
	// DialTLSContext has to know the TLS server name itself. Changes after New have
	// no effect on the connections to the pods.
	//
	// The default is a clone of http.DefaultTransport that gives a pod two
	// seconds to accept a connection.
	Base *http.Transport
	// Protocols, if set, are what is spoken with the pods, such as HTTP/2 without
	// TLS alone (SetUnencryptedHTTP2). The default is what the Service declares
	// as appProtocol kubernetes.io/h2c, and else what the Base speaks. Requests that
	// ask for an upgrade, as WebSockets do, are always sent by HTTP/1.
	Protocols *http.Protocols
	// MaxConnAge is for how long a connection gets new requests; then it is closed
	// as soon as it has none. It is for ways to the pods that spread connections
	// and not requests, such as a load balancer. It varies by a tenth, so that
	// connections are not all made anew at the same time. The default is no limit.
	MaxConnAge time.Duration
	// WarmUp makes a connection to each pod as soon as it is known, TLS included,
	// so that no request has to wait for that. The first request to a Service
	// says which kind of connection that is, and does not profit itself.
	WarmUp bool
	// Retry says when a request is sent to another pod.
	Retry Retry
	// Hedge says when a request that takes long is sent to a second pod, which is
	// never by default.
	Hedge Hedge
	// Class, if set, names the class of a request: requests of one class take about
	// as long as each other. A pod is judged by how its latencies compare with those of
	// the same class at all pods, so that a long poll does not make its pod look slow
	// for others. The default is the method with the first three segments of the path,
	// up to one with a digit in it that is no version (GET /api/v1/orders/17 is
	// GET /api/v1/orders). Set it where that does not tell slow requests from fast
	// ones. It is asked by many goroutines, and 64 classes are told apart.
	Class func(req *http.Request) string
	// Outcome, if set, says what a response means for the pod that it came from.
	// It must not read the body, and is asked by many goroutines. The default is
	// [StatusOutcome].
	Outcome func(resp *http.Response) health.Outcome
	// OutcomeAtEnd, if set, says what a response means that Outcome calls a success
	// and that says more at its end: one of gRPC, gRPC-Web or a stream of Connect,
	// by its Content-Type, or one that announces trailers. It is asked when the body
	// has been read to the end, which is when resp.Trailer is there, or at once if
	// the headers have the status. The code is that of gRPC, or [NoRPCCode] if there
	// is none. It must not use the body, and is asked by many goroutines. The default
	// is [RPCOutcome]. It is not asked about a body that breaks off, which is a
	// failure if it is one of an RPC, nor about one that the caller closes before
	// its end.
	OutcomeAtEnd func(resp *http.Response, code int) health.Outcome
	// SetCookie, if set, is the pattern of a cookie that responses get when the
	// request had none of the name Balancer.HashKey.Cookie: its value is a new key,
	// which the request was sent by, so that those that bring the cookie go to the
	// same pod. The name of the pattern is not used. The policy has to be ring_hash
	// or maglev.
	SetCookie *http.Cookie
	// Traced, if set, is told of each request to a Service, as soon as it has its
	// answer or has failed, where it went, and why more than once. It is for traces,
	// see package balancer/telemetry, and must not block.
	Traced func(ctx context.Context, t *balancer.Trace)
	// Logger gets what the Transport has to say: backends that are ejected, say. The
	// default is slog.Default(). The watch of a Service, which all clients of a process
	// share, logs to slog.Default().
	Logger *slog.Logger
	// Probe, if set, says how to probe the pods.
	Probe *Probe
	// DrainTimeout is how long requests in flight may go on after their pod began
	// to terminate or left the Service's endpoints, or after Close. Then they fail
	// with an error that wraps [ErrDrainTimeout]. The default is 30 seconds. A pod
	// that is listed as not ready, that a topology hint gives to other clients, or
	// that this client's subset leaves out, gets no new requests, and those that it
	// has go on for as long as they take. DNS lists only pods that are ready, so
	// there one that is not ready is one that has left.
	DrainTimeout time.Duration
	// Target, if set, says which requests go to a Service, and to which. The
	// default is [ServiceTarget] but for the names of the Selection.HostsFile and of other
	// domains than the cluster's (that of the Source, see kube.Config.Domain), and
	// to ask the source or DNS about names of one or two labels, since example.com
	// might be a Service as well. With a Source of your own that means one watch for
	// each such name, so a program that fetches from arbitrary hosts had better set
	// Target. A Target is asked in place of all that.
	Target func(u *url.URL) (discovery.Target, bool)
}

const (
	defaultDrainTimeout = 30 * time.Second
	// maxIdleConnsPerBackend replaces net/http's default of 2, which closes most
	// of the connections after each burst (go.dev/issue/13801).
	maxIdleConnsPerBackend = 100
)

// Validate returns an error that names the field whose value is impossible.
func (c Config) Validate() error {
	if err := c.Balancer.Validate(); err != nil {
		return inField("Balancer", err)
	}
	if err := c.Selection.Validate(); err != nil {
		return inField("Selection", err)
	}
	if c.DrainTimeout < 0 {
		return fmt.Errorf("DrainTimeout: %v is negative", c.DrainTimeout)
	}
	if c.MaxConnAge < 0 {
		return fmt.Errorf("MaxConnAge: %v is negative", c.MaxConnAge)
	}
	if c.SetCookie != nil && (c.Balancer.HashKey.Cookie == "" || c.Balancer.Policy != balancer.RingHash && c.Balancer.Policy != balancer.Maglev) {
		return errors.New("SetCookie: Balancer.HashKey.Cookie has to name the cookie, and the policy to be ring_hash or maglev")
	}
	return cmp.Or(c.Retry.validate(), c.Hedge.validate(), c.Probe.validate())
}

// inField says in which field an error is.
func inField(name string, err error) error { return fmt.Errorf("%s: %w", name, err) }
