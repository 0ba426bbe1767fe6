package kube

import (
	"fmt"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// Objects that are odd, but that Kubernetes' own controllers make or read.

func TestZerosMayLeadTheNumbersOfAnAddress(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.1":          "10.0.0.1",
		"010.000.000.001":   "10.0.0.1",
		"10.0.00.010":       "10.0.0.10",
		"00000010.0.0.1":    "10.0.0.1",
		"fd00:0:0:0::00001": "fd00::1",
		"fd00::0":           "fd00::",
		"::ffff:010.0.0.1":  "::ffff:10.0.0.1",
		"10.0.0.256":        "", "10.0.0": "", "": "", "0x0a.0.0.1": "", "10.0.0.1.": "", "010": "", "0": "",
		"fd00::fffff": "", "10.0.0.1/08": "", "00..0.0.1": "",
	} {
		addr, err := parseIP(text)
		if want == "" && err == nil || want != "" && (err != nil || addr.String() != want) {
			t.Errorf("%q: %v, %v; want %q", text, addr, err, want)
		}
	}
}

func TestTheOrderOfPortsSaysNothing(t *testing.T) {
	const endpoints = `"endpoints":[{"addresses":["10.0.0.1"]}]`
	for _, ports := range []string{
		`{"name":"grpc","port":8080},{"name":"admin","port":9090}`,
		`{"name":"admin","port":9090},{"name":"grpc","port":8080}`,
	} {
		s, err := merge(quiz, slicesOf(t, `{`+endpoints+`,"ports":[`+ports+`]}`).withService(), new(memo))
		if err != nil || addresses(s) != "10.0.0.1:8080" {
			t.Errorf("%s: %s, %v", ports, addresses(s), err)
		}
	}
}

func TestAPlaceholderOfTheOtherFamilyTakesNothingAway(t *testing.T) {
	for _, families := range [][]string{{"IPv6", "IPv4"}, {"IPv4", "IPv6"}} {
		for _, port := range []string{"grpc", ""} {
			target := quiz
			target.Port.Name = port
			f := slicesOf(t, `{"addressType":"IPv6","ports":null,"endpoints":null}`, `{"endpoints":[{"addresses":["10.0.0.1"]}],`+grpc8080+`}`)
			for name, f := range map[string]serviceState{"with the Service": f.withService(families...), "without": f} {
				s, err := merge(target, f, new(memo))
				if err != nil || addresses(s) != "10.0.0.1:8080" {
					t.Errorf("families %v, port %q, %s: %s, reason %v, %v", families, port, name, addresses(s), s.Reason, err)
				}
			}
		}
	}
}

func TestSlicesOfHostNamesCountForNothing(t *testing.T) {
	f := slicesOf(t, `{"addressType":"FQDN","endpoints":[{"addresses":["db.example.com"]}],"ports":[{"name":"grpc","port":1}]}`,
		`{"endpoints":[{"addresses":["10.0.0.1"]}],`+grpc8080+`}`).withService()
	if s, err := merge(quiz, f, new(memo)); err != nil || addresses(s) != "10.0.0.1:8080" {
		t.Errorf("%s, %v", addresses(s), err)
	}
}

func TestTheFrozenSlicesOfAnAliasDoNotCount(t *testing.T) {
	f := slicesOf(t, `{"endpoints":[{"addresses":["10.0.0.1"],"conditions":{"ready":true}}],`+grpc8080+`}`).withService()
	f.service.Spec.Type, f.service.Spec.ExternalName = kubeapi.ServiceTypeExternalName, "db.example.com"
	s, err := merge(quiz, f, new(memo))
	alias, ok := s.Reason.(interface{ Unwrap() error })
	if err != nil || len(s.Endpoints) > 0 || !ok || alias == nil {
		t.Errorf("%s, reason %v, %v", addresses(s), s.Reason, err)
	}
}

// A podOf is a pod in a slice. Its UID is its address.
func podOf(n int) kubeapi.Endpoint {
	address := fmt.Sprintf("10.0.0.%d", n)
	return kubeapi.Endpoint{Addresses: []string{address}, TargetRef: &kubeapi.ObjectReference{Kind: "Pod", Name: address, UID: address}}
}

// deal writes a slice with the port grpc and one for metrics.
func (m *moving) deal(name string, grpc, metrics int32, pods ...int) {
	slice := kubeapi.EndpointSlice{
		ObjectMeta:  kubeapi.ObjectMeta{Name: name},
		AddressType: kubeapi.AddressTypeIPv4,
		Ports:       []kubeapi.EndpointPort{{Name: new("metrics"), Port: &metrics}, {Name: new("grpc"), Port: &grpc}},
	}
	for _, n := range pods {
		slice.Endpoints = append(slice.Endpoints, podOf(n))
	}
	m.state.ofSlices(nil).Apply(kubeapi.Modified, &slice)
}

func TestPodsThatAreDealtOutAnewAreNeverGoneAndBack(t *testing.T) {
	moveIn(t, func(m *moving) {
		m.deal("a", 8080, 9090, 1, 2, 3)
		m.deal("b", 8080, 9090, 4)
		all := "10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:8080 10.0.0.4:8080"
		m.wants(settle, all, nil)
		// Another port of the Service gets another number. Pods 1 and 2 are in no
		// slice, and pod 4 is in both.
		m.deal("a", 8080, 9999, 4)
		m.wants(settle, "10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:8080 10.0.0.4:8080", errDealt)
		m.deal("b", 8080, 9999, 1, 2, 3)
		m.wants(settle, all, nil)
		m.wants(time.Minute, all, nil)
		// When the change is over, a pod that leaves is gone at once.
		m.deal("b", 8080, 9999, 2, 3)
		m.wants(settle, "10.0.0.2:8080 10.0.0.3:8080 10.0.0.4:8080", nil)
	})
}

func TestPodsStayWhileTheirTargetPortChanges(t *testing.T) {
	moveIn(t, func(m *moving) {
		m.deal("a", 8080, 9090, 1, 2)
		m.deal("b", 8080, 9090, 3)
		m.wants(settle, "10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:8080", nil)
		m.deal("a", 8888, 9090, 3)
		m.wants(settle, "10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:8080 10.0.0.3:8888", errDealt)
		m.deal("b", 8888, 9090, 1, 2)
		m.wants(settle, "10.0.0.1:8888 10.0.0.2:8888 10.0.0.3:8888", nil)
	})
}

func TestPodsThatDoNotComeBackAreGoneAfterAWhile(t *testing.T) {
	moveIn(t, func(m *moving) {
		m.deal("a", 8080, 9090, 1, 2)
		m.deal("b", 8080, 9090, 3)
		m.wants(settle, "10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:8080", nil)
		m.deal("a", 8080, 9999, 1)
		m.wants(settle, "10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:8080", errDealt)
		m.deal("b", 8080, 9090, 3) // nothing new; the race detector wants to see an order
		m.wants(moveTime, "10.0.0.1:8080 10.0.0.3:8080", nil)
	})
}

func TestSlicesThatKeepTheirPortsHoldNobodyBack(t *testing.T) {
	moveIn(t, func(m *moving) {
		m.deal("a", 8080, 9090, 1, 2)
		m.deal("b", 8081, 9090, 3) // pods may have other numbers for a port
		m.wants(settle, "10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:8081", nil)
		m.deal("a", 8080, 9090, 1)
		m.wants(settle, "10.0.0.1:8080 10.0.0.3:8081", nil)
	})
}
