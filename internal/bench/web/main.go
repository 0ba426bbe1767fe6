// Command web measures HTTP clients that balance, as a child of bench.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("web is a part of bench: web CLIENT WHAT"))
	}
	c, err := clientNamed(os.Args[1])
	if err != nil {
		fail(err)
	}
	measure, ok := measures[os.Args[2]]
	if !ok {
		fail(fmt.Errorf("there is nothing called %q to measure", os.Args[2]))
	}
	figures, err := measure(c)
	if err != nil {
		fail(fmt.Errorf("%s: %w", c.name, err))
	}
	if err := json.NewEncoder(os.Stdout).Encode(figures); err != nil {
		fail(err)
	}
}

// Figures are what was measured, by name.
type figures map[string]float64

var measures = map[string]func(client) (figures, error){
	"overhead": overhead,
	"scale":    scale,
	"change":   change,
	"dead":     dead,
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "web:", err)
	os.Exit(1)
}
