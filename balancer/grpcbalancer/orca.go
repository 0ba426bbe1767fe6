package grpcbalancer

import (
	"encoding/binary"
	"math"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sidestep-lb/sidestep/balancer/adapter"
)

// reportKey is where servers report their load with each answer (gRFC A51).
const reportKey = "endpoint-load-metrics-bin"

// reportOf returns the load report in a trailer. It is empty if there is none
// that can be read.
func reportOf(trailer metadata.MD) adapter.LoadReport {
	if values := trailer[reportKey]; len(values) == 1 {
		return parseReport([]byte(values[0]))
	}
	return adapter.LoadReport{}
}

// parseReport reads an xds.data.orca.v3.OrcaLoadReport. It does so by hand: the
// generated code would weigh more than the rest of the policy.
func parseReport(b []byte) adapter.LoadReport {
	var fields [10]float64 // by number; those of type double
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeField(b)
		if n < 0 || !number.IsValid() {
			return adapter.LoadReport{}
		}
		if kind == protowire.Fixed64Type && int(number) < len(fields) {
			fields[number] = math.Float64frombits(binary.LittleEndian.Uint64(b[n-8:]))
		}
		b = b[n:]
	}
	return adapter.LoadReport{CPUUtilization: fields[1], QPS: fields[6], EPS: fields[7], ApplicationUtilization: fields[9]}
}
