//go:build linux

package dialclients

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sidestep-lb/sidestep/balancer/dialbalancer"
)

// A postgres is a pod that answers each query with its name, and no TLS.
type postgres struct {
	name    string
	cancels atomic.Int64 // requests to cancel a query

	mu    sync.Mutex
	conns map[net.Conn]struct{} // guarded by mu
}

func (c *cluster) startPostgres(i int) (p *postgres, stop func()) {
	c.t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(c.addr(i), strconv.Itoa(c.port)))
	if err != nil {
		c.t.Fatal(err)
	}
	p = &postgres{name: "store-" + strconv.Itoa(i), conns: make(map[net.Conn]struct{})}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns[conn] = struct{}{}
			p.mu.Unlock()
			wg.Go(func() { p.serve(conn) })
		}
	})
	stop = sync.OnceFunc(func() {
		l.Close()
		p.mu.Lock()
		for conn := range p.conns {
			conn.Close()
		}
		p.mu.Unlock()
		wg.Wait()
	})
	c.t.Cleanup(stop)
	return p, stop
}

func (p *postgres) serve(conn net.Conn) {
	defer func() {
		conn.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, conn)
	}()
	b := pgproto3.NewBackend(conn, conn)
	for {
		message, err := b.ReceiveStartupMessage()
		if err != nil {
			return
		}
		switch message.(type) {
		case *pgproto3.SSLRequest:
			conn.Write([]byte("N"))
			continue
		case *pgproto3.CancelRequest:
			p.cancels.Add(1)
			return
		}
		break
	}
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.ParameterStatus{Name: "standard_conforming_strings", Value: "on"})
	b.Send(&pgproto3.ParameterStatus{Name: "client_encoding", Value: "UTF8"})
	b.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{1, 2, 3, 4}})
	for {
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		if b.Flush() != nil {
			return
		}
		message, err := b.Receive()
		if err != nil {
			return
		}
		query, ok := message.(*pgproto3.Query)
		if !ok {
			return
		}
		if query.String == "hang" {
			b.Receive() // which ends with the connection
			return
		}
		b.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("name"), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1}}})
		b.Send(&pgproto3.DataRow{Values: [][]byte{[]byte(p.name)}})
		b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
	}
}

const dsn = "postgres://user@store.shop:5432/db?default_query_exec_mode=simple_protocol&sslmode="

// byName is for a LookupFunc: the Dialer wants the name of the Service.
func byName(_ context.Context, host string) ([]string, error) { return []string{host}, nil }

// isStale is for the hooks of pools.
func isStale(c *pgx.Conn) bool {
	own, ok := dialbalancer.ConnOf(c.PgConn().Conn())
	return ok && own.Stale()
}

// newPGXPool is the recipe.
func newPGXPool(t *testing.T, d *dialbalancer.Dialer, sslmode string) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(dsn + sslmode)
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.DialFunc = d.DialContext
	config.ConnConfig.LookupFunc = byName
	config.PrepareConn = func(_ context.Context, c *pgx.Conn) (bool, error) { return !isStale(c), nil }
	config.MaxConns = 8
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func TestPGXPoolFailsNoQueryWhilePodsComeAndGo(t *testing.T) {
	c := newCluster(t)
	_, stop := c.startPostgres(0)
	c.startPostgres(1)
	c.startPostgres(2)
	c.publish(0, 1)
	d, _ := c.dialer(dialbalancer.Config{RebalanceOver: time.Second})
	pool := newPGXPool(t, d, "disable")
	var mu sync.Mutex
	served := make(map[string]int)
	l := startLoad(t, 8, func(ctx context.Context) error {
		var name string
		err := pool.QueryRow(ctx, "select").Scan(&name)
		mu.Lock()
		defer mu.Unlock()
		served[name]++
		return err
	})
	l.during(300 * time.Millisecond)
	c.publish(0, 1, 2)
	eventually(t, func() bool { return conns(t)["store-2"] >= 2 }, "the pod that came has no connections: %v", conns(t))
	c.publish(1, 2)
	l.during(500 * time.Millisecond)
	stop()
	l.during(300 * time.Millisecond)
	l.end(t)
	if len(served) != 3 {
		t.Errorf("queries went to %v", served)
	}
}

func TestPGXDialsTheNameOnlyWithALookupFunc(t *testing.T) {
	c := newCluster(t)
	c.startPostgres(0)
	c.startPostgres(1)
	c.publish(0, 1)
	d, _ := c.dialer(dialbalancer.Config{})
	for name, lookup := range map[string]func(context.Context, string) ([]string, error){
		"store.shop": byName,
		c.addr(0):    func(context.Context, string) ([]string, error) { return []string{c.addr(0)}, nil }, // as DNS does for a headless Service
	} {
		config, err := pgx.ParseConfig(dsn + "disable")
		if err != nil {
			t.Fatal(err)
		}
		config.Port = uint16(c.port)
		config.LookupFunc = lookup
		var dialed string
		config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			dialed, _, _ = net.SplitHostPort(address)
			return d.DialContext(ctx, network, address)
		}
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		if own, ok := dialbalancer.ConnOf(conn.PgConn().Conn()); !ok || dialed != name || name != "store.shop" && own.Endpoint().Pod != "store-0" {
			t.Errorf("dialed %s, want %s, and got %v", dialed, name, own)
		}
		conn.Close(t.Context())
	}
}

func TestPGXDialsTwiceWithSSLModePrefer(t *testing.T) {
	c := newCluster(t)
	c.startPostgres(0)
	c.publish(0)
	d, dials := c.dialer(dialbalancer.Config{})
	for sslmode, want := range map[string]int64{"prefer": 2, "disable": 1} {
		before := dials.Load()
		config, err := pgx.ParseConfig(dsn + sslmode)
		if err != nil {
			t.Fatal(err)
		}
		config.DialFunc, config.LookupFunc = d.DialContext, byName
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close(t.Context())
		if n := dials.Load() - before; n != want {
			t.Errorf("with sslmode=%s there were %d dials, want %d", sslmode, n, want)
		}
	}
}

func TestPGXCancelsAtThePodThatHasTheQuery(t *testing.T) {
	c := newCluster(t)
	var pods []*postgres
	for i := range 3 {
		p, _ := c.startPostgres(i)
		pods = append(pods, p)
	}
	c.publish(0, 1, 2)
	d, _ := c.dialer(dialbalancer.Config{})
	config, err := pgx.ParseConfig(dsn + "disable")
	if err != nil {
		t.Fatal(err)
	}
	config.DialFunc, config.LookupFunc = d.DialContext, byName
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	own, _ := dialbalancer.ConnOf(conn.PgConn().Conn())
	if err := conn.PgConn().CancelRequest(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		if n, want := p.cancels.Load(), int64(0); p.name == own.Endpoint().Pod && n != 1 || p.name != own.Endpoint().Pod && n != want {
			t.Errorf("%s got %d requests to cancel; the query is at %s", p.name, n, own.Endpoint().Pod)
		}
	}
}

// openDB is the recipe.
func openDB(t *testing.T, d *dialbalancer.Dialer) *sql.DB {
	t.Helper()
	config, err := pgx.ParseConfig(dsn + "disable")
	if err != nil {
		t.Fatal(err)
	}
	config.DialFunc, config.LookupFunc = d.DialContext, byName
	db := stdlib.OpenDB(*config, stdlib.OptionResetSession(func(_ context.Context, c *pgx.Conn) error {
		if isStale(c) {
			return driver.ErrBadConn // database/sql takes another one
		}
		return nil
	}))
	t.Cleanup(func() { db.Close() })
	return db
}

func TestDatabaseSQLTakesTheConnectionThatCameBackLast(t *testing.T) {
	c := newCluster(t)
	for i := range 3 {
		c.startPostgres(i)
	}
	c.publish(0, 1, 2)
	d, _ := c.dialer(dialbalancer.Config{})
	db := openDB(t, d)
	db.SetMaxIdleConns(3)
	var open []*sql.Conn
	for range 3 {
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	for _, conn := range open {
		conn.Close()
	}
	for pod, n := range conns(t) {
		if n != 1 {
			t.Errorf("%s has %d connections, want 1", pod, n)
		}
	}
	served := make(map[string]int)
	for range 30 {
		var name string
		if err := db.QueryRow("select").Scan(&name); err != nil {
			t.Fatal(err)
		}
		served[name]++
	}
	if len(served) != 1 {
		t.Errorf("queries one after the other went to %v: docs/dial.md says to one pod", served)
	}
}

func TestDatabaseSQLFailsNoQueryWhenAPodIsRemoved(t *testing.T) {
	c := newCluster(t)
	_, stop := c.startPostgres(0)
	c.startPostgres(1)
	c.publish(0, 1)
	d, _ := c.dialer(dialbalancer.Config{})
	db := openDB(t, d)
	db.SetMaxOpenConns(6)
	db.SetMaxIdleConns(6)
	l := startLoad(t, 6, func(ctx context.Context) error {
		var name string
		return db.QueryRowContext(ctx, "select").Scan(&name)
	})
	l.during(300 * time.Millisecond)
	c.publish(1)
	l.during(500 * time.Millisecond)
	stop()
	l.during(300 * time.Millisecond)
	l.end(t)
}
