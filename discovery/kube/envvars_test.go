package kube

import (
	"errors"
	"slices"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery"
)

// environment is that of a pod in the namespace of the Services quiz and
// quiz-service.
var environment = []string{
	"PATH=/bin",
	"QUIZ_SERVICE_HOST=10.96.0.7",
	"QUIZ_SERVICE_PORT=80",
	"QUIZ_SERVICE_PORT_GRPC=80",
	"QUIZ_SERVICE_PORT_GRPC_WEB=81",
	"QUIZ_SERVICE_PORT_DNS=53",
	"QUIZ_SERVICE_PORT_DNS_TCP=53",
	"QUIZ_SERVICE_PORT_=82",
	"QUIZ_SERVICE_PORT_BROKEN=eighty",
	"QUIZ_SERVICE_PORT_EMPTY",
	"QUIZ_PORT=tcp://10.96.0.7:80",
	"QUIZ_PORT_80_TCP_PORT=80",
	"QUIZ_SERVICE_SERVICE_PORT=80",
	"QUIZ_SERVICE_SERVICE_PORT_HTTP=80",
	"QUIZ_SERVICE_PORT_80_TCP_PORT=80", // a Docker link of quiz-service
	"KUBERNETES_SERVICE_PORT_HTTPS=443",
}

func TestPortNamesAreReadFromTheEnvironment(t *testing.T) {
	for _, tc := range []struct {
		service string
		number  uint16
		want    []string
	}{
		{"quiz", 80, []string{"80-tcp-port", "grpc"}},
		{"quiz", 81, []string{"grpc-web"}},
		{"quiz", 53, []string{"dns", "dns-tcp"}},
		{"quiz", 82, nil},
		{"quiz", 0, nil},
		{"quiz-service", 80, []string{"http"}},
		{"quote", 80, nil},
		{"", 80, nil},
	} {
		if got := envPortNames(environment, tc.service, tc.number); !slices.Equal(got, tc.want) {
			t.Errorf("%s:%d: %q, want %q", tc.service, tc.number, got, tc.want)
		}
	}
}

func TestWithoutTheServiceANumberIsThatOfTheEnvironment(t *testing.T) {
	const both = `{"endpoints":[{"addresses":["10.0.0.1"]}],"ports":[{"name":"http","port":80},{"name":"grpc","port":8080}]}`
	target := quiz
	target.Port = discovery.Port{Number: 80}

	f := slicesOf(t, both)
	f.envPortNames = envPortNames(environment, "quiz", 80)
	if s, _ := merge(target, f, &memo{}); addresses(s) != "10.0.0.1:8080" {
		t.Errorf("%s; the Service's port 80 is grpc, whatever the pods' own port 80 is", addresses(s))
	}
	f.envPortNames = []string{"old"} // the port was renamed since the container started
	if s, _ := merge(target, f, &memo{}); addresses(s) != "10.0.0.1:80" {
		t.Errorf("%s; the environment is out of date, which leaves the pods' port 80", addresses(s))
	}
	target.Port.Number = 82
	if s, _ := merge(target, f, &memo{}); !errors.Is(s.Reason, discovery.ErrPortNotFound) {
		t.Errorf("%s, reason %v", addresses(s), s.Reason)
	}
	// What the API says comes first.
	target.Port.Number = 80
	f.envPortNames = []string{"http"}
	if s, _ := merge(target, f.withService(), &memo{}); addresses(s) != "10.0.0.1:8080" {
		t.Errorf("%s; the Service that was read has 80 as grpc", addresses(s))
	}
}
