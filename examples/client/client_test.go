package main

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestUnknownWaysAreRefused(t *testing.T) {
	noCA := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(noCA, []byte("trust me"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range []options{
		{protocol: "grpc", via: "pigeon", target: "quiz.kiada:grpc"},
		{protocol: "http", via: "dns", target: "http://quiz.kiada/"},
		{protocol: "grpc", via: "k8s", target: "quiz.kiada:grpc", policy: "dice"},
		{protocol: "smtp", via: "k8s", target: "quiz.kiada"},
		{protocol: "https", via: "k8s", target: "https://quiz.kiada/", ca: noCA},
		{protocol: "https", via: "k8s", target: "https://quiz.kiada/", ca: noCA + ".missing"},
	} {
		if _, err := o.way(); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}
