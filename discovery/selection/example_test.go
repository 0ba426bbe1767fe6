package selection_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection"
)

// An adapter hands the endpoints of each View to its load balancer.
func ExampleSelector_Subscribe() {
	config := selection.Config{SubsetSize: 20}
	if err := config.Validate(); err != nil {
		log.Fatal(err)
	}
	target, err := discovery.ParseTarget("static:///10.0.0.1:80,10.0.0.2:80")
	if err != nil {
		log.Fatal(err)
	}
	endpoints := selection.New(nil, config, nil).Subscribe(target, "")
	defer endpoints.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	view, err := endpoints.Next(ctx)
	if err != nil {
		panic(err)
	}
	for _, e := range view.Endpoints {
		fmt.Println(e.Addr)
	}
	// Output:
	// 10.0.0.1:80
	// 10.0.0.2:80
}

// A mistake is an error that names the field.
func ExampleConfig_Validate() {
	fmt.Println(selection.Config{SubsetSize: -1}.Validate())
	// Output: SubsetSize: -1 is negative
}
