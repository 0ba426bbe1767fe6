package httpbalancer

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// An rpcProtocol is a protocol on top of HTTP whose status is not that of HTTP, as
// far as a response's Content-Type tells.
type rpcProtocol uint8

const (
	noRPC         rpcProtocol = iota // or one whose status is that of HTTP, as with Connect's unary calls
	grpc                             // status in the trailers
	grpcWeb                          // trailers in the last frame of the body
	grpcWebText                      // that, in base64
	connectStream                    // JSON in the last frame of the body
)

func rpcProtocolOf(h http.Header) rpcProtocol {
	values := h["Content-Type"]
	if len(values) == 0 || !strings.HasPrefix(values[0], "application/") { // as most have none of these
		return noRPC
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(values[0], "application/"), ";")
	name, _, _ = strings.Cut(strings.TrimSpace(name), "+")
	switch name {
	case "grpc":
		return grpc
	case "grpc-web":
		return grpcWeb
	case "grpc-web-text":
		return grpcWebText
	case "connect":
		return connectStream
	default:
		return noRPC
	}
}

// The frames of gRPC-Web and Connect have a byte of flags, four bytes of length,
// and a payload.
const (
	rpcFrameHeader = 5
	compressedFlag = 0x01
	connectEndFlag = 0x02
	webTrailerFlag = 0x80
	// maxEndFrame bounds what is kept of the last frame, and what it may be
	// decompressed to. A status in a longer one is not found.
	maxEndFrame = 64 << 10
)

// An endScanner finds the status code in a body of frames that passes by. It
// trusts nothing: what it keeps is bounded, and what it does not understand is a
// body without a status.
type endScanner struct {
	protocol rpcProtocol
	encoding string // of compressed frames
	code     int    // NoRPCCode until it has been found

	over   bool                 // nothing that comes is of interest
	text   base64Scanner        // for grpcWebText
	head   [rpcFrameHeader]byte // as much of a frame's header as has come
	n      int                  // how much that is
	left   uint32               // of the payload
	isEnd  bool                 // it is that of the last frame
	frame  []byte               // as much of that as has come
	buffer [64]byte             // of frame, usually enough
}

func newEndScanner(protocol rpcProtocol, h http.Header) *endScanner {
	s := &endScanner{protocol: protocol, code: NoRPCCode}
	s.frame = s.buffer[:0]
	s.encoding = h.Get("Grpc-Encoding")
	if protocol == connectStream {
		s.encoding = h.Get("Connect-Content-Encoding")
	}
	if e := h.Get("Content-Encoding"); e != "" && e != "identity" {
		s.over = true // of the whole body
	}
	return s
}

// write is told what comes next.
func (s *endScanner) write(p []byte) {
	if s.protocol != grpcWebText {
		s.scan(p)
		return
	}
	var decoded [3]byte
	for i := 0; i < len(p) && !s.over; i++ {
		n, ok := s.text.next(p[i], &decoded)
		s.scan(decoded[:n])
		s.over = s.over || !ok
	}
}

func (s *endScanner) scan(p []byte) {
	for len(p) > 0 && !s.over {
		if s.n < rpcFrameHeader {
			n := copy(s.head[s.n:], p)
			s.n += n
			p = p[n:]
			if s.n == rpcFrameHeader {
				s.begin()
			}
			continue
		}
		n := min(int64(s.left), int64(len(p)))
		if s.isEnd {
			s.frame = append(s.frame, p[:n]...)
		}
		s.left -= uint32(n)
		p = p[n:]
		s.end()
	}
}

// begin is called with the header of a frame.
func (s *endScanner) begin() {
	s.left = binary.BigEndian.Uint32(s.head[1:])
	flag := byte(webTrailerFlag)
	if s.protocol == connectStream {
		flag = connectEndFlag
	}
	if s.isEnd = s.head[0]&flag != 0; s.isEnd && s.left > maxEndFrame {
		s.over = true
	}
	s.end()
}

// end looks whether a frame is complete.
func (s *endScanner) end() {
	if s.left > 0 || s.over {
		return
	}
	s.n = 0
	if !s.isEnd {
		return
	}
	s.over = true
	payload, ok := s.decompressed()
	switch {
	case !ok:
	case s.protocol == connectStream:
		s.code = connectEndCode(payload)
	default:
		s.code = webTrailerCode(payload)
	}
	s.frame = nil
}

func (s *endScanner) decompressed() (payload []byte, ok bool) {
	if s.head[0]&compressedFlag == 0 {
		return s.frame, true
	}
	if s.encoding != "gzip" {
		return nil, false
	}
	r, err := gzip.NewReader(bytes.NewReader(s.frame))
	if err != nil {
		return nil, false
	}
	payload, err = io.ReadAll(io.LimitReader(r, maxEndFrame+1))
	return payload, err == nil && len(payload) <= maxEndFrame
}

// webTrailerCode reads the trailers of gRPC-Web, which look like headers of HTTP/1.
func webTrailerCode(payload []byte) int {
	for line := range bytes.SplitSeq(payload, []byte("\n")) {
		name, value, ok := bytes.Cut(line, []byte(":"))
		if ok && strings.EqualFold(string(bytes.TrimSpace(name)), "grpc-status") {
			return parseGRPCCode(string(bytes.TrimSpace(value)))
		}
	}
	return NoRPCCode
}

// connectEndCode reads Connect's EndStreamResponse.
func connectEndCode(payload []byte) int {
	var message struct {
		Error *struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	if json.Unmarshal(payload, &message) != nil {
		return NoRPCCode
	}
	if message.Error == nil {
		return 0
	}
	if code, ok := connectCodes[message.Error.Code]; ok {
		return code
	}
	return 2 // unknown
}

// connectCodes are Connect's names of gRPC's codes.
var connectCodes = map[string]int{
	"canceled": 1, "unknown": 2, "invalid_argument": 3, "deadline_exceeded": 4, "not_found": 5, "already_exists": 6,
	"permission_denied": 7, "resource_exhausted": 8, "failed_precondition": 9, "aborted": 10, "out_of_range": 11,
	"unimplemented": 12, "internal": 13, "unavailable": 14, "data_loss": 15, "unauthenticated": 16,
}

// A base64Scanner decodes base64 that comes in pieces, each of which may have
// padding, as the frames of gRPC-Web's text format have.
type base64Scanner struct {
	bits uint32
	n    int // characters of the present four
	pad  int // of them padding
}

// next takes a character. With the last of four it returns up to three bytes.
func (b *base64Scanner) next(c byte, out *[3]byte) (n int, ok bool) {
	var v uint32
	switch {
	case c >= 'A' && c <= 'Z':
		v = uint32(c - 'A')
	case c >= 'a' && c <= 'z':
		v = uint32(c-'a') + 26
	case c >= '0' && c <= '9':
		v = uint32(c-'0') + 52
	case c == '+':
		v = 62
	case c == '/':
		v = 63
	case c == '=' && b.n >= 2:
		b.pad++
	case c == '\r', c == '\n':
		return 0, true
	default:
		return 0, false
	}
	if b.pad > 0 && c != '=' {
		return 0, false
	}
	b.bits = b.bits<<6 | v
	if b.n++; b.n < 4 {
		return 0, true
	}
	out[0], out[1], out[2] = byte(b.bits>>16), byte(b.bits>>8), byte(b.bits)
	n = 3 - b.pad
	*b = base64Scanner{}
	return n, true
}
