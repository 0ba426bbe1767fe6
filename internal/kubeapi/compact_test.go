package kubeapi

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

const compactable = `{
	"metadata":{"name":"a","uid":"1","resourceVersion":"7","ownerReferences":[{"kind":"Service","uid":"s"}],"labels":{"kubernetes.io/service-name":"quiz"}},
	"addressType":"IPv4",
	"ports":[{"name":"grpc","protocol":"TCP","port":8080,"appProtocol":"kubernetes.io/h2c"},{"name":null,"port":null},{"name":"","port":0}],
	"endpoints":[
		{"addresses":["10.0.0.1","10.0.0.2"],"conditions":{"ready":true,"serving":false,"terminating":null},"nodeName":"node-1","zone":"a",
			"targetRef":{"kind":"Pod","name":"quiz-0","uid":"u0"},"hints":{"forZones":[{"name":"a"},{"name":"b"}],"forNodes":[{"name":"node-1"}]}},
		{"addresses":[],"hints":{}},
		{"addresses":["10.0.0.3"],"conditions":{"terminating":true},"nodeName":"node-1","targetRef":{"kind":"Pod","name":"","uid":""}}]}`

func decodeSlice(t *testing.T, text string) *EndpointSlice {
	t.Helper()
	slice := new(EndpointSlice)
	if err := json.Unmarshal([]byte(text), slice); err != nil {
		t.Fatal(err)
	}
	return slice
}

func TestCompactingASliceChangesNothingInIt(t *testing.T) {
	for _, text := range []string{compactable, `{}`, `{"ports":[],"endpoints":[]}`, `{"ports":null,"endpoints":null}`, `{"endpoints":[null]}`} {
		want, err := json.Marshal(decodeSlice(t, text))
		if err != nil {
			t.Fatal(err)
		}
		one, two := decodeSlice(t, text), decodeSlice(t, text)
		compact(one)
		compact(two)
		got, err := json.Marshal(one)
		if err != nil {
			t.Fatal(err)
		}
		plain := strings.NewReplacer(`"addresses":null`, `"addresses":[]`, `"endpoints":null`, `"endpoints":[]`)
		if plain.Replace(string(got)) != plain.Replace(string(want)) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if !reflect.DeepEqual(one, two) {
			t.Errorf("%s: two slices with the same text differ", text)
		}
	}
}

func TestSlicesShareTheNamesOfNodesAndZones(t *testing.T) {
	one, two := decodeSlice(t, compactable), decodeSlice(t, compactable)
	compact(one)
	compact(two)
	a, b := &one.Endpoints[0], &two.Endpoints[2]
	if unsafe.StringData(a.NodeName) != unsafe.StringData(b.NodeName) || unsafe.StringData(a.NodeName) != unsafe.StringData(a.Hints.ForNodes[0]) {
		t.Error("the name of a node is held more than once")
	}
}

func TestTheStringsThatSlicesShareAreBounded(t *testing.T) {
	slice := &EndpointSlice{Endpoints: make([]Endpoint, 3*maxInterned)}
	for i := range slice.Endpoints {
		slice.Endpoints[i].NodeName = fmt.Sprint("node-", i)
	}
	compact(slice)
	if n := len(interned.known); n > maxInterned {
		t.Errorf("%d strings", n)
	}
	if last := slice.Endpoints[len(slice.Endpoints)-1].NodeName; last != fmt.Sprint("node-", 3*maxInterned-1) {
		t.Errorf("the last is %s", last)
	}
}
