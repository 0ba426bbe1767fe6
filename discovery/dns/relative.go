package dns

import (
	"context"
	"strings"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/podfiles"
)

// A relative name means what the search path of resolv.conf makes of it. That of a
// Service is completed before it is asked for, by the namespace and the domain that
// the search path tells. Two kinds are left:
//
//   - quiz-0.quiz-pods may be a pod of the client's own namespace, by its host name
//     and the headless Service that is its subdomain. It is asked for as such when
//     there is no Service of that name.
//   - quiz-0.quiz-pods.kiada, or db.example.com, may be any name that the search
//     path leads to, in the order of res_nsearch(3), with ndots.
//
// The name that had endpoints last is asked for first.

// names returns the absolute names of a canonical target, in the order in which to
// ask for them.
func (s *Source) names(target discovery.Target) []string {
	first := hostName(target)
	switch {
	case target.Service == "" && !strings.HasSuffix(target.Name, "."):
		conf, _ := podfiles.ReadResolvConf(s.config.ResolvConf) // without it there is no search path
		return conf.Names(target.Name)
	case target.Service != "" && target.Name != "":
		conf, _ := podfiles.ReadResolvConf(s.config.ResolvConf)
		for _, domain := range conf.Search {
			if _, rest, _ := strings.Cut(domain, "."); strings.HasPrefix(rest, "svc.") {
				return []string{first, target.Name + "." + domain + "."}
			}
		}
	}
	return []string{first}
}

// read looks up the target: in the hosts file, where its name counts as it is
// written, or else by its names until one has endpoints. A failure ends that, for
// the next name may be somebody else's, but where the search path has left the
// cluster: servers of the node's own domains may be out of reach.
func (l *lookup) read(ctx context.Context) (reading, error) {
	if r, found := l.fromHosts(); found {
		return r, nil
	}
	if len(l.names) < 2 {
		return l.readTarget(ctx)
	}
	var nothing reading
	var failed error
	for i := range l.names {
		name := (l.found + i) % len(l.names)
		one, itself := *l, l.names[name] == hostName(l.target)
		if !itself {
			one.target = discovery.Target{Scheme: l.target.Scheme, Name: l.names[name], Port: l.target.Port}
		}
		r, err := one.readTarget(ctx)
		switch {
		case err != nil && (ctx.Err() != nil || l.isOfCluster(l.names[name])):
			return reading{}, err
		case err != nil:
			failed = err
		case len(r.endpoints) > 0:
			l.found = name
			return r, nil
		case itself || nothing.reason == nil:
			nothing = r
		}
	}
	l.found = 0
	if failed != nil { // what it might have said is not known
		return reading{}, failed
	}
	return nothing, nil
}

// isOfCluster reports whether a name is in the cluster's domain.
func (l *lookup) isOfCluster(name string) bool {
	return strings.HasSuffix(name, "."+l.domain+".")
}
