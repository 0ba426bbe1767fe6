package livepage

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"math"
	"net/http"
)

//go:embed page.html
var pageHTML []byte

//go:embed page.css
var pageCSS []byte

//go:embed page.js
var pageJS []byte

// Handler returns the page, for whatever path it is given: it asks for nothing
// but itself. Requests other than GET and HEAD are refused. With ?format=json it
// returns the state that the page shows as JSON; each of its lists has up to 200
// entries, unless ?all=1 is given.
func Handler() http.Handler { return http.HandlerFunc(serve) }

func serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this page is for reading", http.StatusMethodNotAllowed)
		return
	}
	query := r.URL.Query()
	listed := maxListed
	if query.Get("all") == "1" {
		listed = math.MaxInt
	}
	text, err := json.Marshal(read(listed)) // with <, > and & escaped, so that it may stand in a script element
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	if query.Get("format") == "json" {
		header.Set("Content-Type", "application/json")
		_, _ = w.Write(text) // whoever asked may have gone
		return
	}
	// Whatever a pod's name or an error holds, nothing but the page's own script
	// is run.
	nonce := rand.Text()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "+
		"style-src 'nonce-"+nonce+"'; script-src 'nonce-"+nonce+"'")
	_, _ = w.Write(fill(pageHTML, map[string][]byte{"NONCE": []byte(nonce), "CSS": pageCSS, "JS": pageJS, "STATE": text}))
}

// fill puts values into the places {{NAME}} of a page.
func fill(page []byte, values map[string][]byte) []byte {
	var out bytes.Buffer
	for {
		before, rest, found := bytes.Cut(page, []byte("{{"))
		out.Write(before)
		if !found {
			return out.Bytes()
		}
		name, after, _ := bytes.Cut(rest, []byte("}}"))
		out.Write(values[string(name)])
		page = after
	}
}
