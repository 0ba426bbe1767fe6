// Package dns is the discovery source of headless Services by DNS:
//
//	target, err := discovery.ParseTarget("headless:///quiz.kiada:grpc")
//	...
//	snapshot, err := discovery.Resolve(ctx, dns.System(), target)
//
// It needs no permission in the cluster. A port given by number is the pods'
// own and asks for A and AAAA records; one given by name asks for the SRV
// record _PORT._tcp, which brings the number. See the [specification] for the
// records of a cluster.
//
// The name of a Service is completed by the namespace and the domain that Config
// or the search path of resolv.conf tells, and then asked for as an absolute name.
// Other relative names go through the search path, with ndots: quiz-0.quiz-pods is a
// pod of the client's own namespace, unless there is such a Service. A name with a
// last dot is absolute, and one that the hosts file has, as it is written, is served
// by what that says.
//
// The options of resolv.conf are obeyed: timeout, attempts, rotate, use-vc,
// single-request, single-request-reopen, no-aaaa, trust-ad, edns0, no-tld-query and
// no-reload. Those that have no effect here are logged once. The environment's
// RES_OPTIONS and LOCALDOMAIN go before the file, as resolv.conf(5) says.
//
// The source asks again when the answer's TTL is over, and within Config.MinTTL
// when a user of the target reports trouble. A failed look-up (a server that
// does not answer, SERVFAIL, a malformed or a cut answer) keeps what was known,
// for as long as it takes. NXDOMAIN may mean that the Service is gone, to be
// made anew perhaps, or that none of its pods is ready, which need not be the
// end of them. So it counts after it has been repeated for Config.HoldDown, and
// much sooner when a user reports trouble, as the end of a pod makes for.
//
// A look-up by number costs one query per address family, one by name a single
// query where the server adds the addresses of the pods, as CoreDNS does, up to
// the 64 KB that an answer over TCP may have: some 750 pods. Where it leaves them
// out each pod is asked for, 8 at a time, when its own TTL is over.
//
// A part of an answer is never taken for the whole. A host of an SRV answer that
// cannot be looked up has the addresses that it had, and the others are used
// (RFC 2782). An answer that is truncated even over TCP, of some 1000 pods by name
// or 4000 by number, adds endpoints and takes none away. The Snapshot says so in
// Degraded, and it is logged. Use discovery/kube for Services of that size.
//
// All targets of a Source share what is learnt of its servers: a server that
// stands in for one that does not answer is asked first for 30 s, and one that
// refuses EDNS0 is asked without it. A resolv.conf that changes is read again;
// one that cannot be used changes nothing and is logged.
//
// DNS tells neither node nor zone of an endpoint, no hints, and nothing of pods
// that are not ready; discovery/kube knows all that and learns of changes at
// once. Of a dual-stack Service the IPv4 addresses are used. Of SRV records,
// those of the lowest priority that has addresses are used, by weight where the
// weights differ (RFC 2782); Kubernetes makes all equal.
//
// The name of a Service that is not headless leads to its cluster IP, which
// works and balances connections, not requests. The Snapshot says so in Degraded,
// and it is logged. With a port number, a cluster IP looks like the one pod of a
// headless Service, so the PTR record of an address that is alone is asked for.
//
// [specification]: https://github.com/kubernetes/dns/blob/master/docs/specification.md
package dns
