// Package jsonconfig reads and writes the JSON of configs: durations such as "1.5s",
// and errors that name the field.
package jsonconfig

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// A Duration is a time.Duration that is written in JSON like "1.5s".
type Duration time.Duration

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(text []byte) error {
	var s string
	err := json.Unmarshal(text, &s)
	if err == nil {
		var parsed time.Duration
		parsed, err = time.ParseDuration(s)
		*d = Duration(parsed)
	}
	if err != nil { // package json adds the name of the field
		return &json.UnmarshalTypeError{Value: fmt.Sprintf("%.40s", text), Type: reflect.TypeFor[Duration]()}
	}
	return nil
}

// Read is json.Unmarshal with errors that name the field as it is written, and no
// type of Go.
func Read(text []byte, into any) error {
	err := json.Unmarshal(text, into)
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return err
	}
	want := "a " + wrong.Type.Kind().String()
	switch {
	case wrong.Type == reflect.TypeFor[Duration]():
		want = `a duration such as "1.5s"`
	case wrong.Type.Kind() == reflect.Struct || wrong.Type.Kind() == reflect.Map:
		want = "an object"
	case wrong.Type.Kind() == reflect.Int || wrong.Type.Kind() == reflect.Uint64:
		want = "a whole number"
	case wrong.Type.Kind() == reflect.Float64:
		want = "a number"
	}
	if wrong.Field == "" {
		return fmt.Errorf("%s is not %s", wrong.Value, want)
	}
	return fmt.Errorf("%s: %s is not %s", field(wrong.Field), wrong.Value, want)
}

// field returns a path of JSON names, without those of embedded structs, which
// package json puts in front.
func field(path string) string {
	for {
		first, rest, more := strings.Cut(path, ".")
		if !more || !isEmbedded(first) {
			return path
		}
		path = rest
	}
}

// isEmbedded tells the embedded structs of configs by how they are named.
func isEmbedded(name string) bool { return strings.HasSuffix(name, "Fields") }
