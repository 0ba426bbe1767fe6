package httpbalancer

import (
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/sidestep-lb/sidestep/discovery/kube"
)

// explainBase adds to an error of the base transport why the host of the request was
// not taken for a Service, if its name reads as one, DNS does not know it, and there
// is no API server to ask. Without that, a program that runs outside of a cluster is
// told nothing but "no such host".
func (t *Transport) explainBase(req *http.Request, err error) error {
	unknown, ok := errors.AsType[*net.DNSError](err)
	if !ok || t.config.Source != nil || t.config.Target != nil {
		return err
	}
	host, ok := readHost(req.URL)
	if !ok || unknown.Name != req.URL.Hostname() {
		return err
	}
	missing := kube.InCluster().Available()
	if missing == nil {
		return err
	}
	return fmt.Errorf("%w; nor can it be looked up as the Service %s: %w", err, host.target, missing)
}
