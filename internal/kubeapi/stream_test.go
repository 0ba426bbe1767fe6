package kubeapi

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func FuzzWatchStream(f *testing.F) {
	f.Add([]byte(eventOf("ADDED", "a", "8") + eventOf("BOOKMARK", "", "9")))
	f.Add([]byte(eventOf("ADDED", "a", "8") + endOf("9") + eventOf("DELETED", "a", "10")))
	f.Add([]byte(`{"type":"ERROR","object":` + statusOf(410, "Expired", "gone") + `}`))
	f.Add([]byte(`{"type":"MODIFIED","object":{"metadata":{"name":"a"},"ports":null,"endpoints":[null]}}`))
	f.Add([]byte(`{"type":"DELETED"`))
	f.Add([]byte(`{"type":"ADDED","object":{"metadata":{"name":"` + strings.Repeat("x", 2000)))
	f.Fuzz(func(t *testing.T, data []byte) {
		p := progress{version: "7"}
		tr := &transcript{}
		_, err := consume(newStream(bytes.NewReader(data), 1024), &p, &typed[*EndpointSlice]{Handler: tr})
		if err == nil {
			t.Fatal("a stream that has ended gave no error")
		}
		if p.version == "" {
			t.Fatal("the version to resume from is lost")
		}
		if errors.Is(err, io.EOF) && len(bytes.TrimSpace(data)) > 0 && !bytes.HasSuffix(bytes.TrimSpace(data), []byte("}")) &&
			!bytes.HasSuffix(bytes.TrimSpace(data), []byte("null")) {
			t.Fatal("a stream that ends within an event passes for complete")
		}
		for _, call := range tr.calls {
			if _, name, _ := strings.Cut(call, " "); name == "" { // " " is one, if no valid one
				t.Fatalf("handed on an object without a name: %q", call)
			}
		}

		p, tr = progress{}, &transcript{}
		err = gather(t.Context(), func(error) {}, Timing{}.withDefaults(), newStream(bytes.NewReader(data), 1024), &p, &typed[*EndpointSlice]{Handler: tr})
		if listed := err == nil; listed != (p.version != "") || listed != (len(tr.calls) == 1) {
			t.Fatalf("a streaming list with error %v left version %q and calls %q", err, p.version, tr.calls)
		}
	})
}
