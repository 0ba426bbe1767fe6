package grpcbalancer

import (
	"encoding/json"
	"reflect"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A service config that is given after DialOptions replaces theirs. If it says
// nothing of a policy, as one with nothing but a retryPolicy, gRPC takes
// pick_first: all requests go to one pod, and nothing tells. So the first call of
// a channel looks at the service config.

var errNoPolicy = status.Error(codes.FailedPrecondition,
	`grpcbalancer: the service config that was given after DialOptions names no load-balancing policy, so that gRPC would take pick_first: `+
		`put it in Config.ServiceConfig, or add "loadBalancingConfig": [{"sidestep": {}}] to it`)

// The states of a check.
const (
	unchecked int32 = iota
	checkedGood
	checkedBad
)

// check returns errNoPolicy if the channel uses pick_first unawares. It is
// checked once, and DialOptions are for one channel.
func (ch *channel) check(cc *grpc.ClientConn) error {
	if ch.checked.Load() == unchecked {
		result := checkedGood
		if text, ok := defaultServiceConfig(cc); ok && !namesPolicy(text) {
			result = checkedBad
		}
		ch.checked.Store(result)
	}
	if ch.checked.Load() == checkedBad {
		return errNoPolicy
	}
	return nil
}

func namesPolicy(text string) bool {
	var config struct {
		LoadBalancingConfig []any
		LoadBalancingPolicy string
	}
	err := json.Unmarshal([]byte(text), &config)
	return err != nil || len(config.LoadBalancingConfig) > 0 || config.LoadBalancingPolicy != ""
}

// defaultServiceConfig returns what the last grpc.WithDefaultServiceConfig said.
// gRPC has no other way to ask for it than to look; where it keeps it elsewhere,
// nothing is checked. Read in grpc-go 1.84 and 1.85; a test fails when it moves.
func defaultServiceConfig(cc *grpc.ClientConn) (text string, ok bool) {
	options := reflect.ValueOf(cc).Elem().FieldByName("dopts")
	if !options.IsValid() || options.Kind() != reflect.Struct {
		return "", false
	}
	config := options.FieldByName("defaultServiceConfigRawJSON")
	if !config.IsValid() || config.Type() != reflect.TypeFor[*string]() || config.IsNil() {
		return "", false
	}
	return config.Elem().String(), true
}
