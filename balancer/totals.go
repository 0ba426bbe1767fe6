package balancer

// A Total is what the Balancers of one target and adapter have counted together,
// those that are closed among them. It only grows.
type Total struct {
	Target, Adapter string
	// Requests are those that have ended, by zone of the backend.
	Requests map[string]Outcomes
	Counts   Counts
}
