package httpbalancer

import (
	"net/http"
	"testing"
)

// Whatever a body says: a status is found or not, however the body comes in
// pieces, and what is kept of it is bounded.
func FuzzEndScanner(f *testing.F) {
	f.Add(uint8(0), "\x00\x00\x00\x00\x01x\x80\x00\x00\x00\x0fgrpc-status: 14", uint8(1))
	f.Add(uint8(1), "AAAAAAF4gAAAAA9ncnBjLXN0YXR1czogMTQ=", uint8(3))
	f.Add(uint8(2), "\x02\x00\x00\x00\x02{}", uint8(2))
	f.Add(uint8(2), "\x03\x00\x00\x00\x02\x1f\x8b", uint8(2))
	f.Add(uint8(2), "\x02\x00\x00\x00\x20{\"error\":{\"code\":\"unavailable\"}}", uint8(5))
	f.Add(uint8(0), "\x80\xff\xff\xff\xff", uint8(0))
	f.Add(uint8(1), "====", uint8(0))
	f.Fuzz(func(t *testing.T, which uint8, body string, piece uint8) {
		protocol := []rpcProtocol{grpcWeb, grpcWebText, connectStream}[which%3]
		h := http.Header{"Grpc-Encoding": {"gzip"}, "Connect-Content-Encoding": {"gzip"}}
		whole := newEndScanner(protocol, h)
		whole.write([]byte(body))
		pieces := newEndScanner(protocol, h)
		for rest := []byte(body); len(rest) > 0; {
			n := min(int(piece)+1, len(rest))
			pieces.write(rest[:n])
			if rest = rest[n:]; len(pieces.frame) > maxEndFrame {
				t.Fatalf("%d bytes are kept", len(pieces.frame))
			}
		}
		if whole.code != pieces.code {
			t.Errorf("code %d of the whole, and %d of pieces", whole.code, pieces.code)
		}
		if whole.code < NoRPCCode {
			t.Errorf("code %d", whole.code)
		}
	})
}
