package main

// throttle is gRPC's retry throttling (gRFC A6) with the values of its example:
// no retries while half of the tokens are gone.
type throttle struct{ tokens float64 }

const (
	a6MaxTokens  = 10
	a6TokenRatio = 0.1
)

func (t *throttle) deposit() {}

func (t *throttle) observe(o outcome) {
	if o == success {
		t.tokens = min(a6MaxTokens, t.tokens+a6TokenRatio)
	} else {
		t.tokens = max(0, t.tokens-1)
	}
}

func (t *throttle) withdraw(int64) bool { return t.tokens > a6MaxTokens/2 }

// throttled is a peer with gRPC's retry throttling.
func throttled(k contestant) contestant {
	k.name += " + throttle"
	k.budget = func(*world) budget { return &throttle{tokens: a6MaxTokens} }
	return k
}
