package httpbalancer

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/health"
)

// A Probe asks the pods of a Service whether they are well, with requests of
// its own. A pod is out of rotation from the third probe in a row that fails
// until one succeeds. It is for what neither the readiness that Kubernetes sees
// nor the outcomes of requests show, such as a pod that this client alone cannot
// reach; most clients need none.
type Probe struct {
	// Path is what to GET, such as /healthz; a status of 200 to 399 is a success.
	// Empty means to connect and no more, TLS included where requests need it.
	Path string
	// TLS sends the request by https.
	TLS bool
	// Interval is the time between two probes of a pod. The default is 10
	// seconds. The first comes at a random moment of the first interval.
	Interval time.Duration
	// Timeout is for one probe. The default is 1 second.
	Timeout time.Duration
}

const (
	defaultProbeInterval = 10 * time.Second
	defaultProbeTimeout  = time.Second
	maxProbes            = 16       // of a Transport at the same time
	maxProbeBody         = 64 << 10 // what a longer body costs is a connection
)

func (p *Probe) validate() error {
	switch {
	case p == nil:
		return nil
	case p.Path != "" && !strings.HasPrefix(p.Path, "/"):
		return fmt.Errorf("Probe.Path: %q does not begin with a slash", p.Path)
	case p.Interval < 0:
		return fmt.Errorf("Probe.Interval: %v is negative", p.Interval)
	case p.Timeout < 0:
		return fmt.Errorf("Probe.Timeout: %v is negative", p.Timeout)
	}
	return nil
}

// withDefaults returns the probe with its defaults filled in; nil if there is none.
func (p *Probe) withDefaults() *Probe {
	if p == nil {
		return nil
	}
	filled := *p
	if filled.Interval == 0 {
		filled.Interval = defaultProbeInterval
	}
	if filled.Timeout == 0 {
		filled.Timeout = defaultProbeTimeout
	}
	return &filled
}

// A prober probes one backend. Between probes there is a timer and no
// goroutine.
type prober struct {
	conn    *backendConn     // read-only
	backend *adapter.Backend // read-only
	probe   *Probe           // read-only

	mu      sync.Mutex
	timer   *time.Timer // guarded by mu
	stopped bool        // guarded by mu

	found health.Probing // for one probe at a time
}

func (p *prober) start() {
	if p.probe != nil {
		p.schedule(time.Duration(rand.Int64N(int64(p.probe.Interval))))
	}
}

func (p *prober) schedule(after time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopped {
		p.timer = time.AfterFunc(after, p.run)
	}
}

// stop lets a probe that is running finish. There is none after it.
func (p *prober) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	if p.timer != nil {
		p.timer.Stop()
	}
}

func (p *prober) run() {
	if !p.conn.begin() {
		return
	}
	defer p.conn.pool.conns.Done()
	turn := p.conn.pool.transport.probes
	select {
	case turn <- struct{}{}:
	case <-p.conn.lifetime().Done():
		return
	}
	ctx, cancel := context.WithTimeout(p.conn.lifetime(), p.probe.Timeout)
	err := p.try(ctx)
	cancel()
	<-turn
	if p.conn.lifetime().Err() == nil && p.found.Observe(err == nil) {
		p.backend.SetProbesFailing(p.found.Sick())
	}
	// A tenth more or less each time keeps probes of many pods apart.
	p.schedule(p.probe.Interval*9/10 + time.Duration(rand.Int64N(int64(p.probe.Interval/5)+1)))
}

// key says what kind of connection a probe without a request makes: that of requests.
func (p *prober) key() poolKey {
	if l := p.conn.main.Load(); l != nil {
		return l.key
	}
	if p.probe.TLS {
		return poolKey{host: hostPort(&url.URL{Scheme: "https", Host: p.conn.pool.host()})}
	}
	return poolKey{}
}

func (p *prober) try(ctx context.Context) error {
	if p.probe.Path == "" {
		return p.conn.tryConnect(ctx, p.key())
	}
	scheme := "http://"
	if p.probe.TLS {
		scheme = "https://"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+p.conn.pool.host()+p.probe.Path, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "sidestep-probe")
	resp, err := p.conn.ask(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode >= 400 {
		err = fmt.Errorf("status %s", resp.Status)
	}
	if _, readErr := io.Copy(io.Discard, io.LimitReader(resp.Body, maxProbeBody)); err == nil {
		err = readErr
	}
	return err
}
