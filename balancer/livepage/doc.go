// Package livepage is a page that shows what discovery and the balancers of the
// process do: which endpoints there are and which of them are used, why not the
// others, where the requests go, and what happened lately.
//
//	http.Handle("/debug/sidestep/", livepage.Handler())
//
// It is read-only, needs nothing from elsewhere, and stands beside net/http/pprof:
// like that, it is for the people who run the program, as it shows the names and
// addresses of pods and the texts of errors. With ?format=json it is the same for
// programs; the names of the fields may change before version 1.
package livepage
