// Package dns is the discovery source of headless Services by DNS:
//
//	target, err := discovery.ParseTarget("headless:///quiz.kiada:grpc")
//	...
//	snapshot, err := discovery.Resolve(ctx, dns.System(), target)
//
// It needs no permission in the cluster. A port given by number is the pods'
// own and asks for A and AAAA records; one given by name asks for the SRV
// record _PORT._tcp, which brings the number. Names are absolute from the first
// query on: the search path serves only to learn the client's namespace and the
// cluster's domain. See the [specification] for the records of a cluster.
//
// The source asks again when the answer's TTL is over, and within Config.MinTTL
// when a user of the target reports trouble. A failed look-up (a server that
// does not answer, SERVFAIL, a malformed or a cut answer) keeps what was known,
// for as long as it takes. NXDOMAIN may mean that the Service is gone, that none
// of its pods is ready or that a DNS server has only just started, so it
// counts after it has been repeated for Config.HoldDown.
//
// DNS tells neither node nor zone of an endpoint, no hints, and nothing of pods
// that are not ready; discovery/kube knows all that and learns of changes at
// once. Of a dual-stack Service the IPv4 addresses are used. The name of a
// Service that is not headless leads to its cluster IP, which works and balances
// nothing.
//
// [specification]: https://github.com/kubernetes/dns/blob/master/docs/specification.md
package dns
