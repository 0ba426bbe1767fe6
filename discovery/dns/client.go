package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/sidestep-lb/sidestep/internal/telemetry"
)

// A client asks servers for one thing at a time.
type client struct {
	servers  *servers
	timeout  time.Duration
	exchange exchangeFunc
}

// An exchangeFunc sends query to a server over "udp" or "tcp" and returns the
// answer to it, with whatever status.
type exchangeFunc func(ctx context.Context, network, server string, query *miekg.Msg) (*miekg.Msg, error)

// ask returns the first answer of a server that knows whether the name exists.
// A server that had to stand in for one that gave no answer at all is asked
// first for a while; a status such as SERVFAIL comes at once and costs nothing.
func (c *client) ask(ctx context.Context, name string, qtype uint16) (*miekg.Msg, error) {
	var failed error
	var silence bool
	for _, server := range c.order(qtype) {
		answer, err := c.askServer(ctx, server, name, qtype)
		if err == nil {
			if silence || server.index == 0 {
				c.servers.prefer(server)
			}
			return answer, nil
		}
		silence = silence || answer == nil
		err = fmt.Errorf("ask %s for %s %s: %w", server.addr, name, miekg.TypeToString[qtype], err)
		if failed == nil {
			failed = err
		} else {
			failed = fmt.Errorf("%w; %w", failed, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

// order returns the servers in the order in which to try them: each once, or as
// often as the option attempts says.
func (c *client) order(qtype uint16) []*server {
	order := c.servers.order(qtype)
	if rounds := c.servers.conf().Attempts; rounds > 1 {
		order = slices.Repeat(order, rounds)
	}
	return order
}

// patience returns for how long all servers may be asked for one answer, if there
// were but one of them.
func (c *client) patience() time.Duration {
	return c.limit() * time.Duration(max(1, c.servers.conf().Attempts))
}

// limit returns for how long to wait for one answer of one server.
func (c *client) limit() time.Duration {
	if conf := c.servers.conf(); conf.Timeout > 0 && !c.servers.timeoutGiven {
		return conf.Timeout
	}
	return c.timeout
}

// askServer returns an answer next to the error when it is its status that is
// the failure.
func (c *client) askServer(ctx context.Context, server *server, name string, qtype uint16) (*miekg.Msg, error) {
	plain := server.plain.Load()
	ask := func(plain bool) (*miekg.Msg, error) {
		query := newQuery(name, qtype, plain)
		query.AuthenticatedData = c.servers.conf().TrustAD
		return c.whole(ctx, server.addr, query)
	}
	answer, err := ask(plain)
	if err == nil && !plain && refusesEDNS(answer) {
		// "responders that choose not to implement the protocol extensions [...]
		// MUST respond with a return code of FORMERR" (RFC 6891, section 7)
		if answer, err = ask(true); err == nil && !refusesEDNS(answer) {
			server.plain.Store(true)
		}
	}
	if err != nil {
		telemetry.Count(telemetry.Answer, "none")
		return nil, err
	}
	telemetry.Count(telemetry.Answer, miekg.RcodeToString[answer.Rcode])
	return answer, checkStatus(answer)
}

// whole returns an answer without gaps, over TCP if it does not fit UDP or the
// option use-vc says so. One that does not fit TCP either is a part and says so in
// Truncated.
func (c *client) whole(ctx context.Context, server string, query *miekg.Msg) (*miekg.Msg, error) {
	network := "udp"
	if c.servers.conf().UseVC {
		network = "tcp"
	}
	answer, err := c.timed(ctx, network, server, query)
	if err != nil {
		return nil, err
	}
	if answer.Truncated && network == "udp" {
		if answer, err = c.timed(ctx, "tcp", server, query); err != nil {
			return nil, fmt.Errorf("the answer does not fit UDP, and TCP failed: %w", err)
		}
	}
	return answer, cutDown(answer)
}

func (c *client) timed(ctx context.Context, network, server string, query *miekg.Msg) (*miekg.Msg, error) {
	limit := c.limit()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %v", limit))
	defer cancel()
	return c.exchange(ctx, network, server, query)
}

// exchange is the exchangeFunc of the real world. Each query has a socket, and
// so a port, of its own, which an attacker would have to guess (RFC 5452).
func exchange(ctx context.Context, network, server string, query *miekg.Msg) (*miekg.Msg, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, server)
	if err != nil {
		return nil, exchangeError(ctx, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // ends what is under way
	defer stop()

	messages := &miekg.Conn{Conn: conn, UDPSize: udpSize}
	if err := messages.WriteMsg(query); err != nil {
		return nil, exchangeError(ctx, err)
	}
	var foreign error
	for {
		raw, err := messages.ReadMsgHeader(nil)
		switch {
		case errors.Is(err, miekg.ErrShortRead): // as foreign as a wrong ID
		case err != nil && foreign != nil:
			return nil, fmt.Errorf("%w, only a message that does not fit: %w", exchangeError(ctx, err), foreign)
		case err != nil:
			return nil, exchangeError(ctx, err)
		}
		answer, err := parseAnswer(query, raw)
		if errors.Is(err, errForeign) && network == "udp" {
			foreign = err // the right one may be on its way
			continue
		}
		return answer, err
	}
}

// exchangeError says why ctx ended if it did, and else what went wrong without
// the port of the client, which would make a new error of every one.
func exchangeError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}
