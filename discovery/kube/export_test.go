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
