package kube

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// useProxy says what helps outside of a cluster.
const useProxy = `outside of a cluster run "kubectl proxy" and give the Config of the client this Source: kube.New(kube.Config{Host: "http://127.0.0.1:8001"})`

// Available returns why there is no API server to ask, or nil if there is one. It
// asks nobody: it looks at the Config, the environment and whether there is a
// service-account token. The error wraps discovery.ErrUnavailable and says what is
// missing, and what to do about it.
func (s *Source) Available() error {
	_, err := s.client()
	if err == nil && s.config.Host == "" {
		err = s.missingToken()
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", discovery.ErrUnavailable, err)
}

// missingToken returns an error if there is no service-account token.
func (s *Source) missingToken() error {
	file := filepath.Join(s.accountDir, "token")
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("there is no service-account token at %s", file)
}

// notInCluster returns the error of a Source without a Host outside of a cluster.
func (s *Source) notInCluster() error {
	token := ""
	if err := s.missingToken(); err != nil {
		token = ", " + err.Error()
	}
	return fmt.Errorf("%w%s, and kube.Config has no Host; %s", kubeapi.ErrNotInCluster, token, useProxy)
}
