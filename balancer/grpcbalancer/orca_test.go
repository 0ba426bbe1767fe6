package grpcbalancer_test

import (
	"encoding/binary"
	"math"
	"testing"
	"testing/synctest"
	"time"

	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
)

// loadReport is an xds.data.orca.v3.OrcaLoadReport on the wire.
func loadReport(fields map[protowire.Number]float64) []byte {
	var b []byte
	for number, value := range fields {
		b = protowire.AppendTag(b, number, protowire.Fixed64Type)
		b = protowire.AppendFixed64(b, math.Float64bits(value))
	}
	return b
}

// A server that reports twice the capacity gets twice the requests, from the
// trailers of the answers alone.
func TestWeightedGoesByTheLoadReportsInTrailers(t *testing.T) {
	for config, want := range map[string]float64{`{"policy":"weighted"}`: 2.0 / 3, `{"policy":"round_robin"}`: 1.0 / 2} {
		synctest.Test(t, func(t *testing.T) {
			_, cc := build(t, 2, config)
			for _, sc := range cc.made() {
				sc.becomes(connectivity.Ready, nil)
			}
			time.Sleep(time.Second) // of virtual time
			reports := map[gbalancer.SubConn][]byte{
				cc.made()[0]: loadReport(map[protowire.Number]float64{1: 0.5, 6: 100}),
				cc.made()[1]: loadReport(map[protowire.Number]float64{1: 0.9, 6: 100, 7: 0, 9: 0.25}),
			}
			serve := func() map[gbalancer.SubConn]int {
				got := map[gbalancer.SubConn]int{}
				for range 3000 {
					_, state := cc.heard()
					result, err := state.Picker.Pick(gbalancer.PickInfo{})
					if err != nil {
						t.Fatal(err)
					}
					got[result.SubConn]++
					trailer := metadata.Pairs("endpoint-load-metrics-bin", string(reports[result.SubConn]))
					result.Done(gbalancer.DoneInfo{BytesReceived: true, Trailer: trailer})
				}
				return got
			}
			for range 12 {
				serve()
				time.Sleep(time.Second) // of virtual time
			}
			synctest.Wait()
			if got := float64(serve()[cc.made()[1]]) / 3000; math.Abs(got-want) > 0.01 {
				t.Errorf("%s: the one with twice the capacity has a share of %.3f, want %.3f", config, got, want)
			}
		})
	}
}

// orca is the message as protobuf knows it, but for fields that nobody reads.
func orca(t testing.TB) protoreflect.MessageDescriptor {
	t.Helper()
	field := func(name string, number int32) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{
			Name: &name, JsonName: &name, Number: &number,
			Type:  descriptorpb.FieldDescriptorProto_TYPE_DOUBLE.Enum(),
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: new("orca.proto"), Package: new("xds.data.orca.v3"), Syntax: new("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{
			Name:  new("OrcaLoadReport"),
			Field: []*descriptorpb.FieldDescriptorProto{field("cpu", 1), field("rps", 6), field("eps", 7), field("application", 9)},
		}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file.Messages().Get(0)
}

// Whatever a server sends, it is read as protobuf would read it.
func FuzzLoadReport(f *testing.F) {
	whole := loadReport(map[protowire.Number]float64{1: 0.5, 6: 100, 7: 3, 9: math.NaN()})
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(binary.AppendUvarint(whole, 3<<3))
	f.Add(protowire.AppendBytes(protowire.AppendTag(nil, 8, protowire.BytesType), []byte("\x0a\x01x\x11\x00\x00\x00\x00\x00\x00\xf0\x3f")))
	f.Add(protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7)) // the wrong type
	f.Add(protowire.AppendTag(nil, 1, protowire.StartGroupType))
	f.Add([]byte("\xf5\xf5\xf5\xae000000100000000000000")) // the number of a field is too great
	f.Add([]byte{0})
	f.Add([]byte(nil))
	descriptor := orca(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		var want adapter.LoadReport
		m := dynamicpb.NewMessage(descriptor)
		if proto.Unmarshal(b, m) == nil {
			value := func(number protowire.Number) float64 { return m.Get(descriptor.Fields().ByNumber(number)).Float() }
			want = adapter.LoadReport{CPUUtilization: value(1), QPS: value(6), EPS: value(7), ApplicationUtilization: value(9)}
		}
		got := grpcbalancer.ParseReport(b)
		if !same(got.CPUUtilization, want.CPUUtilization) || !same(got.QPS, want.QPS) || !same(got.EPS, want.EPS) ||
			!same(got.ApplicationUtilization, want.ApplicationUtilization) {
			t.Errorf("%x: %+v, want %+v", b, got, want)
		}
	})
}

func same(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) }
