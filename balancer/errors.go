package balancer

import "errors"

// Errors of requests for which there is no backend; ErrBusy by Config.MaxInFlight.
var (
	ErrEmpty   = errors.New("no backends")
	ErrNoneFit = errors.New("no backend is fit")
	ErrBusy    = errors.New("all backends have as many requests in flight as they may have")
)
