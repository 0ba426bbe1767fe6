package balancer

// A Total is what the Balancers of one target and adapter have counted since the start
// of the process, but for requests in flight when one of them was closed.
type Total struct {
	Target, Adapter string
	Requests        map[string]Outcomes // that have ended, by zone of the backend
	Counts          Counts
}
