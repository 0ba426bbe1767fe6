package kubeapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The types of watch events. A client skips those that it does not know.
const (
	Added    = "ADDED"
	Modified = "MODIFIED"
	Deleted  = "DELETED"

	bookmark = "BOOKMARK"
	failure  = "ERROR"
)

// An event is one message of a watch.
type event struct {
	Type   string          `json:"type"`
	Object json.RawMessage `json:"object"`
}

// A bookmarkObject is the object of a bookmark, whatever type is watched.
type bookmarkObject struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
		Annotations     struct {
			End string `json:"k8s.io/initial-events-end"` // KEP-3157
		} `json:"annotations"`
	} `json:"metadata"`
}

const defaultMaxEvent = 16 << 20

// A stream splits the body of a watch into events. There is no limit on how
// long it is, only on each event.
type stream struct {
	decoder *json.Decoder
	input   *meter
}

// newStream returns a stream of events of at most maxEvent bytes each; 0 is
// defaultMaxEvent.
func newStream(r io.Reader, maxEvent int64) *stream {
	if maxEvent == 0 {
		maxEvent = defaultMaxEvent
	}
	input := &meter{r: r, max: maxEvent}
	return &stream{decoder: json.NewDecoder(input), input: input}
}

// next returns the next event. The error is io.EOF where the stream ends after
// an event, and errBroken where it ends within one or is no stream of events.
func (s *stream) next() (event, error) {
	s.input.read = 0
	var e event
	if err := s.decoder.Decode(&e); err != nil {
		if errors.Is(err, io.EOF) {
			return e, io.EOF
		}
		return e, fmt.Errorf("%w: watch event: %w", errBroken, err)
	}
	return e, nil
}

// A meter reads up to max bytes, and more after read has been set back.
type meter struct {
	r         io.Reader
	read, max int64
}

func (m *meter) Read(p []byte) (int, error) {
	left := m.max - m.read
	if left <= 0 {
		return 0, fmt.Errorf("larger than the limit of %d bytes", m.max)
	}
	n, err := m.r.Read(p[:min(int64(len(p)), left)])
	m.read += int64(n)
	return n, err
}
