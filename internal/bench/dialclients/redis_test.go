//go:build linux

package dialclients

import (
	"context"
	"crypto/tls"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/sidestep-lb/sidestep/balancer/dialbalancer"
)

// startRedis runs a Redis as the i-th pod.
func (c *cluster) startRedis(i int) (stop func()) {
	c.t.Helper()
	port := strconv.Itoa(c.port)
	return start(c.t, net.JoinHostPort(c.addr(i), port), installed(c.t, "redis-server", "redis-server"),
		"--bind", c.addr(i), "--port", port, "--save", "", "--appendonly", "no", "--protected-mode", "no")
}

// goRedis is the recipe.
func goRedis(t *testing.T, d *dialbalancer.Dialer) *redis.Client {
	rdb := redis.NewClient(&redis.Options{
		Addr:         "store.shop:6379",
		Dialer:       d.DialContext,
		PoolSize:     12,
		MinIdleConns: 12,
		PoolFIFO:     true,
	})
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

func TestGoRedisFailsNoCommandWhilePodsComeAndGo(t *testing.T) {
	c := newCluster(t)
	stop := c.startRedis(0)
	for i := 1; i < 6; i++ {
		c.startRedis(i)
	}
	c.publish(0, 1, 2)
	d, _ := c.dialer(dialbalancer.Config{RebalanceOver: time.Second})
	rdb := goRedis(t, d)
	l := startLoad(t, 8, func(ctx context.Context) error { return rdb.Set(ctx, "k", "v", 0).Err() })
	l.during(300 * time.Millisecond)

	c.publish(0, 1, 2, 3, 4, 5)
	eventually(t, func() bool {
		counts := conns(t)
		most, all := 0, 0
		for _, n := range counts {
			most = max(most, n)
			all += n
		}
		return len(counts) == 6 && all >= 12 && most <= 2
	}, "after a scale-up from 3 to 6 the 12 connections are not shared out anew: %v", conns(t))

	c.publish(1, 2, 3, 4, 5)
	l.during(500 * time.Millisecond) // a preStop hook, or what it takes Redis to shut down
	stop()
	l.during(500 * time.Millisecond)
	l.end(t)
}

func TestGoRedisTakesAllConnectionsInTurnWithPoolFIFO(t *testing.T) {
	c := newCluster(t)
	for i := range 3 {
		c.startRedis(i)
	}
	c.publish(0, 1, 2)
	for _, fifo := range []bool{false, true} {
		d, _ := c.dialer(dialbalancer.Config{})
		rdb := redis.NewClient(&redis.Options{Addr: "store.shop:6379", Dialer: d.DialContext, PoolSize: 3, MinIdleConns: 3, PoolFIFO: fifo})
		eventually(t, func() bool { return rdb.PoolStats().IdleConns == 3 }, "there are no idle connections")
		pods := make(map[string]int)
		for range 30 {
			info, err := rdb.Info(t.Context(), "server").Result()
			if err != nil {
				t.Fatal(err)
			}
			_, id, _ := strings.Cut(info, "run_id:")
			pods[id[:40]]++
		}
		if want := map[bool]int{false: 1, true: 3}[fifo]; len(pods) != want {
			t.Errorf("with PoolFIFO %v, 30 commands went to %d pods, want %d", fifo, len(pods), want)
		}
		rdb.Close()
		d.Close()
	}
}

func TestGoRedisFailsWithoutDialingForASecondAfterPoolSizeFailedDials(t *testing.T) {
	c := newCluster(t)
	c.publish(0, 1, 2) // and nobody listens
	d, dials := c.dialer(dialbalancer.Config{})
	rdb := redis.NewClient(&redis.Options{Addr: "store.shop:6379", Dialer: d.DialContext, PoolSize: 2, DialerRetryTimeout: time.Millisecond, MaxRetries: -1})
	defer rdb.Close()
	for range 2 {
		if err := rdb.Ping(t.Context()).Err(); err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Fatalf("got %v, want that it was refused", err)
		}
	}
	// Two commands, five dials each: the first call of DialContext tries all three pods,
	// the others one each. Redials come on top, after 125 ms at the earliest.
	before := dials.Load()
	if before < 3 || before > 3+9+6 {
		t.Errorf("two commands came to %d dials, want about 12", before)
	}
	began := time.Now()
	for range 100 {
		rdb.Ping(t.Context())
	}
	if n := dials.Load() - before; time.Since(began) < 500*time.Millisecond && n > 12 {
		t.Errorf("100 further commands came to %d dials, want those of redials only", n)
	}
	c.startRedis(1)
	eventually(t, func() bool { return rdb.Ping(t.Context()).Err() == nil }, "the client does not recover")
}

func TestGoRedisLeavesTLSToItsDialer(t *testing.T) {
	c := newCluster(t)
	l, err := net.Listen("tcp", net.JoinHostPort(c.addr(0), strconv.Itoa(c.port)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	first := make(chan byte, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 1)
			conn.Read(b)
			first <- b[0]
			conn.Close()
		}
	}()
	c.publish(0)
	d, _ := c.dialer(dialbalancer.Config{})
	config := &tls.Config{}
	const handshake = 0x16 // of TLS; Redis' protocol begins with '*'
	for _, test := range []struct {
		options redis.Options
		want    byte
	}{
		{redis.Options{Dialer: d.DialContext, TLSConfig: config}, '*'},
		{redis.Options{Dialer: d.TLS(config)}, handshake},
	} {
		test.options.Addr, test.options.MaxRetries, test.options.DialerRetries = "store.shop:6379", -1, 1
		rdb := redis.NewClient(&test.options)
		rdb.Ping(t.Context())
		if got := <-first; got != test.want {
			t.Errorf("the first byte is %#x, want %#x", got, test.want)
		}
		rdb.Close()
	}
}

// rueidisClient is the recipe.
func rueidisClient(t *testing.T, d *dialbalancer.Dialer) rueidis.Client {
	t.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress:       []string{"store.shop:6379"},
		ForceSingleClient: true,
		DialCtxFn: func(ctx context.Context, address string, _ *net.Dialer, config *tls.Config) (net.Conn, error) {
			if config != nil {
				return d.TLS(config)(ctx, "tcp", address)
			}
			return d.DialContext(ctx, "tcp", address)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func TestRueidisLeavesADemotedPrimaryIfItsConnectionsCloseAtOnce(t *testing.T) {
	for _, removal := range []dialbalancer.Removal{dialbalancer.CloseAtOnce, dialbalancer.CloseAfterDrainTimeout} {
		c := newCluster(t)
		c.startRedis(0)
		c.startRedis(1)
		c.publish(0) // the Service selects the primary
		d, _ := c.dialer(dialbalancer.Config{Removal: removal})
		client := rueidisClient(t, d)
		set := func() error { return client.Do(t.Context(), client.B().Set().Key("k").Value("v").Build()).Error() }
		if err := set(); err != nil {
			t.Fatal(err)
		}
		admin := redis.NewClient(&redis.Options{Addr: net.JoinHostPort(c.addr(0), strconv.Itoa(c.port))})
		if err := admin.SlaveOf(t.Context(), c.addr(1), strconv.Itoa(c.port)).Err(); err != nil {
			t.Fatal(err)
		}
		admin.Close()
		c.publish(1) // which is another pod now
		if removal == dialbalancer.CloseAtOnce {
			eventually(t, func() bool { return set() == nil }, "writes do not reach the new primary")
		} else if eventually(t, func() bool { return len(conns(t)) == 1 && conns(t)["store-1"] == 0 }, "the pod is not removed"); set() == nil {
			t.Error("rueidis has left the demoted primary by itself: docs/dial.md says that it does not")
		}
		client.Close()
		d.Close()
	}
}

func TestRueidisSpreadsItsConnectionsAndSurvivesARemoval(t *testing.T) {
	c := newCluster(t)
	stop := c.startRedis(0)
	c.startRedis(1)
	c.publish(0, 1)
	d, _ := c.dialer(dialbalancer.Config{Removal: dialbalancer.CloseAtOnce})
	client := rueidisClient(t, d)
	l := startLoad(t, 4, func(ctx context.Context) error { // rueidis repeats what only reads
		return client.Do(ctx, client.B().Exists().Key("k").Build()).Error()
	})
	l.during(200 * time.Millisecond)
	c.publish(1)
	l.during(200 * time.Millisecond)
	stop()
	l.during(200 * time.Millisecond)
	l.end(t)
}
