package e2e_test

import "testing"

// grpcContest is for users of gRPC.
var grpcContest = newContest("gRPC",
	way{title: "sidestep", protocol: "grpc", via: "k8s", service: "quiz", target: "quiz.kiada:grpc", policy: "adaptive"},
	way{title: "dns + round_robin", protocol: "grpc", via: "dns", service: "quiz-pods", target: "quiz-pods.kiada.svc.cluster.local.:9090"},
	way{title: "and MaxConnectionAge 10 s", protocol: "grpc", via: "dns", service: "quiz-pods", target: "quiz-pods.kiada.svc.cluster.local.:9091"},
	way{title: "kuberesolver + round_robin", protocol: "grpc", via: "kuberesolver", service: "quiz", target: "quiz.kiada:grpc", program: "kuberesolver"},
	way{title: "ClusterIP", protocol: "grpc", via: "clusterip", service: "quiz", target: "quiz.kiada:9090"},
)

func TestGRPC(t *testing.T) { grpcContest.run(t) }
