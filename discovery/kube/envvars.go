package kube

import (
	"slices"
	"strconv"
	"strings"
)

// envPortNames returns the names that a port number of a Service has according
// to environment variables as the kubelet sets them for the Services of a
// pod's own namespace:
//
//	QUIZ_SERVICE_PORT_GRPC=80
//
// They show the Services as they were when the container started, and are
// missing for headless ones and where enableServiceLinks is off. Several names
// come of one number used by several protocols, or of another Service's
// variables that happen to look alike, so a name has to be checked against
// the slices. See FromServices in the kubelet's envvars package.
func envPortNames(environ []string, service string, number uint16) []string {
	if service == "" || number == 0 {
		return nil
	}
	prefix := strings.ReplaceAll(strings.ToUpper(service), "-", "_") + "_SERVICE_PORT_"
	var names []string
	for _, variable := range environ {
		key, value, _ := strings.Cut(variable, "=")
		name, found := strings.CutPrefix(key, prefix)
		if !found || name == "" || value != strconv.Itoa(int(number)) {
			continue
		}
		// A port's name is a DNS label and has no underscore of its own.
		names = append(names, strings.ToLower(strings.ReplaceAll(name, "_", "-")))
	}
	slices.Sort(names)
	return slices.Compact(names)
}
