package httpbalancer

import (
	"net/http"
	"strings"

	"github.com/sidestep-lb/sidestep/balancer/adapter"
)

// classSegments is how many segments of a path tell routes apart.
const classSegments = 3

// classOf returns the class of a request: requests of one class take about as long
// as each other.
func (t *Transport) classOf(req *http.Request) uint64 {
	if t.config.Class != nil {
		return adapter.ClassOf(t.config.Class(req))
	}
	return adapter.ClassOf(req.Method) ^ adapter.ClassOf(routeOf(req.URL.Path))
}

// routeOf returns the beginning of a path that is likely to be its route: three
// segments at most, up to the first that looks like the name of one thing, with a
// digit in it. Versions, such as v1, are part of the route.
func routeOf(path string) string {
	end := 0
	for range classSegments {
		start := end
		for start < len(path) && path[start] == '/' {
			start++
		}
		segment, _, _ := strings.Cut(path[start:], "/")
		if segment == "" || strings.ContainsAny(segment, "0123456789") && !isVersion(segment) {
			break
		}
		end = start + len(segment)
	}
	return path[:end]
}

// isVersion reports whether a segment is a version, such as v1 or v2beta1.
func isVersion(segment string) bool {
	return len(segment) > 1 && len(segment) < 10 && segment[0] == 'v' && segment[1] >= '0' && segment[1] <= '9'
}
