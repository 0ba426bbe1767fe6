package balancer

import (
	"errors"
)

// Errors of Pick.
var (
	// ErrEmpty says that there are no backends.
	ErrEmpty = errors.New("no backends")
	// ErrNoneFit says that there are backends and none is fit.
	ErrNoneFit = errors.New("no backend is fit")
	// ErrBusy says that each backend that is fit has as many requests in flight
	// as Config.MaxInFlight allows.
	ErrBusy = errors.New("all backends have as many requests in flight as they may have")
)
