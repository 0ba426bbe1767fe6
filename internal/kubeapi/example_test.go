package kubeapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

type printer struct{ done func() }

func (p printer) Replace(services []*kubeapi.Service) {
	for _, s := range services {
		fmt.Println(s.Name, s.Spec.Ports[0].Name)
	}
	p.done()
}
func (printer) Apply(kind string, s *kubeapi.Service) { fmt.Println(kind, s.Name) }
func (printer) Failed(err error)                      { fmt.Println(err) }
func (printer) Healthy()                              {}

func ExampleListWatch() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, `{"type":"ADDED","object":{"metadata":{"name":"quiz"},"spec":{"ports":[{"name":"grpc","port":80}]}}}`)
		fmt.Fprintln(w, `{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7","annotations":{"k8s.io/initial-events-end":"true"}}}}`)
	}))
	defer server.Close()
	client, err := kubeapi.NewClient(kubeapi.Config{Host: server.URL, HTTPClient: server.Client()})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	lw := kubeapi.ListWatch[*kubeapi.Service]{Client: client, Path: kubeapi.ServicesPath("kiada")}
	lw.Run(ctx, printer{done: cancel})
	// Output: quiz grpc
}
