package kube

import (
	"time"

	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// NewForTest is New with short pauses between attempts, and the files of a
// service account in a folder of the test's own.
func NewForTest(config Config, accountDir string) *Source {
	s := New(config)
	s.accountDir = accountDir
	s.timing = kubeapi.Timing{
		FirstBackoff: 10 * time.Millisecond,
		MaxBackoff:   40 * time.Millisecond,
		ShortWatch:   time.Nanosecond,
	}
	return s
}

// Impatient makes a Source that has not been used yet wait no longer than d for
// an answer of the API server, and for news in a watch.
func Impatient(s *Source, d time.Duration) *Source {
	s.timing.AnswerTimeout, s.timing.IdleTimeout = d, d
	return s
}

// Restless makes a Source that has not been used yet ask the API server when a
// watch has brought nothing for d.
func Restless(s *Source, d time.Duration) *Source {
	s.timing.IdleTimeout = d
	return s
}

// Services counts the Services of a namespace that a Source reads.
func Services(s *Source, namespace string) int {
	s.services.mu.Lock()
	defer s.services.mu.Unlock()
	if ns := s.services.namespaces[namespace]; ns != nil {
		return len(ns.services)
	}
	return 0
}

// MaxWide is for tests of what happens beyond.
const MaxWide = maxWide
