package lb

import (
	"context"

	"github.com/go-kratos/kratos/v2/selector"
	"github.com/go-kratos/kratos/v2/selector/p2c"
)

// A kratosLoad is one of Kratos' selector, at its own interface.
type kratosLoad struct{ selector.Selector }

func newKratosLoad(n int) kratosLoad {
	var nodes []selector.Node
	for _, e := range endpoints(n) {
		nodes = append(nodes, selector.NewNode("grpc", e.Addr.String(), nil))
	}
	l := kratosLoad{p2c.New()}
	l.Apply(nodes)
	return l
}

// run implements load.
func (l kratosLoad) run(s shift) (picks int, err error) {
	ctx := context.Background()
	var open [InFlight]selector.DoneFunc
	for picks < s.limit && !s.stop.Load() {
		slot := &open[picks%InFlight]
		if *slot != nil {
			(*slot)(ctx, selector.DoneInfo{BytesSent: true, BytesReceived: true})
		}
		_, done, err := l.Select(ctx)
		if err != nil {
			return picks, err
		}
		*slot = done
		picks++
	}
	for _, done := range open {
		if done != nil {
			done(ctx, selector.DoneInfo{})
		}
	}
	return picks, nil
}

// end implements load.
func (l kratosLoad) end() {}
