package e2e_test

import "time"

// grpcContest is for users of gRPC. Its dns resolver asks no more often than
// every 30 s: before a rollout it is given the time until it may ask again, and
// after a scale-up that until it has.
var grpcContest = newContest("gRPC", contest{
	rate: 200, rolloutRate: 500,
	calm: 30 * time.Second, patient: 35 * time.Second,
	ways: []way{
		{title: "sidestep", protocol: "grpc", via: "k8s", service: "quiz", target: "quiz.kiada:grpc", policy: "adaptive"},
		{title: "dns + round_robin", protocol: "grpc", via: "dns", service: "quiz-pods", target: "quiz-pods.kiada.svc.cluster.local.:9090"},
		{title: "and MaxConnectionAge 10 s", protocol: "grpc", via: "dns", service: "quiz-pods", target: "quiz-pods.kiada.svc.cluster.local.:9091"},
		{title: "kuberesolver + round_robin", protocol: "grpc", via: "kuberesolver", service: "quiz", target: "quiz.kiada:grpc", program: "kuberesolver"},
		{title: "ClusterIP", protocol: "grpc", via: "clusterip", service: "quiz", target: "quiz.kiada:9090"},
	},
})
