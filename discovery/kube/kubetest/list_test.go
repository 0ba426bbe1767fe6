package kubetest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

func TestListIsEncodedAsARealServerDoes(t *testing.T) {
	server := start(t)
	server.SetEndpointSlice(slice("quiz-1", "10.0.0.1"))
	code, list := get(t, server, slicesPath)
	if code != http.StatusOK {
		t.Fatal(code)
	}
	want := `{"kind":"EndpointSliceList","apiVersion":"discovery.k8s.io/v1","metadata":{"resourceVersion":"2"},"items":[` +
		`{"metadata":{"name":"quiz-1","namespace":"kiada","uid":"00000000-0000-4000-8000-000000000002","resourceVersion":"2",` +
		`"labels":{"endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io","kubernetes.io/service-name":"quiz"}},` +
		`"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"],"conditions":{"ready":true,"serving":true,"terminating":false},` +
		`"targetRef":{"kind":"Pod","namespace":"kiada","name":"quiz-0","uid":"uid-quiz-0"}}],` +
		`"ports":[{"name":"grpc","port":8080,"protocol":"TCP"}]}]}` + "\n"
	if string(list.raw) != want {
		t.Errorf("got  %s\nwant %s", list.raw, want)
	}
}

func TestNilPortsAndEndpointsAreNull(t *testing.T) {
	server := start(t)
	server.SetEndpointSlice(kubetest.Slice("kiada", "quiz", "null", nil))
	empty := kubetest.Slice("kiada", "quiz", "empty", kubetest.Ports{})
	empty.Endpoints = []kubetest.Endpoint{}
	server.SetEndpointSlice(empty)

	if _, o := get(t, server, slicesPath+"/null"); !strings.Contains(string(o.raw), `"endpoints":null,"ports":null`) {
		t.Errorf("nil: %s", o.raw)
	}
	if _, o := get(t, server, slicesPath+"/empty"); !strings.Contains(string(o.raw), `"endpoints":[],"ports":[]`) {
		t.Errorf("empty: %s", o.raw)
	}
}

func TestTheServerKeepsItsOwnCopyOfAnObject(t *testing.T) {
	server := start(t)
	mine := slice("quiz-1", "10.0.0.1")
	server.SetEndpointSlice(mine)
	mine.Endpoints[0].Addresses[0] = "10.9.9.9"
	*mine.Endpoints[0].Conditions.Ready = false
	stream := openWatch(t, server, slicesPath+"?watch=1&resourceVersion=2")
	server.DeleteEndpointSlice("kiada", "quiz-1")
	if o := stream.want("DELETED", "quiz-1"); !strings.Contains(string(o.raw), `10.0.0.1`) || !strings.Contains(string(o.raw), `"ready":true`) {
		t.Errorf("changed from outside: %s", o.raw)
	}
}

func TestGetReturnsTheObjectOrNotFound(t *testing.T) {
	server := start(t)
	server.SetService(kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"grpc": 80}))
	code, o := get(t, server, servicesPath+"/quiz")
	if code != http.StatusOK || o.Kind != "Service" || o.APIVersion != "v1" || o.Metadata.Name != "quiz" {
		t.Errorf("got %d %s", code, o.raw)
	}
	code, o = get(t, server, slicesPath+"/quiz")
	if code != http.StatusNotFound || o.Kind != "Status" || o.Reason != "NotFound" || o.Code != 404 ||
		o.Message != `endpointslices.discovery.k8s.io "quiz" not found` {
		t.Errorf("got %d %s", code, o.raw)
	}
}

func TestListSelects(t *testing.T) {
	server := start(t)
	server.SetEndpointSlice(slice("quiz-1", "10.0.0.1"))
	server.SetEndpointSlice(slice("quiz-2", "10.0.0.2"))
	server.SetEndpointSlice(kubetest.Slice("kiada", "quote", "quote-1", nil))
	server.SetEndpointSlice(kubetest.Slice("other", "quiz", "quiz-3", nil))
	bare := kubetest.Slice("kiada", "", "bare", nil)
	bare.Labels = nil
	server.SetEndpointSlice(bare)
	server.SetService(kubetest.HeadlessService("kiada", "quiz", nil))

	const label = "kubernetes.io/service-name"
	for _, test := range []struct{ path, labels, fields, want string }{
		{slicesPath, "", "", "bare quiz-1 quiz-2 quote-1 "},
		{"/apis/discovery.k8s.io/v1/endpointslices", "", "", "bare quiz-1 quiz-2 quote-1 quiz-3 "},
		{slicesPath, label + "=quiz", "", "quiz-1 quiz-2 "},
		{slicesPath, label + "==quiz", "", "quiz-1 quiz-2 "},
		{slicesPath, label + "!=quiz", "", "bare quote-1 "},
		{slicesPath, label, "", "quiz-1 quiz-2 quote-1 "},
		{slicesPath, "!" + label, "", "bare "},
		{slicesPath, label + "," + label + "!=quote", "", "quiz-1 quiz-2 "},
		{slicesPath, "", "metadata.name=quiz-2", "quiz-2 "},
		{slicesPath, label + "=quote", "metadata.name=quiz-2", ""},
		{"/apis/discovery.k8s.io/v1/endpointslices", "", "metadata.namespace=other", "quiz-3 "},
		{servicesPath, "", "metadata.name=quiz", "quiz "},
		{"/api/v1/services", "", "metadata.name!=quiz", ""},
	} {
		query := url.Values{"labelSelector": {test.labels}, "fieldSelector": {test.fields}}
		code, list := get(t, server, test.path+"?"+query.Encode())
		if code != http.StatusOK || list.names() != test.want {
			t.Errorf("%s %s: got %d %q, want %q", test.path, query, code, list.names(), test.want)
		}
	}
}

func TestListTakesAResourceVersion(t *testing.T) {
	server := start(t)
	server.SetEndpointSlice(slice("quiz-1", "10.0.0.1"))
	server.SetEndpointSlice(slice("quiz-2", "10.0.0.1")) // revision 3
	for query, want := range map[string]int{
		"":                   200,
		"?resourceVersion=0": 200,
		"?resourceVersion=2": 200,
		"?resourceVersion=3&resourceVersionMatch=Exact": 200,
		"?resourceVersion=2&resourceVersionMatch=Exact": 410,
		"?resourceVersion=4":                            504,
		"?resourceVersion=x":                            400,
		"?resourceVersionMatch=Exact":                   422,
		"?sendInitialEvents=true":                       422,
		"?labelSelector=a%20in%20(b)":                   400,
		"?fieldSelector=spec.type=X":                    400,
		"?timeoutSeconds=soon":                          400,
	} {
		code, o := get(t, server, slicesPath+query)
		if code != want {
			t.Errorf("%s: got %d %s, want %d", query, code, o.raw, want)
		}
		if code != 200 && (o.Kind != "Status" || o.Code != code || o.Message == "" || o.Reason == "") {
			t.Errorf("%s: no proper Status: %s", query, o.raw)
		}
	}
}

func TestUnknownPathsAreNotFound(t *testing.T) {
	server := start(t)
	for _, path := range []string{
		"/", "/api/v1/pods", "/api/v1/namespaces/kiada/endpoints", "/api/v1/namespaces//services",
		"/apis/discovery.k8s.io/v1beta1/endpointslices", slicesPath + "/a/b", slicesPath + "/",
	} {
		if code, o := get(t, server, path); code != http.StatusNotFound || o.Reason != "NotFound" {
			t.Errorf("%s: %d %s", path, code, o.raw)
		}
	}
}

func TestClientsCannotWrite(t *testing.T) {
	server := start(t)
	response, err := server.Client().Post(server.URL()+slicesPath, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed {
		t.Error(response.Status)
	}
}

func TestAnObjectKeepsItsUIDUntilItIsDeleted(t *testing.T) {
	server := start(t)
	uid := func() string {
		_, o := get(t, server, servicesPath+"/quiz")
		return o.Metadata.UID
	}
	service := kubetest.ClusterIPService("kiada", "quiz", nil)
	server.SetService(service)
	first := uid()
	server.SetService(service)
	if first == "" || uid() != first {
		t.Errorf("UID %q became %q in an update", first, uid())
	}
	if !server.DeleteService("kiada", "quiz") || server.DeleteService("kiada", "quiz") {
		t.Error("DeleteService does not report whether there was one")
	}
	server.SetService(service)
	if uid() == first {
		t.Error("a new Service has the UID of the old")
	}
}

func TestEndpointsAreBuiltInOneLine(t *testing.T) {
	base := kubetest.Ready("fd00::5", "quiz-1").ForZones("a")
	full := base.OnNode("n").InZone("a").WithUID("u").ForZones("b").ForNodes("n")
	if len(base.Hints.ForZones) != 1 || base.TargetRef.UID != "uid-quiz-1" || base.NodeName != nil {
		t.Error("building on an endpoint changed it")
	}
	if *full.NodeName != "n" || *full.Zone != "a" || full.TargetRef.UID != "u" || len(full.Hints.ForZones) != 2 || full.Hints.ForNodes[0].Name != "n" {
		t.Errorf("got %+v", full)
	}
	built := kubetest.Slice("kiada", "quiz", "quiz-1", kubetest.Ports{"b": 2, "a": 1}, full)
	if built.AddressType != "IPv6" || *built.Ports[0].Name != "a" || built.Endpoints[0].TargetRef.Namespace != "kiada" || full.TargetRef.Namespace != "" {
		t.Errorf("got %+v", built)
	}
}
