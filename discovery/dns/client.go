package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	miekg "github.com/miekg/dns"
)

// A client asks servers for one thing at a time.
type client struct {
	servers  []string // HOST:PORT, in the order in which to try them
	timeout  time.Duration
	exchange exchangeFunc
}

// An exchangeFunc sends query to a server over "udp" or "tcp" and returns the
// answer to it, with whatever status.
type exchangeFunc func(ctx context.Context, network, server string, query *miekg.Msg) (*miekg.Msg, error)

// ask returns the first answer of a server that knows whether the name exists.
func (c *client) ask(ctx context.Context, name string, qtype uint16) (*miekg.Msg, error) {
	var failed error
	for _, server := range c.servers {
		answer, err := c.askServer(ctx, server, newQuery(name, qtype))
		if err == nil {
			return answer, nil
		}
		err = fmt.Errorf("ask %s for %s %s: %w", server, name, miekg.TypeToString[qtype], err)
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

func (c *client) askServer(ctx context.Context, server string, query *miekg.Msg) (*miekg.Msg, error) {
	answer, err := c.timed(ctx, "udp", server, query)
	if err != nil {
		return nil, err
	}
	if answer.Truncated {
		if answer, err = c.timed(ctx, "tcp", server, query); err != nil {
			return nil, fmt.Errorf("the answer does not fit UDP, and TCP failed: %w", err)
		}
	}
	if answer.Truncated { // a part must not pass for the whole
		return nil, errors.New("the answer is truncated even over TCP")
	}
	return answer, checkStatus(answer)
}

func (c *client) timed(ctx context.Context, network, server string, query *miekg.Msg) (*miekg.Msg, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("no answer within %v", c.timeout))
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
