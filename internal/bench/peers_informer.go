package main

import (
	"context"
	"net"
	"slices"
	"strconv"

	"google.golang.org/grpc/resolver"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// startInformers does what those do who take client-go and care, such as the
// resolver of agent-substrate: for each target an informer of its slices alone
// and, at each event, all addresses computed anew from the informer's cache.
// Like most, it leaves client-go's settings as they are, but for the limit on
// requests per second, which would be measured in place of the work.
func startInformers(a api, services []string, publish func(int)) error {
	clientset, err := kubernetes.NewForConfig(&rest.Config{
		Host:            a.Host,
		TLSClientConfig: rest.TLSClientConfig{CAData: a.CA},
		QPS:             -1,
	})
	if err != nil {
		return err
	}
	for _, service := range services {
		factory := informers.NewSharedInformerFactoryWithOptions(clientset, 0,
			informers.WithNamespace(namespace),
			informers.WithTweakListOptions(func(o *metav1.ListOptions) {
				o.LabelSelector = discoveryv1.LabelServiceName + "=" + service
			}))
		endpointSlices := factory.Discovery().V1().EndpointSlices()
		w := informerWatch{
			lister:  endpointSlices.Lister(),
			changed: make(chan struct{}, 1),
			channel: &channel{publish: publish},
		}
		handle, err := endpointSlices.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { w.wake() },
			UpdateFunc: func(any, any) { w.wake() },
			DeleteFunc: func(any) { w.wake() },
		})
		if err != nil {
			return err
		}
		factory.Start(context.Background().Done())
		go w.run(handle.HasSynced)
	}
	return nil
}

type informerWatch struct {
	lister  listers.EndpointSliceLister
	changed chan struct{} // holds a token while there is something to look at
	channel *channel
}

func (w informerWatch) wake() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func (w informerWatch) run(synced cache.InformerSynced) {
	cache.WaitForCacheSync(context.Background().Done(), synced)
	for range w.changed {
		addresses, err := w.addresses()
		if err != nil {
			warn(err)
			continue
		}
		_ = w.channel.UpdateState(resolver.State{Addresses: addresses})
	}
}

// addresses returns the ready addresses, sorted and without repetitions: an
// endpoint that moves between slices is in two of them for a moment.
func (w informerWatch) addresses() ([]resolver.Address, error) {
	all, err := w.lister.EndpointSlices(namespace).List(labels.Everything())
	if err != nil {
		return nil, err
	}
	var found []string
	for _, slice := range all {
		for _, port := range slice.Ports {
			if port.Name == nil || *port.Name != portName || port.Port == nil {
				continue
			}
			number := strconv.Itoa(int(*port.Port))
			for _, endpoint := range slice.Endpoints {
				if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
					found = append(found, net.JoinHostPort(endpoint.Addresses[0], number))
				}
			}
		}
	}
	slices.Sort(found)
	found = slices.Compact(found)
	addresses := make([]resolver.Address, len(found))
	for i := range found {
		addresses[i].Addr = found[i]
	}
	return addresses, nil
}
