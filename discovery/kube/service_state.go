package kube

import (
	"reflect"

	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// serviceState is what is known of one Service: what the API has told and, for one
// target, the environment.
type serviceState struct {
	slices map[string]*kubeapi.EndpointSlice // by name, which is what tells them apart

	service     *kubeapi.Service // nil if it is absent, or not known
	serviceRead bool             // whether the Service, or that it is absent, is known

	degraded error // in what the slices are less than was asked for

	// What the target's port number may be called, for want of the Service:
	// see envPortNames.
	envPortNames []string
}

// serviceUID returns the UID of the Service, or "" if it is not known.
func (f *serviceState) serviceUID() string {
	if f.service == nil {
		return ""
	}
	return f.service.UID
}

// has reports whether all but the version of slice is known.
func (f *serviceState) has(slice *kubeapi.EndpointSlice) bool {
	known := f.slices[slice.Name]
	if known == nil {
		return false
	}
	same := *known
	same.ResourceVersion = slice.ResourceVersion
	return reflect.DeepEqual(&same, slice)
}

// slicesDiffer reports whether the slices are others than listed.
func (f *serviceState) slicesDiffer(listed []*kubeapi.EndpointSlice) bool {
	for _, slice := range listed {
		if !f.has(slice) {
			return true
		}
	}
	return len(listed) != len(f.slices)
}

// serviceDiffers reports whether the Service is another than listed.
func (f *serviceState) serviceDiffers(listed []*kubeapi.Service) bool {
	if len(listed) == 0 || f.service == nil {
		return len(listed) > 0 || f.service != nil
	}
	return listed[0].ResourceVersion != f.service.ResourceVersion
}
