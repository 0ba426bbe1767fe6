package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// The knobs are the ways in which the server misbehaves on demand.
type knobs struct {
	// Ready is what the readiness endpoint says.
	Ready bool
	// Delay is how long each request takes.
	Delay time.Duration
	// Fail is the share of requests that fail, 0 to 1.
	Fail float64
	// Dies is when the server closes its listeners and all its connections,
	// for good, without stopping first. Its process stays, silent: a container
	// that ended would be started again. The zero time is never.
	Dies time.Time
}

func (k knobs) validate() error {
	if k.Delay < 0 {
		return fmt.Errorf("knob delay: %v is less than 0", k.Delay)
	}
	if !(k.Fail >= 0 && k.Fail <= 1) { // so written, it refuses NaN
		return fmt.Errorf("knob fail: %v is not between 0 and 1", k.Fail)
	}
	return nil
}

// MarshalJSON writes the knobs as they are set, and the death as its time.
func (k knobs) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Ready bool      `json:"ready"`
		Delay string    `json:"delay"`
		Fail  float64   `json:"fail"`
		Dies  time.Time `json:"dies,omitzero"`
	}{k.Ready, k.Delay.String(), k.Fail, k.Dies})
}

// set returns the knobs with the values of a query.
func (k knobs) set(query url.Values, now time.Time) (knobs, error) {
	for name, values := range query {
		value := values[len(values)-1]
		var err error
		switch name {
		case "ready":
			k.Ready, err = strconv.ParseBool(value)
		case "delay":
			k.Delay, err = time.ParseDuration(value)
		case "fail":
			k.Fail, err = strconv.ParseFloat(value, 64)
		case "die":
			var after time.Duration
			after, err = time.ParseDuration(value)
			k.Dies = now.Add(after)
		default:
			err = fmt.Errorf("unknown; known are ready, delay, fail and die")
		}
		if err != nil {
			return k, fmt.Errorf("knob %s: %w", name, err)
		}
	}
	return k, k.validate()
}

// serveKnobs sets the knobs that the query of a POST names, all or none of
// them, and replies with all of them.
func (s *server) serveKnobs(w http.ResponseWriter, r *http.Request) {
	var query url.Values
	if r.Method == http.MethodPost {
		query = r.URL.Query()
	}
	now, err := s.turn(query)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	reply(w, http.StatusOK, now)
}

// turn sets the knobs that query names and returns all of them.
func (s *server) turn(query url.Values) (knobs, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, err := s.knobs.set(query, time.Now())
	if err != nil {
		return k, err
	}
	if !k.Dies.Equal(s.knobs.Dies) {
		if s.death != nil {
			s.death.Stop()
		}
		s.death = time.AfterFunc(time.Until(k.Dies), s.kill)
	}
	s.knobs = k
	s.reportHealth(k.Ready)
	return k, nil
}
