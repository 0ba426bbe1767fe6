package httpbalancer

import (
	"fmt"
	"io"
	"net/http"

	"github.com/sidestep-lb/sidestep/health"
)

// watchBody sees to it that the exchange ends with the response's body.
func (x *exchange) watchBody(req *http.Request, resp *http.Response) {
	switch stream, ok := resp.Body.(io.ReadWriteCloser); {
	case resp.StatusCode == http.StatusSwitchingProtocols && ok:
		resp.Body = &upgradedBody{stream, x}
	case isBodyless(req, resp):
		x.end(health.Neutral)
	default:
		resp.Body = &responseBody{resp.Body, x}
	}
}

func isBodyless(req *http.Request, resp *http.Response) bool {
	return req.Method == http.MethodHead || resp.Body == http.NoBody || resp.ContentLength == 0 ||
		resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified
}

// A responseBody ends the exchange when it has been read to the end, failed or
// been closed.
type responseBody struct {
	io.ReadCloser
	exchange *exchange
}

func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.exchange.end(health.Neutral)
	}
	return n, err
}

func (b *responseBody) Close() error {
	err := b.ReadCloser.Close()
	b.exchange.end(health.Neutral)
	return err
}

// An upgradedBody is the connection after 101 Switching Protocols. The exchange
// lasts until it is closed: after the end of what there is to read there may be
// more to write.
type upgradedBody struct {
	io.ReadWriteCloser
	exchange *exchange
}

// CloseWrite is what httputil.ReverseProxy looks for.
func (b *upgradedBody) CloseWrite() error {
	if c, ok := b.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return fmt.Errorf("CloseWrite: %w", http.ErrNotSupported)
}

func (b *upgradedBody) Close() error {
	err := b.ReadWriteCloser.Close()
	b.exchange.end(health.Neutral)
	return err
}
