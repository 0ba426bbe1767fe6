// Command informer prints the EndpointSlices of a Service, watched by an
// informer of client-go. It is built to be weighed.
package main

import (
	"context"
	"fmt"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func main() {
	config, err := rest.InClusterConfig()
	if err != nil {
		panic(err)
	}
	factory := informers.NewSharedInformerFactoryWithOptions(kubernetes.NewForConfigOrDie(config), 0,
		informers.WithNamespace("kiada"),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.LabelSelector = discoveryv1.LabelServiceName + "=quiz"
		}))
	lister := factory.Discovery().V1().EndpointSlices().Lister()
	stop := context.Background().Done()
	factory.Start(stop)
	factory.WaitForCacheSync(stop)
	slices, err := lister.List(labels.Everything())
	if err != nil {
		panic(err)
	}
	fmt.Println(slices)
}
