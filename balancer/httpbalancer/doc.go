// Package httpbalancer is an http.RoundTripper that sends requests to a
// Kubernetes Service straight to the best of its pods:
//
//	transport, err := httpbalancer.NewTransport(httpbalancer.Config{})
//	...
//	defer transport.Close()
//	client := &http.Client{Transport: transport}
//	client.Get("http://quiz.kiada/questions")
//
// URLs name a Service as the cluster's DNS does (quiz, quiz.kiada,
// quiz.kiada.svc, quiz.kiada.svc.cluster.local), with the Service's port. The
// pod's own address shows nowhere: the Host header, the TLS server name,
// cookies, redirects and Response.Request are as if there were one server.
// Requests to all other hosts go through the base transport untouched: so do names
// in another domain than the cluster's, names with a last dot that are no Service's
// in full, and what the pod's hosts file has.
//
// Hosts of one or two labels may be Services or not. The source and the cluster's
// DNS tell, whichever can; the first request to a host waits for that, for a second
// at most, and no later one does. While nobody can tell, requests go through the base
// transport, which leads to the same Service by its cluster IP.
//
// # Retries
//
// A request that certainly was not processed by its pod is sent to another one,
// whatever its method and for free: no connection could be made, not a byte was
// written to it, or the server said so (GOAWAY, REFUSED_STREAM); to servers that
// go on saying so, at growing intervals until its deadline. So is a POST whose body
// has no GetBody, as long as what was read of it, 64 KiB at most, is known. A request
// whose connection broke before the answer is sent again if it is idempotent and
// the retry budget allows; no other request is ever repeated. [Retry] has more,
// such as statuses after which another pod is asked, and [Hedge] sends a request
// that takes long to a second pod. A [balancer.Trace] tells what was done, and why.
//
// # Outcomes
//
// A status of 500 or more counts as a failure of the pod: one that fails more than
// the others is ejected for a time, see package health. Of gRPC, gRPC-Web and Connect
// over HTTP the status of the RPC counts, in trailers or at the end of the body, see
// [RPCOutcome] and [Config.OutcomeAtEnd]. 429 speaks of the caller and counts for
// nothing. All other statuses are answers. What this side did counts for nothing: a
// caller that gives up before its request was sent, say, or while it waits for a
// connection that a limit of this client's keeps back. [Config.Outcome] can see
// statuses differently. A pod that answers 503 with Retry-After is spared for that
// long, five minutes at most, as long as the others can carry its load. A pod that
// cannot be reached is out of rotation until it answers again. A [Probe] asks pods
// besides.
//
// A request counts as in flight until its response body has been read to the
// end or closed, and an upgraded connection until it is closed. So close bodies, as
// net/http asks for anyway. A pod that terminates or leaves the Service finishes
// what it has in flight, within the DrainTimeout. One that is merely not ready
// finishes it without that limit, and takes its connections back when it returns.
//
// # Connections
//
// HTTP/1.1 and, with TLS, HTTP/2 are spoken as the base transport does, HTTP/2
// without TLS where the Service declares kubernetes.io/h2c as its appProtocol or
// Config.Protocols says so, and HTTP/1.1 where a request asks for an upgrade. No
// proxy is used on the way to pods. The limits of the base transport are those for
// each pod.
//
// Over HTTP/2, no more requests are sent on a connection than the server allows,
// from the first on. Nothing but requests is sent on a connection, so that no server
// can take offence; that a pod is gone without a word, TCP finds out within 16 s
// (by keepalive probes with the default Base, and on Linux by TCP_USER_TIMEOUT on
// HTTP/2 connections). That a process is frozen TCP cannot tell: a deadline, a [Probe] with a Path
// or, over HTTP/2, pings (see Config.Base) can. A server's Keep-Alive: timeout=N is
// heeded: a connection is given up a second before the server would close it.
//
// The connections are http.ClientConns, which the package keeps itself. A pod
// costs little more than its endpoint until something is sent to it, and no
// goroutine.
package httpbalancer
