package kubetest

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// listOptions is the query of a LIST or WATCH.
type listOptions struct {
	filter
	watch         bool
	revision      int64 // 0: any
	revisionGiven bool
	match         string
	bookmarks     bool
	initialEvents *bool // nil: not said
	timeout       time.Duration
}

func parseListOptions(f filter, query url.Values) (listOptions, error) {
	o := listOptions{
		filter:    f,
		watch:     queryBool(query, "watch"),
		match:     query.Get("resourceVersionMatch"),
		bookmarks: queryBool(query, "allowWatchBookmarks"),
	}
	if query.Has("sendInitialEvents") {
		o.initialEvents = new(queryBool(query, "sendInitialEvents"))
	}
	var err error
	if o.labels, err = parseLabelSelector(query.Get("labelSelector")); err != nil {
		return o, err
	}
	if o.fields, err = parseFieldSelector(query.Get("fieldSelector")); err != nil {
		return o, err
	}
	if text := query.Get("resourceVersion"); text != "" {
		o.revisionGiven = true
		if o.revision, err = strconv.ParseInt(text, 10, 64); err != nil || o.revision < 0 {
			return o, fmt.Errorf("invalid resource version %q", text)
		}
	}
	if text := query.Get("timeoutSeconds"); text != "" {
		seconds, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return o, fmt.Errorf("invalid timeoutSeconds %q", text)
		}
		o.timeout = time.Duration(seconds) * time.Second
	}
	return o, nil
}

// queryBool reads a boolean as an API server does: all but false and 0 is true.
func queryBool(query url.Values, name string) bool {
	value := strings.ToLower(query.Get(name))
	return query.Has(name) && value != "false" && value != "0"
}

// validate is ValidateListOptions of k8s.io/apimachinery.
func (o listOptions) validate(streamingLists bool) *status {
	if !o.watch {
		return o.validateList()
	}
	switch {
	case o.initialEvents != nil && !streamingLists:
		return invalid("sendInitialEvents", "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled")
	case o.initialEvents != nil && o.match != "NotOlderThan":
		return invalid("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
	case o.initialEvents == nil && o.match != "":
		return invalid("resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
	}
	return nil
}

func (o listOptions) validateList() *status {
	switch {
	case o.initialEvents != nil:
		return invalid("sendInitialEvents", "sendInitialEvents is forbidden for list")
	case o.match == "":
		return nil
	case !o.revisionGiven:
		return invalid("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided")
	case o.match != "Exact" && o.match != "NotOlderThan":
		return invalid("resourceVersionMatch", fmt.Sprintf("unsupported value %q", o.match))
	case o.match == "Exact" && o.revision == 0:
		return invalid("resourceVersionMatch", `resourceVersionMatch "exact" is forbidden for resourceVersion "0"`)
	}
	return nil
}
