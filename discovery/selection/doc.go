// Package selection decides which endpoints of a Service one client uses. The
// gRPC resolver, httpbalancer and every other adapter take the same [Config] and
// get the same answer from it:
//
//	config := selection.Config{SpillOver: true, SubsetSize: 20, SubsetPeers: "k8s:///shop"}
//	if err := config.Validate(); err != nil { ... }
//	endpoints := selection.New(nil, config, nil).Subscribe(target, "quiz.kiada")
//	defer endpoints.Close()
//	for {
//		view, err := endpoints.Next(ctx)
//		...
//	}
//
// A [Subscription] asks the Source of the target's scheme, applies what package
// topology says of zones and nodes, and then what package selection/subset says of
// very large Services. It shares its watch with all other subscriptions of the
// process to the same target of the same Source.
//
// The package is for adapters. Programs set a Config in the Config of their
// adapter.
package selection
