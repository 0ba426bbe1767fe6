// Package httpbalancer is an http.RoundTripper that sends requests to a
// Kubernetes Service straight to the best of its pods:
//
//	transport := httpbalancer.New(httpbalancer.Config{})
//	client := &http.Client{Transport: transport}
//	client.Get("http://quiz.kiada/questions")
//
// URLs name a Service as the cluster's DNS does (quiz, quiz.kiada,
// quiz.kiada.svc, quiz.kiada.svc.cluster.local), with the Service's port. The
// pod's own address shows nowhere: the Host header, the TLS server name,
// cookies, redirects and Response.Request are as if there were one server.
// Requests to all other hosts go through the base transport untouched.
//
// A request that certainly did not reach its backend is sent to another one. A
// request whose connection broke before the answer is, too, if it is
// idempotent and the retry budget allows; no other request is ever repeated. A
// backend that cannot be reached is out of rotation until it answers again.
//
// A request counts as in flight until its response body has been read to the
// end or closed, and a pod that leaves the Service finishes what it has in
// flight. So close bodies, as net/http asks for anyway.
//
// A status of 500 or more, and 429, counts as a failure of the pod: one that
// fails too often is ejected for a time, see package health. Other 4xx mean that
// the request was wrong and count for nothing. No status makes a request be sent
// again: a 503 is an answer, and the caller gets it. A [Probe] asks pods besides.
//
// The package does not use proxies on the way to pods.
package httpbalancer
