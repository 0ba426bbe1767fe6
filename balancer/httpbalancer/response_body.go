package httpbalancer

import (
	"context"
	"errors"
	"io"
	"net/http"
)

// answer makes the response the caller's, and sees to it that the attempt ends
// with its body.
func (x *attempt) answer(req *http.Request, resp *http.Response) {
	resp.Request = req
	switch {
	case isUpgraded(resp):
		stream := resp.Body.(io.ReadWriteCloser)
		x.body = stream
		resp.Body = &upgradedBody{x, stream}
	case isBodyless(req, resp):
		x.end()
	default:
		x.body = resp.Body
		resp.Body = x
	}
}

// isUpgraded reports whether the body of the response is the connection.
func isUpgraded(resp *http.Response) bool {
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return false
	}
	_, ok := resp.Body.(io.ReadWriteCloser)
	return ok
}

func isBodyless(req *http.Request, resp *http.Response) bool {
	return req.Method == http.MethodHead || resp.Body == http.NoBody || resp.ContentLength == 0 ||
		resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified
}

// Read reads from the body of the response. The attempt ends when it has been
// read to the end, failed or been closed. Unless the protocol has its status at the
// end, how the body ends is not held against the backend: it may have lain in a
// buffer since that died.
func (x *attempt) Read(p []byte) (int, error) {
	n, err := x.body.Read(p)
	x.late.write(p[:n])
	if err == nil {
		return n, nil
	}
	if x.life.is(stateInterrupted) && !errors.Is(err, io.EOF) {
		if err = context.Canceled; x.caller.Context != nil && x.caller.Context.Err() != nil {
			err = context.Cause(x.caller.Context)
		}
	}
	x.endWith(x.late.result(err))
	return n, err
}

// Close closes the body of the response.
func (x *attempt) Close() error {
	err := x.body.Close()
	x.endWith(x.late.result(errClosedEarly))
	return err
}

// An upgradedBody is the connection after 101 Switching Protocols. The attempt
// lasts until it is closed: after the end of what there is to read there may be
// more to write.
type upgradedBody struct {
	attempt *attempt
	io.ReadWriteCloser
}

// CloseWrite is what httputil.ReverseProxy looks for.
func (b *upgradedBody) CloseWrite() error {
	if c, ok := b.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return http.ErrNotSupported
}

func (b *upgradedBody) Close() error {
	err := b.ReadWriteCloser.Close()
	b.attempt.end()
	return err
}
