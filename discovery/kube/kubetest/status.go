package kubetest

import (
	"fmt"
	"math"
	"net/http"
	"time"
)

// status is the object a Kubernetes API server sends for an error, in a
// response or in an ERROR event.
type status struct {
	typeMeta
	Metadata struct{} `json:"metadata"`
	Status   string   `json:"status"`
	Message  string   `json:"message"`
	Reason   string   `json:"reason,omitempty"`
	Details  *details `json:"details,omitempty"`
	Code     int      `json:"code"`
}

type details struct {
	Name              string  `json:"name,omitempty"`
	Group             string  `json:"group,omitempty"`
	Kind              string  `json:"kind,omitempty"`
	Causes            []cause `json:"causes,omitempty"`
	RetryAfterSeconds int     `json:"retryAfterSeconds,omitempty"`
}

type cause struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Field   string `json:"field,omitempty"`
}

func newStatus(code int, reason, message string, d *details) *status {
	return &status{
		typeMeta: typeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   "Failure",
		Message:  message,
		Reason:   reason,
		Details:  d,
		Code:     code,
	}
}

func unauthorized() *status {
	return newStatus(http.StatusUnauthorized, "Unauthorized", "Unauthorized", nil)
}

// user is who every client is in the message of a 403.
const user = "system:serviceaccount:default:default"

func forbidden(r Request, res *resource) *status {
	scope := "at the cluster scope"
	if r.Namespace != "" {
		scope = fmt.Sprintf("in the namespace %q", r.Namespace)
	}
	what := res.qualified()
	if r.Name != "" {
		what = fmt.Sprintf("%s %q", what, r.Name)
	}
	message := fmt.Sprintf("%s is forbidden: User %q cannot %s resource %q in API group %q %s",
		what, user, r.Verb, res.name, res.group, scope)
	return newStatus(http.StatusForbidden, "Forbidden", message, &details{Name: r.Name, Group: res.group, Kind: res.name})
}

func notFound(res *resource, name string) *status {
	return newStatus(http.StatusNotFound, "NotFound", fmt.Sprintf("%s %q not found", res.qualified(), name),
		&details{Name: name, Group: res.group, Kind: res.name})
}

func noSuchResource() *status {
	return newStatus(http.StatusNotFound, "NotFound", "the server could not find the requested resource", &details{})
}

func methodNotAllowed() *status {
	return newStatus(http.StatusMethodNotAllowed, "MethodNotAllowed",
		"the server does not allow this method on the requested resource", &details{})
}

func badRequest(err error) *status {
	return newStatus(http.StatusBadRequest, "BadRequest", err.Error(), nil)
}

// invalid is the answer to list options that contradict each other, or ask for
// a feature that is off.
func invalid(field, message string) *status {
	message = "Forbidden: " + message
	return newStatus(http.StatusUnprocessableEntity, "Invalid",
		fmt.Sprintf("ListOptions.meta.k8s.io \"\" is invalid: %s: %s", field, message),
		&details{Group: "meta.k8s.io", Kind: "ListOptions", Causes: []cause{{"FieldValueForbidden", message, field}}})
}

func expired(revision, oldest int64) *status {
	return newStatus(http.StatusGone, "Expired", fmt.Sprintf("too old resource version: %d (%d)", revision, oldest), nil)
}

func tooLarge(revision, newest int64) *status {
	return newStatus(http.StatusGatewayTimeout, "Timeout",
		fmt.Sprintf("Too large resource version: %d, current: %d", revision, newest),
		&details{Causes: []cause{{Reason: "ResourceVersionTooLarge", Message: "Too large resource version"}}, RetryAfterSeconds: 1})
}

// failure is the answer that [Server.Fail] asks for.
func failure(code int, retryAfter time.Duration) *status {
	reasons := map[int]string{
		http.StatusUnauthorized:        "Unauthorized",
		http.StatusForbidden:           "Forbidden",
		http.StatusNotFound:            "NotFound",
		http.StatusGone:                "Expired",
		http.StatusTooManyRequests:     "TooManyRequests",
		http.StatusInternalServerError: "InternalError",
		http.StatusServiceUnavailable:  "ServiceUnavailable",
		http.StatusGatewayTimeout:      "Timeout",
	}
	var d *details
	if retryAfter > 0 {
		d = &details{RetryAfterSeconds: int(math.Ceil(retryAfter.Seconds()))}
	}
	return newStatus(code, reasons[code], fmt.Sprintf("kubetest was told to fail: %d %s", code, http.StatusText(code)), d)
}
