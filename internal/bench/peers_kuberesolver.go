package main

import (
	"net/http"
	"strings"

	"github.com/sercand/kuberesolver/v6"
)

func startKuberesolver(a api, services []string, publish func(int)) error {
	// As kuberesolver.NewInClusterK8sClient makes it, which reads its
	// certificates from where only a pod has them: without HTTP/2.
	client := kuberesolverClient{a.Host, &http.Client{Transport: &http.Transport{TLSClientConfig: a.tls()}}}
	return build(kuberesolver.NewBuilder(client, "kubernetes"), services, publish)
}

// A kuberesolverClient implements kuberesolver.K8sClient.
type kuberesolverClient struct {
	host string
	http *http.Client
}

func (c kuberesolverClient) Host() string { return c.host }

func (c kuberesolverClient) Do(req *http.Request) (*http.Response, error) { return c.http.Do(req) }

// GetRequest asks for a watch in the way that a test API server knows.
// Kuberesolver uses the older one, with "watch" in the path, which Kubernetes
// still serves though it is deprecated.
func (c kuberesolverClient) GetRequest(url string) (*http.Request, error) {
	const old, prefix = "/v1/watch/namespaces/", "/v1/namespaces/"
	if strings.Contains(url, old) {
		url = strings.Replace(url, old, prefix, 1) + "&watch=1"
	}
	return http.NewRequest(http.MethodGet, url, nil)
}
