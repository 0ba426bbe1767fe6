// Package telemetry tells OpenTelemetry what discovery and the balancers of the
// process do: [Report] as metrics, [OnSpan] and [AttemptSpans] on traces.
//
//	stop, err := telemetry.Report(otel.GetMeterProvider(), telemetry.Config{})
//
// Programs that do not import the package link no OpenTelemetry. Nothing is
// recorded for a request, but for the few that the durations are sampled from: the
// rest is counted anyway, and read when a reader collects.
//
// # Metrics
//
// All have the attribute sidestep.target, which is what a channel or a URL named,
// but for the last three. The names of attributes, without their "sidestep.":
//
//	sidestep.discovery.endpoints          {endpoint}     gauge      state (ready, serving, not_ready), zone
//	sidestep.discovery.age                s              gauge      since the last successful read
//	sidestep.discovery.stale              {target}       gauge      1 while the endpoints are kept through a failure
//	sidestep.discovery.updates            {update}       counter    successful reads
//	sidestep.discovery.errors             {error}        counter    error.type (forbidden, unavailable, timeout, other)
//	sidestep.balancer.backends            {backend}      gauge      adapter, state (fit, joining, spared, ejected, sick, unreachable), zone
//	sidestep.balancer.in_flight           {request}      gauge      adapter, zone
//	sidestep.balancer.requests            {request}      counter    adapter, zone, outcome, and cross_zone where the own zone is known
//	sidestep.balancer.request.duration    s              histogram  adapter, outcome; of a sample of the requests, up to 100 a second of each target
//	sidestep.balancer.retries             {retry}        counter    adapter, reason (not_sent, refused, broken, answer, try_timeout, hedge)
//	sidestep.balancer.ejections           {ejection}     counter    adapter, cause (consecutive_failures, success_rate)
//	sidestep.balancer.readmissions        {readmission}  counter    adapter
//	sidestep.balancer.fail_opens          {request}      counter    adapter; requests to a backend that was not fit, because none was
//	sidestep.balancer.repicks             {pick}         counter    adapter; the backend that the policy chose was not to be used
//	sidestep.balancer.failed_picks        {pick}         counter    adapter; no backend was to be had
//	sidestep.balancer.newcomers           {backend}      counter    adapter; backends that joined others
//	sidestep.discovery.kube.requests      {request}      counter    verb (list, watch): to the API server
//	sidestep.discovery.kube.failures      {request}      counter    verb (list, watch)
//	sidestep.discovery.dns.answers        {answer}       counter    code (NOERROR, NXDOMAIN, …, none)
//
// The number of series is bounded by that of targets, zones and causes, unless
// Config.Pods is set. A zone that is unknown is "".
package telemetry
