package discovery

// A domainer is a Source that knows the domain of its cluster, such as
// cluster.local: a name in another one is not a Service of that cluster.
type domainer interface {
	Domain() string
}

// Canonical puts the target into the primary's form. A namespace that the primary
// does not know is the secondary's to tell.
func (f fallback) Canonical(t Target) Target {
	t = canonical(f.primary, t)
	if t.Service != "" && t.Namespace == "" {
		t.Namespace = canonical(f.secondary, t).Namespace
	}
	return t
}

// Domain returns the domain of the cluster as the primary has it or else the
// secondary, or "" where neither says.
func (f fallback) Domain() string {
	for _, source := range []Source{f.primary, f.secondary} {
		if d, ok := source.(domainer); ok {
			return d.Domain()
		}
	}
	return ""
}
