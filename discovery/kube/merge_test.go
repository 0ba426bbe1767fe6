package kube

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

var quiz = discovery.Target{Scheme: discovery.SchemeKubernetes, Service: "quiz", Namespace: "kiada", Port: discovery.Port{Name: "grpc"}}

// slicesOf decodes slices from JSON, as they come from the API. Their names are
// a, b, c and so on if they have none, their type IPv4.
func slicesOf(t testing.TB, texts ...string) serviceState {
	t.Helper()
	f := serviceState{slices: make(map[string]*kubeapi.EndpointSlice)}
	for i, text := range texts {
		slice := &kubeapi.EndpointSlice{
			ObjectMeta:  kubeapi.ObjectMeta{Name: string(rune('a' + i))},
			AddressType: kubeapi.AddressTypeIPv4,
		}
		if err := json.Unmarshal([]byte(text), slice); err != nil {
			t.Fatal(err)
		}
		f.slices[slice.Name] = slice
	}
	return f
}

// withService adds a Service with port grpc to what is known.
func (f serviceState) withService(families ...string) serviceState {
	f.serviceRead = true
	f.service = &kubeapi.Service{
		ObjectMeta: kubeapi.ObjectMeta{Name: "quiz", UID: "now"},
		Spec:       kubeapi.ServiceSpec{IPFamilies: families, Ports: []kubeapi.ServicePort{{Name: "grpc", Port: 80}}},
	}
	return f
}

const grpc8080 = `"ports":[{"name":"grpc","port":8080}]`

func addresses(s *discovery.Snapshot) string {
	var texts []string
	for i := range s.Endpoints {
		texts = append(texts, s.Endpoints[i].Addr.String())
	}
	return strings.Join(texts, " ")
}

// P5.
func TestAbsentConditionsMeanReadyServingAndNotTerminating(t *testing.T) {
	for conditions, want := range map[string][3]bool{
		`{}`: {true, true, false},
		`{"ready":null,"serving":null,"terminating":null}`: {true, true, false},
		`{"ready":false}`: {false, true, false},
		`{"ready":false,"serving":true,"terminating":true}`:  {false, true, true},
		`{"ready":true,"serving":false,"terminating":false}`: {true, false, false},
	} {
		s, _ := merge(quiz, slicesOf(t, `{"endpoints":[{"addresses":["10.0.0.1"],"conditions":`+conditions+`}],`+grpc8080+`}`), &memo{})
		if e := s.Endpoints[0]; [3]bool{e.Ready, e.Serving, e.Terminating} != want {
			t.Errorf("%s: ready %v, serving %v, terminating %v", conditions, e.Ready, e.Serving, e.Terminating)
		}
	}
}

// P7 and P19.
func TestWhatKubernetesGivesNoMeaningIsLeftOut(t *testing.T) {
	for name, slice := range map[string]string{
		"host names":         `{"addressType":"FQDN","endpoints":[{"addresses":["10.0.0.1"]}],` + grpc8080 + `}`,
		"no address":         `{"endpoints":[{"addresses":[]},{"addresses":null},{},null],` + grpc8080 + `}`,
		"null endpoints":     `{"endpoints":null,` + grpc8080 + `}`,
		"null ports":         `{"endpoints":[{"addresses":["10.0.0.1"]}],"ports":null}`,
		"port without a nr":  `{"endpoints":[{"addresses":["10.0.0.1"]}],"ports":[{"name":"grpc"}]}`,
		"port 0":             `{"endpoints":[{"addresses":["10.0.0.1"]}],"ports":[{"name":"grpc","port":0}]}`,
		"port out of range":  `{"endpoints":[{"addresses":["10.0.0.1"]}],"ports":[{"name":"grpc","port":65536},{"name":"grpc","port":-1}]}`,
		"UDP":                `{"endpoints":[{"addresses":["10.0.0.1"]}],"ports":[{"name":"grpc","port":8080,"protocol":"UDP"}]}`,
		"of another Service": `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Service","name":"quiz","uid":"before"}]},"endpoints":[{"addresses":["10.0.0.1"]}],` + grpc8080 + `}`,
	} {
		s, _ := merge(quiz, slicesOf(t, slice, `{"endpoints":[{"addresses":["10.0.0.2","10.0.0.3"]}],`+grpc8080+`}`).withService(), &memo{})
		if got := addresses(s); got != "10.0.0.2:8080" || s.Reason != nil {
			t.Errorf("%s: %s, reason %v", name, got, s.Reason)
		}
	}
}

func TestAnOwnerThatIsNoServiceDoesNotMatter(t *testing.T) {
	s, _ := merge(quiz, slicesOf(t, `{"metadata":{"ownerReferences":[{"kind":"Endpoints","uid":"x"},{"kind":"Service","uid":"now"}]},"endpoints":[{"addresses":["10.0.0.1"]}],`+grpc8080+`}`).withService(), &memo{})
	if got := addresses(s); got != "10.0.0.1:8080" {
		t.Errorf("got %s", got)
	}
}

// P1 and P6.
func TestOfTwoEndpointsWithOneAddressTheOneThatStaysWins(t *testing.T) {
	old := `{"endpoints":[{"addresses":["10.0.0.1"],"conditions":{"ready":false,"terminating":true},"targetRef":{"kind":"Pod","name":"old","uid":"1"}}],` + grpc8080 + `}`
	young := `{"endpoints":[{"addresses":["::ffff:10.0.0.1"],"targetRef":{"kind":"Pod","name":"new","uid":"2"}}],` + grpc8080 + `}`
	for name, f := range map[string]serviceState{"old first": slicesOf(t, old, young), "new first": slicesOf(t, young, old)} {
		s, _ := merge(quiz, f, &memo{})
		if len(s.Endpoints) != 1 || s.Endpoints[0].Pod != "new" || s.Endpoints[0].UID != "2" {
			t.Errorf("%s: %v", name, s.Endpoints)
		}
	}
}

func TestAddressesThatNoPodHasAreRefusedUnlessAllowed(t *testing.T) {
	f := slicesOf(t, `{"endpoints":[{"addresses":["127.0.0.1"]},{"addresses":["169.254.169.254"]},{"addresses":["0.0.0.0"]},{"addresses":["pod"]}],`+grpc8080+`}`)
	s, refused := merge(quiz, f, &memo{})
	if len(s.Endpoints) > 0 || refused == nil {
		t.Errorf("got %s, refused %v", addresses(s), refused)
	}
	if err := s.Unusable(quiz); !errors.Is(err, discovery.ErrNoEndpoints) || !strings.Contains(err.Error(), "4 addresses refused, such as this: ") {
		t.Errorf("error: %v", err)
	}
	if s, _ = merge(quiz, f, &memo{allowLocal: true}); !strings.Contains(addresses(s), "127.0.0.1:8080") {
		t.Errorf("allowed, but got %s", addresses(s))
	}
	// Where others are left, they serve.
	f.slices["b"] = slicesOf(t, `{"endpoints":[{"addresses":["10.0.0.1"]}],`+grpc8080+`}`).slices["a"]
	if s, _ = merge(quiz, f, &memo{}); addresses(s) != "10.0.0.1:8080" || s.Reason != nil {
		t.Errorf("got %s, reason %v", addresses(s), s.Reason)
	}
}

// Whatever the order in which slices become known, and however many changes
// come between two looks at the state, the Snapshot is the same in the end.
func TestTheOrderOfEventsDoesNotMatter(t *testing.T) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 1))
		var known serviceState
		if families := [][]string{{"IPv4"}, {"IPv4", "IPv6"}, {"IPv6", "IPv4"}, nil}[seed%4]; families != nil {
			known = known.withService(families...)
		}
		histories := make(map[string][]*kubeapi.EndpointSlice)
		for i := range 6 {
			name := "slice-" + strconv.Itoa(i)
			family := []string{kubeapi.AddressTypeIPv4, kubeapi.AddressTypeIPv6}[i%2]
			for range 1 + random.IntN(5) {
				histories[name] = append(histories[name], randomSlice(random, name, family))
			}
		}
		var want *discovery.Snapshot
		for range 10 {
			got := replay(t, random, known, histories)
			if want == nil {
				want = got
			}
			if !got.Equal(want) {
				t.Fatalf("seed %d: got %v, want %v", seed, got.Endpoints, want.Endpoints)
			}
		}
	}
}

// replay applies the histories of slices, each in its own order, but mixed at
// random. An empty slice is deleted. What is made little by little must be the
// same as what is made at once.
func replay(t *testing.T, random *rand.Rand, known serviceState, histories map[string][]*kubeapi.EndpointSlice) *discovery.Snapshot {
	state := newState(quiz.Service)
	merged := func(memo *memo) *discovery.Snapshot {
		known.slices = state.view(quiz).known.slices
		snapshot, _ := merge(quiz, known, memo)
		check(t, snapshot)
		return snapshot
	}
	var used memo
	state.ofSlices(nil).Replace(nil)
	var order []string
	for name, history := range histories {
		for range history {
			order = append(order, name)
		}
	}
	slices.Sort(order)
	random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	next := make(map[string]int)
	for _, name := range order {
		slice := histories[name][next[name]]
		next[name]++
		kind := kubeapi.Modified
		if len(slice.Endpoints) == 0 {
			kind = kubeapi.Deleted
		}
		state.ofSlices(nil).Apply(kind, slice)
		if random.IntN(3) == 0 {
			merged(&used)
		}
	}
	got, want := merged(&used), merged(&memo{})
	if !got.Equal(want) {
		t.Fatalf("little by little %v, at once %v", got.Endpoints, want.Endpoints)
	}
	return got
}

func randomSlice(random *rand.Rand, name, family string) *kubeapi.EndpointSlice {
	prefix := map[string]string{kubeapi.AddressTypeIPv4: "10.0.0.", kubeapi.AddressTypeIPv6: "2001:db8::"}[family]
	slice := &kubeapi.EndpointSlice{
		ObjectMeta:  kubeapi.ObjectMeta{Name: name},
		AddressType: family,
		Ports:       []kubeapi.EndpointPort{{Name: new("grpc"), Port: new(int32(8080 + random.IntN(2))), AppProtocol: strings.Repeat("h2c", random.IntN(2))}},
	}
	for range random.IntN(5) {
		slice.Endpoints = append(slice.Endpoints, kubeapi.Endpoint{
			Addresses:  []string{prefix + strconv.Itoa(1+random.IntN(4))},
			Conditions: kubeapi.Conditions{Ready: new(random.IntN(2) == 0), Terminating: new(random.IntN(2) == 0)},
			TargetRef:  &kubeapi.ObjectReference{Kind: "Pod", UID: strconv.Itoa(random.IntN(3))},
		})
	}
	return slice
}

func FuzzMerge(f *testing.F) {
	f.Add([]byte(`[{"metadata":{"name":"a"},"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"]}],`+grpc8080+`}]`), []byte(`{}`), "grpc", uint16(0), false)
	f.Add([]byte(`[{"addressType":"IPv6","endpoints":[{"addresses":["2001:db8::1"]}],"ports":[{"port":1}]}]`), []byte(`{"spec":{"ipFamilies":["IPv6"],"ports":[{"port":80}]}}`), "", uint16(80), true)
	f.Add([]byte(`[{"endpoints":null,"ports":null}]`), []byte(`{"spec":{"type":"ExternalName"}}`), "", uint16(0), true)
	f.Fuzz(func(t *testing.T, slicesJSON, serviceJSON []byte, portName string, portNumber uint16, serviceRead bool) {
		var read []*kubeapi.EndpointSlice
		var service *kubeapi.Service
		if json.Unmarshal(slicesJSON, &read) != nil || json.Unmarshal(serviceJSON, &service) != nil {
			t.Skip()
		}
		known := serviceState{slices: make(map[string]*kubeapi.EndpointSlice), serviceRead: serviceRead}
		if serviceRead {
			known.service = service
		}
		for _, slice := range read {
			if slice != nil {
				known.slices[slice.Name] = slice
			}
		}
		target := quiz
		target.Port = discovery.Port{Name: portName, Number: portNumber}
		s, _ := merge(target, known, &memo{})
		if again, _ := merge(target, known, &memo{}); !again.Equal(s) {
			t.Fatal("the same facts gave two Snapshots")
		}
		check(t, s)
	})
}

// check holds a Snapshot against what its documentation promises.
func check(t *testing.T, s *discovery.Snapshot) {
	t.Helper()
	if s.Reason != nil && len(s.Endpoints) > 0 {
		t.Fatalf("%d endpoints and a reason for none: %v", len(s.Endpoints), s.Reason)
	}
	var last netip.AddrPort
	for i, e := range s.Endpoints {
		if err := discovery.CheckAddr(e.Addr.Addr()); err != nil || e.Addr.Port() == 0 {
			t.Fatalf("endpoint %v: %v", e.Addr, err)
		}
		if i > 0 && last.Compare(e.Addr) >= 0 {
			t.Fatalf("%v comes after %v", e.Addr, last)
		}
		last = e.Addr
	}
}
