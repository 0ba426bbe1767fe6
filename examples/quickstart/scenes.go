package main

import (
	"context"
	"os"
	"sync"
	"time"
)

// A scene is something that happens to a Service.
type scene struct {
	name string
	play func(ctx context.Context, c *cluster) error
}

var scenes = []scene{
	{"3 pods become ready", func(ctx context.Context, c *cluster) error { return c.scaleUp(ctx, 3) }},
	{"scale up from 3 to 6", func(ctx context.Context, c *cluster) error { return c.scaleUp(ctx, 3) }},
	{"rolling restart", func(ctx context.Context, c *cluster) error { return c.restart(ctx) }},
	{"a pod dies without a word", func(ctx context.Context, c *cluster) error {
		c.kill(ctx)
		return nil
	}},
	{"API server down, and a pod dies", func(ctx context.Context, c *cluster) error {
		c.apiServerDown()
		c.kill(ctx)
		return nil
	}},
}

// A span is the time that a scene took.
type span struct {
	from, to time.Time
	ready    int // how many pods were ready at its end
}

// run plays all scenes and returns the number of requests over the SDK that
// failed.
func run(ctx context.Context, out *os.File, length time.Duration, rate int) (failed int, err error) {
	c, err := startCluster()
	if err != nil {
		return 0, err
	}
	defer c.close()
	all, err := newClients(c)
	if err != nil {
		return 0, err
	}
	defer all.close()

	traffic, stop := context.WithCancel(ctx)
	var driver sync.WaitGroup
	defer driver.Wait()
	defer stop()

	view := newView(out, c, all.ways)
	var spans []span
	for i, s := range scenes {
		from := time.Now()
		view.begin(i+1, s.name)
		if err := s.play(ctx, c); err != nil {
			return 0, err
		}
		if i == 0 { // a service without pods answers nobody, whoever asks
			from = time.Now()
			driver.Go(func() { drive(traffic, all.ways, rate) })
		}
		if err := view.watch(ctx, time.Until(from.Add(length))); err != nil {
			return 0, err
		}
		spans = append(spans, span{from, time.Now(), len(c.inState(ready))})
		view.end()
	}
	if err := c.apiServerUp(); err != nil {
		return 0, err
	}
	stop()
	driver.Wait()
	return view.summary(spans), nil
}
