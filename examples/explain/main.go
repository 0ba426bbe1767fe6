// Explain prints which endpoints serve a target, which of them a client here
// would use, and why, or else what is missing, such as a Role.
//
//	go run ./examples/explain k8s:///quiz.kiada:grpc
//
// In a pod it asks the cluster's API server with the pod's own rights. From
// elsewhere it takes that of kubectl proxy:
//
//	kubectl proxy &
//	go run ./examples/explain -host http://127.0.0.1:8001 k8s:///quiz.kiada:grpc
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/dns"
	"github.com/sidestep-lb/sidestep/discovery/hosts"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/static"
	"github.com/sidestep-lb/sidestep/discovery/topology"
)

func main() {
	host := flag.String("host", "", "the API server, such as http://127.0.0.1:8001 for kubectl proxy")
	at := topology.Here()
	flag.StringVar(&at.Node, "node", at.Node, "the node of the client")
	flag.StringVar(&at.Zone, "zone", at.Zone, "the zone of the client")
	timeout := flag.Duration("timeout", 10*time.Second, "how long to wait for an answer")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: explain [flags] TARGET, for example k8s:///quiz.kiada:grpc")
		os.Exit(2)
	}
	target, err := discovery.ParseTarget(flag.Arg(0))
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), *timeout)
		source := namedIn(hosts.System(), flag.Arg(0), target, sourceOf(target.Scheme, *host))
		err = explain(ctx, os.Stdout, source, target, at)
		cancel()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "explain:", err)
		os.Exit(1)
	}
}

func sourceOf(scheme, host string) discovery.Source {
	switch {
	case scheme == discovery.SchemeStatic:
		return static.Source{}
	case scheme == discovery.SchemeHeadless:
		return dns.System()
	case host != "":
		return kube.New(kube.Config{Host: host})
	default:
		return discovery.Fallback(kube.InCluster(), dns.System())
	}
}

// namedIn returns what serves a target that was written as text: the hosts file if
// that has the name, as for the programs of the pod, or else source.
func namedIn(file hosts.File, text string, target discovery.Target, source discovery.Source) discovery.Source {
	_, name, _ := strings.Cut(text, ":///")
	name, _, _ = strings.Cut(name, ":")
	if target.Scheme == discovery.SchemeStatic || !file.Has(name) {
		return source
	}
	return hosts.Source{File: file, Host: name, Next: source}
}

// explain returns an error if there is no answer, or no endpoint to use.
func explain(ctx context.Context, out io.Writer, source discovery.Source, target discovery.Target, at topology.Locality) error {
	sub := discovery.Watch(source, target)
	defer sub.Close()
	snapshot, err := discovery.Resolve(ctx, source, target)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, sub.Target())
	at = at.Infer(snapshot)
	if named, ok := source.(hosts.Source); ok && named.File.Has(named.Host) {
		fmt.Fprintf(out, "from %s, which has the name %s and goes before the Kubernetes API and DNS\n", named.File.Path(), named.Host)
	}
	if snapshot.Degraded != nil {
		fmt.Fprintln(out, "degraded:", snapshot.Degraded)
	}
	if topology.NeedsNode(snapshot, at) {
		fmt.Fprintln(out, "degraded:", topology.ErrNodeUnknown)
	}
	if snapshot.ClientAffinity {
		fmt.Fprintln(out, "note:", kube.ErrAffinity)
	}
	why := topology.Explain(snapshot, at)
	fmt.Fprintf(out, "client: %v\n%v\n\n", at, why)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "used\taddress\tpod\tnode\tzone\tconditions\twhy")
	for _, v := range why.Endpoints {
		e := v.Endpoint
		fmt.Fprintf(table, "%s\t%v\t%s\t%s\t%s\t%s\t%s\n", yes(v.Usable), e.Addr, or(e.Pod), or(e.Node), or(e.Zone), conditions(e), v.Why)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if why.Usable() == 0 {
		return snapshot.Unusable(sub.Target())
	}
	return nil
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func or(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func conditions(e discovery.Endpoint) string {
	var all []string
	if e.Ready {
		all = append(all, "ready")
	} else if e.Serving {
		all = append(all, "serving")
	}
	if e.Terminating {
		all = append(all, "terminating")
	}
	return or(strings.Join(all, ", "))
}
