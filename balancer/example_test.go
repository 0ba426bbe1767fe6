package balancer_test

import (
	"encoding/json"
	"fmt"

	"github.com/sidestep-lb/sidestep/balancer"
)

func ExampleConfig() {
	var config balancer.Config // the zero value is ready to use
	fmt.Println(config.Validate())

	err := json.Unmarshal([]byte(`{"policy": "round_robin"}`), &config)
	fmt.Println(config.Policy, err, config.Validate())
	// Output:
	// <nil>
	// round_robin <nil> <nil>
}
