package load

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sidestep-lb/sidestep/examples/client/result"
)

// maxText is the length in bytes at which the text of a failure is cut.
const maxText = 1000

// A recorder collects the outcomes of requests.
type recorder struct {
	// Set at the start and read-only.
	started       time.Time
	connections   *connections
	keepLatencies bool          // one by one, in the timeline
	cpu           time.Duration // what the process had used by then

	mu        sync.Mutex // guards the rest
	requests  int
	failed    int
	kinds     map[result.Kind]result.KindCount
	pods      map[string]result.Pod
	latencies []time.Duration
	failures  []result.Failure
	streams   int             // subscriptions that were opened
	timeline  []result.Moment // by time since started, without gaps
}

func newRecorder(started time.Time, connections *connections) *recorder {
	return &recorder{
		started: started, connections: connections, cpu: cpuTime(),
		kinds: map[result.Kind]result.KindCount{}, pods: map[string]result.Pod{},
	}
}

// An outcome is what became of one request.
type outcome struct {
	due, sent, done time.Time
	pod             string
	err             error
}

func (r *recorder) add(o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests++
	moment := r.moment(o.sent)
	moment.Late = max(moment.Late, milliseconds(o.sent.Sub(o.due)))
	if o.err != nil {
		r.failed++
		moment.Failed++
		kind := r.addFailure(o)
		if r.keepLatencies && kind == result.Deadline {
			moment.Latencies = append(moment.Latencies, milliseconds(o.done.Sub(o.due)))
		}
		return
	}
	if r.keepLatencies {
		moment.Latencies = append(moment.Latencies, milliseconds(o.done.Sub(o.due)))
	}
	if moment.Pods == nil {
		moment.Pods = make(map[string]int)
	}
	moment.Pods[o.pod]++
	r.latencies = append(r.latencies, o.done.Sub(o.due))
	pod, seen := r.pods[o.pod]
	pod.Requests++
	if !seen || o.sent.Before(pod.First) {
		pod.First = o.sent
	}
	if o.sent.After(pod.Last) {
		pod.Last = o.sent
	}
	r.pods[o.pod] = pod
}

func (r *recorder) addFailure(o outcome) result.Kind {
	kind, text := classify(o.err)
	if len(text) > maxText {
		text = text[:maxText] + "..."
	}
	count := r.kinds[kind]
	if count.Count == 0 {
		count.First = text
	}
	count.Count++
	r.kinds[kind] = count
	if count.Count <= result.MaxFailures {
		r.failures = append(r.failures, result.Failure{Sent: o.sent, Took: milliseconds(o.done.Sub(o.sent)), Kind: kind, Text: text})
	}
	return kind
}

func (r *recorder) addSubscription() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.streams++
}

func (r *recorder) opened() int { return int(r.connections.opened.Load()) }

func (r *recorder) cpuUsed() float64 { return (cpuTime() - r.cpu).Seconds() }

// moment is called with mu held.
func (r *recorder) moment(t time.Time) *result.Moment {
	i := int(t.Sub(r.started) / result.Resolution)
	for len(r.timeline) <= i {
		r.timeline = append(r.timeline, result.Moment{
			Time:        r.started.Add(time.Duration(len(r.timeline)) * result.Resolution),
			Connections: r.opened(), CPU: r.cpuUsed(),
		})
	}
	return &r.timeline[i]
}

// result returns what was recorded of a run that has sent its requests until
// ended, which may be now.
func (r *recorder) result(ended time.Time) result.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	res := result.Result{
		Started:  r.started,
		Ended:    ended,
		Requests: r.requests,
		Failed:   r.failed,
		Kinds:    maps.Clone(r.kinds),
		Pods:     maps.Clone(r.pods),
		Latency:  percentiles(r.latencies),
		Failures: slices.Clone(r.failures),

		Connections:   r.opened(),
		Subscriptions: r.streams,
		CPU:           r.cpuUsed(),
	}
	if length := ended.Sub(r.started); length > 0 {
		res.Rate = float64(r.requests) / length.Seconds()
	}
	for _, m := range r.timeline {
		if m.Failed > 0 || len(m.Pods) > 0 {
			m.Pods, m.Latencies = maps.Clone(m.Pods), slices.Clone(m.Latencies)
			res.Timeline = append(res.Timeline, m)
		}
	}
	slices.SortFunc(res.Failures, func(a, b result.Failure) int { return a.Sent.Compare(b.Sent) })
	return res
}

func percentiles(latencies []time.Duration) result.Latency {
	inMilliseconds := make([]float64, len(latencies))
	for i, d := range latencies {
		inMilliseconds[i] = milliseconds(d)
	}
	return result.Percentiles(inMilliseconds)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
