package static_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/static"
)

// resolve does not go by way of ParseTarget, which refuses what some tests need.
func resolve(t *testing.T, target discovery.Target) (*discovery.Snapshot, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return discovery.Resolve(ctx, static.Source{}, target)
}

func TestEveryAddressOfTheListIsServedOnce(t *testing.T) {
	target, err := discovery.ParseTarget("static:///10.0.0.2:80,10.0.0.1:8080,[2001:db8::1]:80,10.0.0.2:80,10.0.0.2:81")
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := resolve(t, target)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range snapshot.Endpoints {
		if !e.Ready || !e.Serving || e.Terminating {
			t.Errorf("%v is not ready and serving", &e)
		}
		got = append(got, e.Addr.String())
	}
	if want := []string{"10.0.0.1:8080", "10.0.0.2:80", "10.0.0.2:81", "[2001:db8::1]:80"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestNoAddressIsRefused(t *testing.T) {
	snapshot, err := resolve(t, discovery.Target{Scheme: discovery.SchemeStatic, Name: "127.0.0.1:80,169.254.0.1:80"})
	if err != nil || len(snapshot.Endpoints) != 2 {
		t.Errorf("got %v, %v", snapshot, err)
	}
}

func TestAListThatCannotBeReadIsAPermanentError(t *testing.T) {
	for _, list := range []string{"", "10.0.0.1", "10.0.0.1:80,", "localhost:80", "10.0.0.1:http", "10.0.0.1:65536"} {
		if _, err := resolve(t, discovery.Target{Scheme: discovery.SchemeStatic, Name: list}); !errors.Is(err, discovery.ErrUnavailable) {
			t.Errorf("%q: error %v", list, err)
		}
	}
}

func TestTargetsOfOtherSchemesAreAPermanentError(t *testing.T) {
	_, err := resolve(t, discovery.Target{Scheme: discovery.SchemeKubernetes, Service: "quiz"})
	if !discovery.IsPermanent(err) {
		t.Errorf("error %v", err)
	}
}

func TestTheListStaysAfterItHasBeenRead(t *testing.T) {
	sub := discovery.Watch(static.Source{}, discovery.Target{Scheme: discovery.SchemeStatic, Name: "10.0.0.1:80"})
	defer sub.Close()
	view, err := sub.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sub.Refresh() // nobody listens, and nothing is wrong with that
	if now := sub.View(); now.Stale() || now.Snapshot != view.Snapshot {
		t.Errorf("got %+v", now)
	}
}

func Example() {
	target, err := discovery.ParseTarget("static:///10.0.0.6:8080,10.0.0.5:8080")
	if err != nil {
		fmt.Println(err)
		return
	}
	snapshot, err := discovery.Resolve(context.Background(), static.Source{}, target)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, endpoint := range snapshot.Endpoints {
		fmt.Println(&endpoint)
	}
	// Output:
	// 10.0.0.5:8080
	// 10.0.0.6:8080
}
