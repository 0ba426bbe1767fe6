package balancer_test

import (
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

// The error of a request or a call says where it went.
func ExampleCallError() {
	err := fmt.Errorf("get the question: %w", &balancer.CallError{
		Target:   "k8s:///quiz.kiada:80",
		Endpoint: &discovery.Endpoint{Addr: netip.MustParseAddrPort("10.0.0.7:8080"), Pod: "quiz-0"},
		Attempts: 2,
		Err:      io.ErrUnexpectedEOF,
	})
	if failed, ok := errors.AsType[*balancer.CallError](err); ok {
		fmt.Println(failed.Target, failed.Endpoint.Pod, failed.Attempts, errors.Is(err, io.ErrUnexpectedEOF))
	}
	fmt.Println(err)
	// Output:
	// k8s:///quiz.kiada:80 quiz-0 2 true
	// get the question: k8s:///quiz.kiada:80: attempt 2, to 10.0.0.7:8080 (quiz-0): unexpected EOF
}
