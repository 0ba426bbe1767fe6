package kubeapi

import (
	"errors"
	"net"
	"os"
	"path/filepath"
)

// ServiceAccountDir is where the kubelet puts a pod's credentials.
const ServiceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// ErrNotInCluster says that the process does not run in a pod.
var ErrNotInCluster = errors.New("not in a cluster: KUBERNETES_SERVICE_HOST is not set")

// InCluster returns the Config of a pod: the address that the kubelet puts in
// the environment, and the token and certificates in dir, usually
// ServiceAccountDir. It looks at no file.
func InCluster(dir string) (Config, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" {
		return Config{}, ErrNotInCluster
	}
	if port == "" {
		port = "443"
	}
	return Config{
		Host:      "https://" + net.JoinHostPort(host, port),
		TokenFile: filepath.Join(dir, "token"),
		CAFile:    filepath.Join(dir, "ca.crt"),
	}, nil
}
