package kubeapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/sidestep-lb/sidestep/internal/telemetry"
)

// Config says where an API server is and how to authenticate to it.
type Config struct {
	// Host is the server's URL, such as https://10.96.0.1:443. Without a scheme
	// it is taken for https.
	Host string
	// HTTPClient does the requests as it is, except for its Timeout, which would
	// end every watch; it must add whatever proves the user's identity. Nil is a
	// client of the package's own.
	HTTPClient *http.Client
	// TokenFile and CAFile hold a bearer token and the certificates to trust.
	// Both are read again when they may have changed. Empty means no token and
	// the system's certificates. They are for the own client only.
	TokenFile, CAFile string
}

// A Client does requests to one API server. It may be used from any goroutine.
type Client struct {
	base        *url.URL
	given       *http.Client // nil: own does the requests
	credentials credentials
	streaming   streaming
}

// NewClient returns a Client. It does no I/O; an error says what is wrong with
// the config's Host.
func NewClient(config Config) (*Client, error) {
	host := config.Host
	if !strings.Contains(host, "://") {
		host = "https://" + host
	}
	base, err := url.Parse(host)
	if err != nil {
		return nil, fmt.Errorf("host of the API server: %w", err)
	}
	if base.Host == "" || base.Scheme != "https" && base.Scheme != "http" {
		return nil, fmt.Errorf("host of the API server: %q is no http or https URL", config.Host)
	}
	c := &Client{
		base:        base,
		credentials: credentials{tokenFile: config.TokenFile, caFile: config.CAFile},
	}
	if config.HTTPClient != nil {
		given := *config.HTTPClient
		given.Timeout = 0
		c.given = &given
	}
	return c, nil
}

// CloseIdleConnections closes the connections of the Client's own that are not
// in use. Those of a client that was given are left to its owner.
func (c *Client) CloseIdleConnections() {
	if c.given == nil {
		c.credentials.closeIdleConnections()
	}
}

// get returns the body of a successful answer; the caller closes it. Other
// answers are a *StatusError. A 401 is tried once more with a token read afresh,
// and a certificate that is not trusted with the certificates read afresh,
// because both files are replaced while they are in use.
func (c *Client) get(ctx context.Context, path string, query url.Values) (body io.ReadCloser, err error) {
	verb := "list"
	if query.Has("watch") {
		verb = "watch"
	}
	telemetry.Count(telemetry.Request, verb)
	defer func() {
		if err != nil && ctx.Err() == nil {
			telemetry.Count(telemetry.Failure, verb)
		}
	}()
	resp, err := c.do(ctx, path, query, false)
	if wrong := (*tls.CertificateVerificationError)(nil); errors.As(err, &wrong) && c.given == nil && c.credentials.distrust() {
		resp, err = c.do(ctx, path, query, false)
	}
	if err != nil {
		return nil, c.explain(err)
	}
	if resp.StatusCode == http.StatusUnauthorized && c.given == nil && c.credentials.tokenFile != "" {
		resp.Body.Close()
		if resp, err = c.do(ctx, path, query, true); err != nil {
			return nil, c.explain(err)
		}
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, responseError(resp)
	}
	return resp.Body, nil
}

// explain leaves out the long URL that net/http puts into its errors.
func (c *Client) explain(err error) error {
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		err = urlErr.Err
	}
	return fmt.Errorf("API server %s: %w", c.base.Host, err)
}

func (c *Client) do(ctx context.Context, path string, query url.Values, freshToken bool) (*http.Response, error) {
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", userAgent)
	if c.given != nil {
		return c.given.Do(req)
	}
	token, err := c.credentials.token(freshToken)
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client, err := c.credentials.client()
	if err != nil {
		return nil, err
	}
	return client.Do(req)
}

// userAgent tells the server's operators who is asking. It does without the
// version: to find that out weighs more than it is worth.
const userAgent = "sidestep (+https://github.com/sidestep-lb/sidestep)"
