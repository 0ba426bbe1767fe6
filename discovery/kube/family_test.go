package kube

import (
	"errors"
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery"
)

// P19.
func TestOneAddressFamilyIsUsed(t *testing.T) {
	v4 := `{"endpoints":[{"addresses":["10.0.0.1"]}],` + grpc8080 + `}`
	v6 := `{"addressType":"IPv6","endpoints":[{"addresses":["2001:db8::1"]}],` + grpc8080 + `}`
	for name, tc := range map[string]struct {
		known serviceState
		want  string
	}{
		"IPv6 first":        {slicesOf(t, v4, v6).withService("IPv6", "IPv4"), "[2001:db8::1]:8080"},
		"IPv4 first":        {slicesOf(t, v4, v6).withService("IPv4", "IPv6"), "10.0.0.1:8080"},
		"service not known": {slicesOf(t, v6, v4), "10.0.0.1:8080"},
		"only the second":   {slicesOf(t, v6).withService("IPv4", "IPv6"), "[2001:db8::1]:8080"},
		"only IPv4":         {slicesOf(t, v4).withService("IPv6"), "10.0.0.1:8080"},
	} {
		if s, _ := merge(quiz, tc.known, &memo{}); addresses(s) != tc.want {
			t.Errorf("%s: %s", name, addresses(s))
		}
	}
}

// P19: each family has its own slices, which may be updated one after the other.
func TestTheOtherAddressFamilyIsUsedWhileThePreferredOneHasNothingUsable(t *testing.T) {
	const (
		ready    = `{"ready":true}`
		draining = `{"ready":false,"serving":true,"terminating":true}`
		starting = `{"ready":false,"serving":false}`
		leaving  = `{"ready":false,"serving":false,"terminating":true}`
	)
	for _, tc := range []struct {
		v4, v6 string // their conditions
		want   string
	}{
		{ready, ready, "10.0.0.1:8080"},
		{draining, ready, "10.0.0.1:8080"},
		{starting, ready, "[2001:db8::1]:8080"},
		{leaving, draining, "[2001:db8::1]:8080"},
		{starting, leaving, "10.0.0.1:8080"},
	} {
		f := slicesOf(t,
			`{"endpoints":[{"addresses":["10.0.0.1"],"conditions":`+tc.v4+`}],`+grpc8080+`}`,
			`{"addressType":"IPv6","endpoints":[{"addresses":["2001:db8::1"],"conditions":`+tc.v6+`}],`+grpc8080+`}`,
		).withService("IPv4", "IPv6")
		if s, _ := merge(quiz, f, &memo{}); addresses(s) != tc.want {
			t.Errorf("IPv4 %s, IPv6 %s: %s, want %s", tc.v4, tc.v6, addresses(s), tc.want)
		}
	}
}

// pairs is the addresses in a Snapshot with those of the other family.
func pairs(s *discovery.Snapshot) string {
	var texts []string
	for _, e := range s.Endpoints {
		text := e.Addr.String()
		if e.AltAddr.IsValid() {
			text += "=" + e.AltAddr.String()
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, " ")
}

// pod is an endpoint of the pod with that UID, which may be empty.
func pod(address, uid string) string {
	return `{"addresses":["` + address + `"],"targetRef":{"kind":"Pod","name":"pod-` + uid + `","uid":"` + uid + `"}}`
}

func slice4(ports string, endpoints ...string) string {
	return `{"endpoints":[` + strings.Join(endpoints, ",") + `],` + ports + `}`
}

func slice6(ports string, endpoints ...string) string {
	return `{"addressType":"IPv6",` + slice4(ports, endpoints...)[1:]
}

// P19: a pod is in the slices of both families.
func TestAPodOfTwoFamiliesIsOneEndpoint(t *testing.T) {
	const grpc9090 = `"ports":[{"name":"grpc","port":9090}]`
	v4 := slice4(grpc8080, pod("10.0.0.1", "a"), pod("10.0.0.2", "b"), pod("10.0.0.3", ""), pod("10.0.0.4", "d"))
	v6 := slice6(grpc8080, pod("2001:db8::1", "b"), pod("2001:db8::2", "a"), pod("2001:db8::3", ""), pod("2001:db8::5", "e"))
	for name, tc := range map[string]struct {
		known serviceState
		want  string
	}{
		"IPv4 first": {
			slicesOf(t, v4, v6).withService("IPv4", "IPv6"),
			"10.0.0.1:8080=[2001:db8::2]:8080 10.0.0.2:8080=[2001:db8::1]:8080 10.0.0.3:8080 10.0.0.4:8080",
		},
		"IPv6 first": {
			slicesOf(t, v4, v6).withService("IPv6", "IPv4"),
			"[2001:db8::1]:8080=10.0.0.2:8080 [2001:db8::2]:8080=10.0.0.1:8080 [2001:db8::3]:8080 [2001:db8::5]:8080",
		},
		"service not known": {
			slicesOf(t, v4, v6),
			"10.0.0.1:8080=[2001:db8::2]:8080 10.0.0.2:8080=[2001:db8::1]:8080 10.0.0.3:8080 10.0.0.4:8080",
		},
		"other numbers": {
			slicesOf(t, slice4(grpc8080, pod("10.0.0.1", "a")), slice6(grpc9090, pod("2001:db8::1", "a"))).withService("IPv4", "IPv6"),
			"10.0.0.1:8080=[2001:db8::1]:9090",
		},
		"while the number changes": {
			slicesOf(t, slice4(grpc8080, pod("10.0.0.1", "a")), slice4(grpc9090, pod("10.0.0.1", "a")),
				slice6(grpc9090, pod("2001:db8::1", "a")), slice6(grpc8080, pod("2001:db8::1", "a"))).withService("IPv4", "IPv6"),
			"10.0.0.1:8080=[2001:db8::1]:8080 10.0.0.1:9090=[2001:db8::1]:9090",
		},
		"without the port": {
			slicesOf(t, v4, slice6(`"ports":[{"name":"http","port":80}]`, pod("2001:db8::1", "b"))).withService("IPv4", "IPv6"),
			"10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:8080 10.0.0.4:8080",
		},
	} {
		if s, _ := merge(quiz, tc.known, &memo{}); pairs(s) != tc.want {
			t.Errorf("%s: %s", name, pairs(s))
		}
	}
}

func TestTheConditionsOfAPodAreThoseOfThePreferredFamily(t *testing.T) {
	v4 := `{"addresses":["10.0.0.1"],"conditions":{"ready":false,"serving":true,"terminating":true},"targetRef":{"kind":"Pod","uid":"a"}}`
	s, _ := merge(quiz, slicesOf(t, slice4(grpc8080, v4), slice6(grpc8080, pod("2001:db8::1", "a"))).withService("IPv4", "IPv6"), &memo{})
	if e := s.Endpoints[0]; pairs(s) != "10.0.0.1:8080=[2001:db8::1]:8080" || e.Ready || !e.Terminating {
		t.Errorf("%s, ready %v, terminating %v", pairs(s), e.Ready, e.Terminating)
	}
}

// The other address comes and goes with the slices of its family, although those
// of the preferred one stay as they are.
func TestTheOtherAddressFollowsItsOwnSlices(t *testing.T) {
	f := slicesOf(t, slice4(grpc8080, pod("10.0.0.1", "a"))).withService("IPv4", "IPv6")
	var used memo
	for _, step := range []struct{ slice, want string }{
		{"", "10.0.0.1:8080"},
		{slice6(grpc8080, pod("2001:db8::1", "a")), "10.0.0.1:8080=[2001:db8::1]:8080"},
		{slice6(grpc8080, pod("2001:db8::2", "a")), "10.0.0.1:8080=[2001:db8::2]:8080"},
		{slice6(grpc8080, pod("2001:db8::2", "b")), "10.0.0.1:8080"},
		{"", "10.0.0.1:8080"},
	} {
		delete(f.slices, "six")
		if step.slice != "" {
			f.slices["six"] = slicesOf(t, step.slice).slices["a"]
		}
		if s, _ := merge(quiz, f, &used); pairs(s) != step.want {
			t.Errorf("with slice %s: %s", step.slice, pairs(s))
		}
	}
}

func TestOneFamilyCanBeAskedFor(t *testing.T) {
	v4, v6 := slice4(grpc8080, pod("10.0.0.1", "a")), slice6(grpc8080, pod("2001:db8::1", "a"))
	for _, first := range []string{"IPv4", "IPv6"} {
		for family, want := range map[string]string{"IPv4": "10.0.0.1:8080", "IPv6": "[2001:db8::1]:8080"} {
			if s, _ := merge(quiz, slicesOf(t, v4, v6).withService(first), &memo{family: family}); pairs(s) != want {
				t.Errorf("%s of a Service that prefers %s: %s", family, first, pairs(s))
			}
		}
	}
	s, _ := merge(quiz, slicesOf(t, v4).withService("IPv4"), &memo{family: "IPv6"})
	if len(s.Endpoints) > 0 || !errors.Is(s.Reason, discovery.ErrNoEndpoints) || !strings.Contains(s.Reason.Error(), "IPv6") {
		t.Errorf("IPv6 of a Service without it: %s, reason %v", pairs(s), s.Reason)
	}
}

func TestTheApplicationProtocolIsHandedOn(t *testing.T) {
	s, _ := merge(quiz, slicesOf(t,
		slice4(`"ports":[{"name":"grpc","port":8080,"appProtocol":"kubernetes.io/h2c"},{"name":"http","port":80,"appProtocol":"http"}]`, pod("10.0.0.1", "a")),
		slice4(`"ports":[{"name":"grpc","port":8080,"appProtocol":null}]`, pod("10.0.0.2", "b")),
	).withService(), &memo{})
	if len(s.Endpoints) != 2 || s.Endpoints[0].AppProtocol != "kubernetes.io/h2c" || s.Endpoints[1].AppProtocol != "" {
		t.Errorf("got %+v", s.Endpoints)
	}
}

func TestAFamilyThatDoesNotExistIsRefused(t *testing.T) {
	source := New(Config{Host: "http://127.0.0.1:1", Family: "ipv6"})
	_, err := discovery.Resolve(t.Context(), source, quiz)
	if !errors.Is(err, discovery.ErrUnavailable) || !strings.Contains(err.Error(), `"ipv6"`) {
		t.Errorf("error: %v", err)
	}
}
