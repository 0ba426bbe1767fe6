// Command gozero measures the policy of go-zero, as a child of bench. It is a
// program of its own because whatever imports go-zero runs its goroutines,
// catches signals, logs through it and is twice the size.
package main

import (
	"fmt"
	"os"

	"github.com/zeromicro/go-zero/core/logx"
	_ "github.com/zeromicro/go-zero/zrpc" // registers the policy

	"github.com/sidestep-lb/sidestep/internal/bench/lb"
)

func main() {
	if len(os.Args) != 3 || os.Args[1] != lb.Flag {
		fmt.Fprintln(os.Stderr, "gozero is a part of bench")
		os.Exit(1)
	}
	logx.Disable() // it logs to standard output
	if err := lb.Run(os.Args[2], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
