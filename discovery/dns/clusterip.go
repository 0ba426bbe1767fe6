package dns

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	miekg "github.com/miekg/dns"
)

// errClusterIP is why a Snapshot with a cluster IP is less than was asked for.
var errClusterIP = errors.New("the address is a cluster IP, which balances connections, not requests: " +
	"make the Service headless (clusterIP: None), or let k8s:/// read its endpoints from the Kubernetes API")

// isVirtual reports whether the SRV records are those of a Service with a
// cluster IP: they lead to the name of the Service itself, where those of a
// headless one lead to names below it (Kubernetes DNS specification, 2.3.2 and
// 2.4.2).
func (l *lookup) isVirtual(services []miekg.RR) bool {
	return l.target.Service != "" && !slices.ContainsFunc(services, func(rr miekg.RR) bool {
		return !l.isHost(rr.(*miekg.SRV).Target)
	})
}

// soleAddress returns the address that is all that r found, where nothing else
// tells a cluster IP from the one pod of a headless Service.
func (l *lookup) soleAddress(r reading) netip.Addr {
	if len(r.endpoints) != 1 || l.target.Service == "" || l.target.Port.Number == 0 {
		return netip.Addr{}
	}
	return r.endpoints[0].Addr.Addr()
}

// isClusterIP asks whether addr is the cluster IP of the Service: its PTR record
// leads to the name of the Service, that of a pod to a name below it
// (Kubernetes DNS specification, 2.3.3 and 2.4.3). Where there is no answer, it
// is taken for a pod's.
func (l *lookup) isClusterIP(ctx context.Context, addr netip.Addr) bool {
	ctx, cancel := context.WithTimeout(ctx, l.config.Timeout)
	defer cancel()
	name, err := miekg.ReverseAddr(addr.String())
	if err != nil {
		return false
	}
	r, err := l.client.records(ctx, name, miekg.TypePTR)
	return err == nil && slices.ContainsFunc(r.found, func(rr miekg.RR) bool {
		ptr, ok := rr.(*miekg.PTR)
		return ok && l.isHost(ptr.Ptr)
	})
}

// isHost reports whether name is that of the target itself.
func (l *lookup) isHost(name string) bool {
	return miekg.CanonicalName(name) == miekg.CanonicalName(hostName(l.target))
}
