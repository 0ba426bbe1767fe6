package kubetest

import (
	"fmt"
	"strings"
)

// filter says which objects a request is about.
type filter struct {
	resource  *resource
	namespace string // "": all
	labels    selector
	fields    selector
}

func (f filter) selects(r *record) bool {
	return r != nil && r.resource == f.resource &&
		(f.namespace == "" || f.namespace == r.namespace) &&
		f.labels.matches(r.labels) &&
		f.fields.matches(map[string]string{"metadata.name": r.name, "metadata.namespace": r.namespace})
}

// selector is a list of requirements, all of which must be met.
type selector []requirement

type requirement struct {
	key      string
	operator string // one of = != exists !
	value    string
}

func (s selector) matches(values map[string]string) bool {
	for _, r := range s {
		if !r.matches(values) {
			return false
		}
	}
	return true
}

func (r requirement) matches(values map[string]string) bool {
	value, exists := values[r.key]
	switch r.operator {
	case "=":
		return exists && value == r.value
	case "!=":
		// An object without the label is selected too, as in Kubernetes.
		return !exists || value != r.value
	case "exists":
		return exists
	default:
		return !exists
	}
}

// parseLabelSelector reads equality-based requirements and those on existence.
func parseLabelSelector(text string) (selector, error) {
	var s selector
	for part := range strings.SplitSeq(text, ",") {
		if text == "" {
			break
		}
		r := parseRequirement(strings.TrimSpace(part))
		if r.key == "" || strings.ContainsAny(r.key+r.value, " ()!=<>") {
			return nil, fmt.Errorf("unable to parse requirement: %q in label selector %q (kubetest knows =, ==, !=, key and !key)", part, text)
		}
		s = append(s, r)
	}
	return s, nil
}

// parseFieldSelector reads requirements on the fields that every kind of object
// can be selected by.
func parseFieldSelector(text string) (selector, error) {
	var s selector
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		r := parseRequirement(part)
		if r.operator != "=" && r.operator != "!=" {
			return nil, fmt.Errorf("invalid field selector: %q; can't understand %q", text, part)
		}
		if r.key != "metadata.name" && r.key != "metadata.namespace" {
			return nil, fmt.Errorf("field label not supported: %s", r.key)
		}
		s = append(s, r)
	}
	return s, nil
}

func parseRequirement(text string) requirement {
	for _, sign := range []string{"!=", "==", "="} {
		if key, value, found := strings.Cut(text, sign); found {
			return requirement{strings.TrimSpace(key), strings.Replace(sign, "==", "=", 1), strings.TrimSpace(value)}
		}
	}
	if key, found := strings.CutPrefix(text, "!"); found {
		return requirement{strings.TrimSpace(key), "!", ""}
	}
	return requirement{text, "exists", ""}
}
