package lb

import (
	"fmt"
	"slices"
	"time"

	// The policies of gRPC.
	_ "google.golang.org/grpc/balancer/leastrequest"
	_ "google.golang.org/grpc/balancer/ringhash"
	_ "google.golang.org/grpc/balancer/roundrobin"
	_ "google.golang.org/grpc/balancer/weightedroundrobin"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
)

// A Client is a policy that is measured.
type Client struct {
	Name string
	// Program is the directory of the program that has it, empty for the
	// command bench itself.
	Program string

	// Most is how many backends it takes in reasonable time, 0 any number.
	Most int

	policy, config string // by which gRPC builds it; empty for Kratos, which has an API of its own
	keyInHeader    bool   // not in the context
	weights        bool   // of the endpoints count
	// early says that the policy can take news of connections while it makes
	// others. gRPC never does that, but it spares policies that publish a picker
	// for each connection the minutes that 10,000 connections take.
	early bool
	lag   time.Duration // until it heeds what backends have reported
	// telemetry says that an OpenTelemetry reader collects all there is, each second.
	telemetry bool
}

// The peers.
const (
	GRPCRoundRobin   = "grpc-go round_robin"
	GRPCLeastRequest = "grpc-go least_request"
	GRPCLeastOfTen   = "grpc-go least_request, 10 draws"
	GRPCWeighted     = "grpc-go weighted_round_robin"
	GRPCRingHash     = "grpc-go ring_hash"
	Kratos           = "Kratos p2c"
	GoZero           = "go-zero p2c_ewma"
)

var peers = []Client{
	{Name: GRPCRoundRobin, policy: "round_robin", config: `{}`, early: true},
	{Name: GRPCLeastRequest, policy: "least_request_experimental", config: `{"choiceCount":2}`, early: true},
	{Name: GRPCLeastOfTen, policy: "least_request_experimental", config: `{"choiceCount":10}`, early: true},
	{Name: GRPCWeighted, policy: "weighted_round_robin", config: `{"blackoutPeriod":"0s"}`, early: true, lag: 1100 * time.Millisecond},
	{Name: GRPCRingHash, policy: "ring_hash_experimental", config: `{"requestHashHeader":"` + keyHeader + `"}`, keyInHeader: true},
	{Name: Kratos},
	{Name: GoZero, Program: "./gozero", Most: 1000, policy: "p2c_ewma"},
}

// Ours by names that are not just those of policies.
const (
	LeastOfTen = balancer.LeastRequest + ", 10 draws"
	HeaderHash = balancer.RingHash + ", key in a header"
	Balancer   = "balancer.Balancer" // the package by itself, for updates
)

// Reported are the policies that are measured with telemetry, too, by their name
// followed by Telemetry.
var Reported = []string{balancer.Adaptive, balancer.LeastRequest, balancer.RoundRobin}

// Telemetry follows the name of a policy.
const Telemetry = ", telemetry on"

func reported() (made []Client) {
	for _, policy := range Reported {
		c := sidestep(policy+Telemetry, fmt.Sprintf(`{"policy":%q}`, policy))
		c.telemetry = true
		made = append(made, c)
	}
	return made
}

// ours returns sidestep's policies, as gRPC builds them.
func ours() []Client {
	made := []Client{
		sidestep(LeastOfTen, fmt.Sprintf(`{"policy":%q,"choices":10}`, balancer.LeastRequest)),
		sidestep(HeaderHash, fmt.Sprintf(`{"policy":%q,"hashKey":{"header":%q}}`, balancer.RingHash, keyHeader)),
	}
	made[1].keyInHeader = true
	for _, policy := range balancer.Policies() {
		c := sidestep(policy, fmt.Sprintf(`{"policy":%q}`, policy))
		c.weights = policy == balancer.Weighted
		made = append(made, c)
	}
	return made
}

func sidestep(name, config string) Client {
	return Client{Name: name, policy: grpcbalancer.Name, config: config}
}

// Policies returns all clients that pick.
func Policies() []Client { return append(ours(), peers...) }

// Named returns the client with that name.
func Named(name string) (Client, error) {
	clients := append(append(Policies(), reported()...), Client{Name: Balancer})
	i := slices.IndexFunc(clients, func(c Client) bool { return c.Name == name })
	if i < 0 {
		return Client{}, fmt.Errorf("there is no client %q", name)
	}
	return clients[i], nil
}
