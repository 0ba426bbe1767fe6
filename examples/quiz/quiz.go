// Package quiz is the service of the examples: it has one question, and says
// which pod asks it. Its gRPC description is written by hand and takes
// protobuf's well-known types, so that nobody needs protoc to build the
// examples; a service of yours would use generated code.
package quiz

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// ServiceName is the name of the gRPC service, for its health, too.
const ServiceName = "kiada.Quiz"

// PodKey is the response header that names the pod.
const PodKey = "pod"

const questionMethod = "/" + ServiceName + "/Question"

// An Answer is what the service replies. As JSON it is the reply over HTTP.
type Answer struct {
	Pod      string `json:"pod"`
	Question string `json:"question,omitempty"`
	Error    string `json:"error,omitempty"`
}

// A Server answers the requests of the service.
type Server interface {
	// Question returns the question, or an error that is a gRPC status.
	Question(ctx context.Context) (Answer, error)
}

// Register adds the service to a gRPC server.
func Register(r grpc.ServiceRegistrar, s Server) { r.RegisterService(&serviceDesc, s) }

// Ask asks for a question over gRPC.
func Ask(ctx context.Context, conn grpc.ClientConnInterface, opts ...grpc.CallOption) (Answer, error) {
	var question wrapperspb.StringValue
	var header metadata.MD
	err := conn.Invoke(ctx, questionMethod, &emptypb.Empty{}, &question, append(opts, grpc.Header(&header))...)
	answer := Answer{Question: question.GetValue()}
	if pods := header.Get(PodKey); len(pods) > 0 {
		answer.Pod = pods[0]
	}
	return answer, err
}

var serviceDesc = grpc.ServiceDesc{
	ServiceName: ServiceName,
	HandlerType: (*Server)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Question", Handler: question}},
	Metadata:    "quiz.go",
}

//nolint:revive // the order of the parameters is gRPC's
func question(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
	request := new(emptypb.Empty)
	if err := decode(request); err != nil {
		return nil, err
	}
	handle := func(ctx context.Context, _ any) (any, error) {
		answer, err := srv.(Server).Question(ctx)
		_ = grpc.SetHeader(ctx, metadata.Pairs(PodKey, answer.Pod)) // fails only outside of a gRPC call
		if err != nil {
			return nil, err
		}
		return wrapperspb.String(answer.Question), nil
	}
	if interceptor == nil {
		return handle(ctx, request)
	}
	return interceptor(ctx, request, &grpc.UnaryServerInfo{Server: srv, FullMethod: questionMethod}, handle)
}
