package balancer_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
)

func TestAConfigIsTheSameAfterJSON(t *testing.T) {
	for text, config := range map[string]balancer.Config{
		`{}`:                    {},
		`{"slowStart":"1m30s"}`: {SlowStart: 90 * time.Second},
		`{"policy":"ring_hash","hashKey":{"header":"X-User"},"boundedLoad":1.5,"slowStart":"-1ns"}`: {
			Policy: balancer.RingHash, HashKey: balancer.KeySource{Header: "X-User"}, BoundedLoad: 1.5, SlowStart: -1,
		},
	} {
		written, err := json.Marshal(config)
		if err != nil || string(written) != text {
			t.Errorf("wrote %s, %v; want %s", written, err, text)
		}
		var read balancer.Config
		if err := json.Unmarshal([]byte(text), &read); err != nil || !reflect.DeepEqual(read, config) {
			t.Errorf("%s: read %+v, %v", text, read, err)
		}
	}
}

func TestFieldsThatTheJSONDoesNotHaveStay(t *testing.T) {
	config := balancer.Config{Policy: balancer.Random, SlowStart: time.Second}
	if err := json.Unmarshal([]byte(`{"choices":3,"of_the_future":true}`), &config); err != nil {
		t.Fatal(err)
	}
	if config.Policy != balancer.Random || config.SlowStart != time.Second || config.Choices != 3 {
		t.Errorf("got %+v", config)
	}
}

func TestAnErrorInTheJSONNamesTheField(t *testing.T) {
	for text, want := range map[string]string{
		`{"slowStart":10}`:             `slowStart: 10 is not a duration such as "1.5s"`,
		`{"slowStart":"10"}`:           `slowStart: "10" is not a duration such as "1.5s"`,
		`{"policy":7}`:                 `policy: number is not a string`,
		`{"choices":2.5}`:              `choices: number 2.5 is not a whole number`,
		`{"boundedLoad":"1"}`:          `boundedLoad: string is not a number`,
		`{"hashKey":{"header":["a"]}}`: `hashKey.header: array is not a string`,
		`{"hashKey":"X-User"}`:         `hashKey: string is not an object`,
		`[]`:                           `array is not an object`,
	} {
		var config balancer.Config
		if err := json.Unmarshal([]byte(text), &config); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
	var config balancer.Config
	if err := json.Unmarshal([]byte(`{"slowStart":"`+strings.Repeat("9", 1000)+`"}`), &config); err == nil || len(err.Error()) > 150 {
		t.Errorf("a long text: %v", err)
	}
}
