package hosts_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/hosts"
	"github.com/sidestep-lb/sidestep/discovery/static"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func parse(t *testing.T, text string) discovery.Target {
	t.Helper()
	target, err := discovery.ParseTarget(text)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// next stands for the API server and DNS.
var next = static.Source{}

func TestANameIsServedByTheFileForAsLongAsItHasIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	write(t, path, "127.0.0.1 localhost\n127.0.0.7 quiz.kiada # a bridge\n10.0.0.7 quiz.kiada\n")
	synctest.Test(t, func(t *testing.T) {
		source := hosts.Source{File: hosts.Open(path), Host: "quiz.kiada", Next: next}
		sub := discovery.Watch(source, parse(t, "static:///10.0.0.1:80"))
		defer sub.Close()
		if s, err := sub.First(t.Context()); err == nil && s.Reason == nil {
			t.Errorf("a target without a port number: %v", s.Endpoints)
		}
		target := parse(t, "k8s:///quiz.kiada:80")
		bridged := discovery.Watch(source, target)
		defer bridged.Close()
		s, err := bridged.First(t.Context())
		if err != nil || len(s.Endpoints) != 2 || s.Endpoints[0].Addr.String() != "10.0.0.7:80" || s.Endpoints[1].Addr.String() != "127.0.0.7:80" {
			t.Errorf("%+v, error %v", s, err)
		}
		write(t, path, "127.0.0.1 localhost\n")
		time.Sleep(15 * time.Second) // of virtual time
		synctest.Wait()
		if view := bridged.View(); view.Err == nil && len(view.Snapshot.Endpoints) == 2 {
			t.Errorf("still served by the file: %v", view.Snapshot.Endpoints)
		}
	})
}

func TestAHostsFileKnowsNoPorts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	write(t, path, "10.0.0.7 quiz\n")
	source := hosts.Source{File: hosts.Open(path), Host: "quiz", Next: next}
	for _, target := range []string{"k8s:///quiz", "k8s:///quiz:grpc"} {
		s, err := discovery.Resolve(t.Context(), source, parse(t, target))
		if err != nil || !errors.Is(s.Reason, discovery.ErrPortNotFound) {
			t.Errorf("%s: %+v, error %v", target, s, err)
		}
	}
}

func TestNamesCountAsTheyAreWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	write(t, path, "10.0.0.7 quiz.kiada\n")
	file := hosts.Open(path)
	for host, want := range map[string]bool{"quiz.kiada": true, "Quiz.Kiada": true, "quiz": false, "quiz.kiada.svc": false, "quiz.kiada.svc.cluster.local": false, "": false} {
		if file.Has(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}
