package main

// exceptions are the tests that cannot pass with sidestep in place of
// round_robin, each with the reason.
var exceptions = map[string]string{
	"Test/RoundRobin_AddressesRemoved": `it wants the words of round_robin, "no children to pick from"; ` +
		`sidestep names the target and says why there are no endpoints`,
}
